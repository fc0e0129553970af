#include "plait/data/volume/dicom_elements.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "plait/core/error.h"
#include "plait/data/deflate.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "dicom";
constexpr uint32_t kUndefined = 0xFFFFFFFFu;
constexpr DicomTag kItem = 0xFFFEE000, kItemEnd = 0xFFFEE00D, kSequenceEnd = 0xFFFEE0DD;
constexpr DicomTag kPixelData = 0x7FE00010;
constexpr int kMaxDepth = 32;
constexpr size_t kMaxInflated = size_t{1} << 30;
constexpr const char* kDeflated = "1.2.840.10008.1.2.1.99";
constexpr const char* kImplicit = "1.2.840.10008.1.2";
constexpr const char* kExplicit = "1.2.840.10008.1.2.1";
constexpr const char* kBigEndian = "1.2.840.10008.1.2.2";

uint64_t read_number(std::string_view bytes, size_t at, size_t count, bool big) {
  uint64_t out = 0;
  for (size_t i = 0; i < count; ++i) {
    size_t shift = 8 * (big ? count - 1 - i : i);
    out |= uint64_t{static_cast<uint8_t>(bytes[at + i])} << shift;
  }
  return out;
}

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

/// Value representations with two reserved bytes and a length of four.
bool is_long(std::string_view vr) {
  for (const char* v :
       {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
    if (vr == v) return true;
  return false;
}

std::string strip(std::string_view text) {
  constexpr std::string_view kPadding(" \0\t\r\n", 5);
  size_t begin = text.find_first_not_of(kPadding);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kPadding) - begin + 1));
}

/// Walks elements from `at` on.
class Walker {
 public:
  Walker(std::string_view bytes, size_t at, bool implicit, bool big)
      : bytes_(bytes), at_(at), implicit_(implicit), big_(big) {}

  /// The next element; false at the end, at an item's end mark and where the bytes stop early.
  bool next(DicomTag& tag, DicomElement& element, int depth = 0) {
    if (bytes_.size() - at_ < 8) {
      truncated_ = truncated_ || at_ < bytes_.size();
      return false;
    }
    tag = static_cast<DicomTag>(read_number(bytes_, at_, 2, big_) << 16 |
                                read_number(bytes_, at_ + 2, 2, big_));
    if (tag == kItemEnd || tag == kSequenceEnd) {
      at_ += 8;
      return false;
    }
    size_t header = 8;
    uint32_t length = 0;
    element = {};
    std::string_view vr = bytes_.substr(at_ + 4, 2);
    // Some writers put single elements of implicit form into an explicit data set.
    if (implicit_ || !is_upper(vr[0]) || !is_upper(vr[1])) {
      length = static_cast<uint32_t>(read_number(bytes_, at_ + 4, 4, big_));
    } else {
      element.vr = std::string(vr);
      if (is_long(vr)) {
        header = 12;
        if (bytes_.size() - at_ < header) return stop();
        length = static_cast<uint32_t>(read_number(bytes_, at_ + 8, 4, big_));
      } else {
        length = static_cast<uint32_t>(read_number(bytes_, at_ + 6, 2, big_));
      }
    }
    at_ += header;
    element.implicit_items = implicit_ || element.vr == "UN";
    if (length == kUndefined) {
      element.undefined_length = true;
      size_t begin = at_;
      size_t end = skip_items(element.implicit_items, tag == kPixelData, depth);
      element.value = bytes_.substr(begin, end - begin);
      return true;
    }
    if (length > bytes_.size() - at_) {
      truncated_ = true;
      length = static_cast<uint32_t>(bytes_.size() - at_);
    }
    element.value = bytes_.substr(at_, length);
    at_ += length;
    return true;
  }

  size_t at() const { return at_; }
  bool truncated() const { return truncated_; }

 private:
  bool stop() {
    truncated_ = true;
    at_ = bytes_.size();
    return false;
  }

