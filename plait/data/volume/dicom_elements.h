#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// The data set of a DICOM file (PS3.5 chapter 7, PS3.10 chapter 7), read without decoding a pixel.
/// GDCM's own reader is not used for it: Debian builds GDCM with assertions, which end the process
/// on a damaged file.
namespace plait::data {

/// Group and element, (0028,0010) → 0x00280010.
using DicomTag = uint32_t;

struct DicomElement {
  std::string vr;                 ///< Two letters; empty where the file does not say (implicit VR).
  std::string_view value;         ///< Everything between the length and the next element.
  bool undefined_length = false;  ///< A sequence, or pixel data in fragments.
  bool implicit_items = false;    ///< How a sequence's items are encoded.
};

/// Elements by tag. Views into bytes that the file owns; the numbers are in the file's byte order.
class DicomElements {
 public:
  DicomElements() = default;
  DicomElements(std::map<DicomTag, DicomElement> elements, bool big_endian)
      : elements_(std::move(elements)), big_endian_(big_endian) {}

  const DicomElement* find(DicomTag tag) const;
  bool has(DicomTag tag) const { return find(tag) != nullptr; }
  /// Text without the padding at both ends; empty when absent.
  std::string text(DicomTag tag) const;
  /// The values between backslashes.
  std::vector<std::string> texts(DicomTag tag) const;
  /// Decimal strings, integer strings or binary numbers by `vr` (or by the element's own); values
  /// that are not finite numbers end the list.
  std::vector<double> numbers(DicomTag tag, const char* vr) const;
  /// The first of them as an integer, `fallback` when absent. @throws Error kCorruptData outside
  /// [min, max]; the message names `what`.
  int64_t integer(DicomTag tag, const char* vr, int64_t fallback, int64_t min, int64_t max,
                  const char* what, const std::string& name) const;
  /// The items of a sequence, at most `limit`; none when absent or damaged.
  std::vector<DicomElements> items(DicomTag tag, size_t limit = 4096) const;

  bool big_endian() const { return big_endian_; }

 private:
  std::map<DicomTag, DicomElement> elements_;
  bool big_endian_ = false;
};

struct DicomFile {
  std::string transfer_syntax;  ///< UID
  DicomElements elements;
  bool truncated = false;                       ///< The file ends inside an element.
  std::shared_ptr<const std::string> inflated;  ///< Holds the bytes of a deflated data set.
};

/// Reads the elements up to and with the pixel data; never outside `bytes`. A file without the
/// preamble is accepted when it begins with a plausible element. @throws Error kCorruptData,
/// kResourceLimit (a deflated data set above 1 GiB), kUnavailable; messages start with `name`.
DicomFile parse_dicom(std::string_view bytes, const std::string& name);

/// The items of an encapsulated pixel data value, the offset table first. @throws Error
/// kCorruptData.
std::vector<std::string_view> dicom_fragments(std::string_view value, const std::string& name);

}  // namespace plait::data