  /// Goes past a sequence of undefined length; returns where its items end.
  size_t skip_items(bool implicit, bool fragments, int depth) {
    while (bytes_.size() - at_ >= 8) {
      DicomTag tag = static_cast<DicomTag>(read_number(bytes_, at_, 2, big_) << 16 |
                                           read_number(bytes_, at_ + 2, 2, big_));
      auto length = static_cast<uint32_t>(read_number(bytes_, at_ + 4, 4, big_));
      if (tag == kSequenceEnd) {
        at_ += 8;
        return at_ - 8;
      }
      // Whatever follows a sequence that never says its end belongs to the parent.
      if (tag != kItem) return at_;
      at_ += 8;
      if (length != kUndefined) {
        if (length > bytes_.size() - at_) {
          stop();
          return at_;
        }
        at_ += length;
      } else if (fragments || depth >= kMaxDepth) {
        stop();
        return at_;
      } else {
        Walker item(bytes_, at_, implicit, big_);
        DicomTag inner;
        DicomElement ignored;
        while (item.next(inner, ignored, depth + 1)) {
        }
        truncated_ = truncated_ || item.truncated();
        at_ = item.at();
      }
    }
    stop();
    return at_;
  }

  std::string_view bytes_;
  size_t at_;
  bool implicit_;
  bool big_;
  bool truncated_ = false;
};

/// Whether an element of implicit form, rather than of explicit form, stands at `at`.
bool looks_implicit(std::string_view bytes, size_t at, bool claimed) {
  if (bytes.size() - at < 8) return claimed;
  return !(is_upper(bytes[at + 4]) && is_upper(bytes[at + 5]));
}

}  // namespace

const DicomElement* DicomElements::find(DicomTag tag) const {
  auto it = elements_.find(tag);
  return it == elements_.end() ? nullptr : &it->second;
}

std::string DicomElements::text(DicomTag tag) const {
  const DicomElement* element = find(tag);
  return element ? strip(element->value.substr(0, 4096)) : std::string();
}

std::vector<std::string> DicomElements::texts(DicomTag tag) const {
  std::vector<std::string> out;
  const DicomElement* element = find(tag);
  if (!element || element->value.empty()) return out;
  std::string_view rest = element->value.substr(0, size_t{1} << 20);
  while (true) {
    size_t cut = rest.find('\\');
    out.push_back(strip(rest.substr(0, cut)));
    if (cut == std::string_view::npos) return out;
    rest.remove_prefix(cut + 1);
  }
}

std::vector<double> DicomElements::numbers(DicomTag tag, const char* vr) const {
  std::vector<double> out;
  const DicomElement* element = find(tag);
  if (!element) return out;
  std::string type = element->vr.empty() || element->vr == "UN" ? vr : element->vr;
  std::string_view value = element->value;
  if (type == "DS" || type == "IS") {
    for (const std::string& text : texts(tag)) {
      char* end = nullptr;
      double number = std::strtod(text.c_str(), &end);
      if (text.empty() || *end != '\0' || !std::isfinite(number)) break;
      out.push_back(number);
    }
    return out;
  }
  size_t size = type == "US" || type == "SS" || type == "OW" ? 2
                : type == "FD"                               ? 8
                : type == "OB"                               ? 1
                                                             : 4;
  for (size_t at = 0; at + size <= value.size() && out.size() < 65536; at += size) {
    uint64_t bits = read_number(value, at, size, big_endian_);
    if (type == "SS") {
      out.push_back(static_cast<int16_t>(bits));
    } else if (type == "SL") {
      out.push_back(static_cast<int32_t>(bits));
    } else if (type == "FL" || type == "FD") {
      double number = 0;
      if (type == "FD") {
        std::memcpy(&number, &bits, 8);
      } else {
        auto narrow = static_cast<uint32_t>(bits);
        float single = 0;
        std::memcpy(&single, &narrow, 4);
        number = single;
      }
      if (!std::isfinite(number)) break;
      out.push_back(number);
    } else {
      out.push_back(static_cast<double>(bits));
    }
  }
  return out;
}

int64_t DicomElements::integer(DicomTag tag, const char* vr, int64_t fallback, int64_t min,
                               int64_t max, const char* what, const std::string& name) const {
  const DicomElement* element = find(tag);
  if (!element || strip(element->value.substr(0, 64)).empty()) {
    if (!element || element->value.empty() || std::string_view(vr) == "IS") return fallback;
  }
  std::vector<double> values = numbers(tag, vr);
  if (values.empty() || values[0] < static_cast<double>(min) ||
      values[0] > static_cast<double>(max) || values[0] != std::floor(values[0])) {
    fail(ErrorCode::kCorruptData, kUnit,
         name + ": expected " + what + " from " + std::to_string(min) + " to " +
             std::to_string(max) + ", got " +
             (values.empty() ? "no number" : std::to_string(values[0])));
  }
  return static_cast<int64_t>(values[0]);
}

std::vector<DicomElements> DicomElements::items(DicomTag tag, size_t limit) const {
  std::vector<DicomElements> out;
  const DicomElement* sequence = find(tag);
  if (!sequence) return out;
  std::string_view bytes = sequence->value;
  size_t at = 0;
  while (bytes.size() - at >= 8 && out.size() < limit) {
    auto mark = static_cast<DicomTag>(read_number(bytes, at, 2, big_endian_) << 16 |
                                      read_number(bytes, at + 2, 2, big_endian_));
    auto length = static_cast<uint32_t>(read_number(bytes, at + 4, 4, big_endian_));
    if (mark != kItem) break;
    at += 8;
    size_t size = length == kUndefined ? bytes.size() - at : length;
    if (size > bytes.size() - at) break;
    Walker walker(bytes.substr(0, at + size), at, sequence->implicit_items, big_endian_);
    std::map<DicomTag, DicomElement> elements;
    DicomTag inner;
    DicomElement element;
    while (walker.next(inner, element)) elements.emplace(inner, element);
    at = length == kUndefined ? walker.at() : at + size;
    out.emplace_back(std::move(elements), big_endian_);
  }
  return out;
}

DicomFile parse_dicom(std::string_view bytes, const std::string& name) {
  DicomFile file;
  bool preamble = bytes.size() >= 132 && bytes.substr(128, 4) == "DICM";
  size_t at = preamble ? 132 : 0;
  auto group = [&](bool big) {
    return bytes.size() - at >= 8 ? read_number(bytes, at, 2, big) : 0;
  };
  if (!preamble && group(false) != 2 && group(false) != 8) {
    fail(ErrorCode::kCorruptData, kUnit,
         name + ": expected a DICOM file, got bytes of another format");
  }
  // The header's own encoding is fixed; its length is not believed, since it is often wrong.
  while (group(false) == 2) {
    Walker walker(bytes, at, looks_implicit(bytes, at, false), false);
    DicomTag tag;
    DicomElement element;
    if (!walker.next(tag, element) || walker.truncated()) {
      fail(ErrorCode::kCorruptData, kUnit,
           name + ": expected a whole DICOM header, got a truncated one");
    }
    if (tag == 0x00020010) file.transfer_syntax = strip(element.value.substr(0, 64));
    at = walker.at();
  }
  std::string_view body = bytes.substr(at);
  if (file.transfer_syntax == kDeflated) {
    file.inflated = std::make_shared<const std::string>(inflate_raw(body, kMaxInflated, name));
    body = *file.inflated;
  }
  bool big = file.transfer_syntax == kBigEndian;
  bool implicit = looks_implicit(body, 0, file.transfer_syntax == kImplicit);
  if (file.transfer_syntax.empty()) file.transfer_syntax = implicit ? kImplicit : kExplicit;
  Walker walker(body, 0, implicit, big);
  std::map<DicomTag, DicomElement> elements;
  DicomTag tag;
  DicomElement element;
  while (walker.next(tag, element)) {
    elements.emplace(tag, element);
    if (tag == kPixelData) break;
  }
  if (elements.empty()) {
    fail(ErrorCode::kCorruptData, kUnit, name + ": expected DICOM elements, got none");
  }
  file.truncated = walker.truncated();
  file.elements = DicomElements(std::move(elements), big);
  return file;
}

std::vector<std::string_view> dicom_fragments(std::string_view value, const std::string& name) {
  std::vector<std::string_view> out;
  size_t at = 0;
  while (value.size() - at >= 8) {
    // Encapsulated data are little-endian in every transfer syntax.
    auto mark = static_cast<DicomTag>(read_number(value, at, 2, false) << 16 |
                                      read_number(value, at + 2, 2, false));
    uint64_t length = read_number(value, at + 4, 4, false);
    if (mark != kItem || length > value.size() - at - 8) break;
    out.push_back(value.substr(at + 8, length));
    at += 8 + length;
  }
  if (out.empty()) {
    fail(ErrorCode::kCorruptData, kUnit,
         name + ": expected compressed pixel data in fragments, got none");
  }
  return out;
}

}  // namespace plait::data
