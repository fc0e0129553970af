#include "plait/data/volume/dicom_frames.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>

#include "plait/core/error.h"
#include "plait/data/volume/codec.h"
#include "plait/data/volume/frame_header.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "dicom";
constexpr const char* kRle = "1.2.840.10008.1.2.5";
constexpr DicomTag kPixelData = 0x7FE00010, kFloatData = 0x7FE00008, kDoubleData = 0x7FE00009;

[[noreturn]] void damaged(const std::string& name, const std::string& what) {
  fail(ErrorCode::kCorruptData, kUnit, name + ": expected whole pixel data, got " + what);
}

uint32_t little32(std::string_view bytes, size_t at) {
  uint32_t out = 0;
  for (size_t i = 0; i < 4; ++i) out |= uint32_t{static_cast<uint8_t>(bytes[at + i])} << (8 * i);
  return out;
}

/// [samples, n] → [n, samples], `size` bytes a sample.
std::vector<uint8_t> interleave(const std::vector<uint8_t>& planes, size_t samples, size_t size) {
  std::vector<uint8_t> out(planes.size());
  size_t n = planes.size() / (samples * size);
  for (size_t c = 0; c < samples; ++c) {
    for (size_t i = 0; i < n; ++i)
      std::memcpy(&out[(i * samples + c) * size], &planes[(c * n + i) * size], size);
  }
  return out;
}

/// Uncompressed frames.
class Native {
 public:
  Native(const DicomFile& file, const PixelLayout& layout, const std::string& name)
      : layout_(layout), name_(name) {
    const DicomElement* element = nullptr;
    for (DicomTag tag : {kPixelData, kFloatData, kDoubleData})
      if (!element) element = file.elements.find(tag);
    if (!element) damaged(name, "a file without pixel data");
    value_ = element->value;
    big_ = file.elements.big_endian();
    // Bytes in 16-bit words change places in a big-endian file.
    swapped_words_ = big_ && element->vr == "OW" && layout.bits_allocated <= 8;
    subsampled_ = layout.photometric == "YBR_FULL_422" && layout.samples == 3;
    // A frame of bits may end within a byte, the next one begins right there.
    auto samples = static_cast<size_t>(layout.frame_samples());
    bits_ = samples * static_cast<size_t>(layout.bits_allocated);
    if (subsampled_) {
      // Some files are not subsampled, whatever they say.
      size_t full = bits_ / 8 * static_cast<size_t>(layout.frames);
      subsampled_ = value_.size() < full;
      if (subsampled_) bits_ = bits_ / 3 * 2;
    }
    if ((bits_ * static_cast<size_t>(layout.frames) + 7) / 8 > value_.size()) {
      damaged(name, std::to_string(value_.size()) + " bytes for " +
                        std::to_string((bits_ * static_cast<size_t>(layout.frames) + 7) / 8));
    }
  }

  std::vector<uint8_t> frame(int64_t index) const {
    size_t first = static_cast<size_t>(index) * bits_;
    if (layout_.bits_allocated == 1) return unpack_bits(first);
    std::vector<uint8_t> out(bits_ / 8);
    size_t begin = first / 8;
    for (size_t i = 0; i < out.size(); ++i) out[i] = byte(begin + i);
    size_t size = size_of(layout_.type);
    if (big_ && size > 1) {
      for (size_t i = 0; i + size <= out.size(); i += size)
        std::reverse(out.begin() + static_cast<int64_t>(i),
                     out.begin() + static_cast<int64_t>(i + size));
    }
    if (subsampled_) return upsample(out);
    drop_unused_bits(out, size);
    return layout_.planar && layout_.samples > 1
               ? interleave(out, static_cast<size_t>(layout_.samples), size)
               : out;
  }

 private:
  uint8_t byte(size_t at) const {
    if (swapped_words_) at = (at ^ 1) < value_.size() ? at ^ 1 : at;
    return static_cast<uint8_t>(value_[at]);
  }

  std::vector<uint8_t> unpack_bits(size_t first) const {
    std::vector<uint8_t> out(static_cast<size_t>(layout_.frame_samples()));
    for (size_t i = 0; i < out.size(); ++i) out[i] = byte((first + i) / 8) >> ((first + i) % 8) & 1;
    return out;
  }

  /// Bits above those stored may hold anything, an overlay for one (PS3.5 8.1.1).
  void drop_unused_bits(std::vector<uint8_t>& samples, size_t size) const {
    int shift = 8 * static_cast<int>(size) - layout_.bits_stored;
    bool integer = layout_.type != SampleType::kFloat && layout_.type != SampleType::kDouble;
    if (!integer || shift <= 0) return;
    shift += 32 - 8 * static_cast<int>(size);
    for (size_t i = 0; i + size <= samples.size(); i += size) {
      uint32_t value = 0;
      std::memcpy(&value, &samples[i], size);
      value <<= shift;
      value = layout_.is_signed ? static_cast<uint32_t>(static_cast<int32_t>(value) >> shift)
                                : value >> shift;
      std::memcpy(&samples[i], &value, size);
    }
  }

  /// Y1 Y2 Cb Cr for two neighbours → Y Cb Cr each.
  std::vector<uint8_t> upsample(const std::vector<uint8_t>& in) const {
    std::vector<uint8_t> out(static_cast<size_t>(layout_.frame_samples()));
    for (size_t i = 0, o = 0; i + 4 <= in.size() && o + 6 <= out.size(); i += 4, o += 6) {
      out[o] = in[i];
      out[o + 3] = in[i + 1];
      out[o + 1] = out[o + 4] = in[i + 2];
      out[o + 2] = out[o + 5] = in[i + 3];
    }
    return out;
  }

  const PixelLayout& layout_;
  const std::string& name_;
  std::string_view value_;
  size_t bits_ = 0;
  bool big_ = false;
  bool swapped_words_ = false;
  bool subsampled_ = false;
};

/// The fragments of each frame, joined: by the offset table, by number, or by the marks that begin
/// a compressed picture.
std::vector<std::string> split_frames(std::string_view value, const PixelLayout& layout,
                                      const std::string& name) {
  auto fragments = dicom_fragments(value, name);
  std::string_view table = fragments.front();
  fragments.erase(fragments.begin());
  auto frames = static_cast<size_t>(layout.frames);
  if (fragments.size() < frames) {
    damaged(name,
            std::to_string(fragments.size()) + " compressed frames for " + std::to_string(frames));
  }
  std::vector<std::string> out(frames);
  if (fragments.size() == frames) {
    for (size_t i = 0; i < frames; ++i) out[i] = fragments[i];
    return out;
  }
  size_t current = 0;
  size_t offset = 0;
  bool by_table = table.size() >= 4 * frames;
  for (size_t i = 0; i < fragments.size(); ++i) {
    bool begins = by_table ? current + 1 < frames && offset >= little32(table, 4 * (current + 1))
                           : fragments[i].size() > 2 && fragments[i][0] == '\xFF' &&
                                 (fragments[i][1] == '\xD8' || fragments[i][1] == '\x4F');
    if (frames > 1 && i > 0 && begins && current + 1 < frames) ++current;
    out[current] += fragments[i];
    offset += 8 + fragments[i].size();
  }
  if (current + 1 != frames) damaged(name, "fragments that cannot be told apart by frame");
  return out;
}

/// PS3.5 annex G: byte planes, the most significant first, each packed by PackBits.
std::vector<uint8_t> decode_rle(std::string_view in, const PixelLayout& layout,
                                const std::string& name) {
  size_t size = size_of(layout.type);
  auto samples = static_cast<size_t>(layout.samples);
  auto pixels = static_cast<size_t>(layout.rows * layout.columns);
  if (in.size() < 64 || little32(in, 0) != samples * size)
    damaged(name, "another number of run-length segments than its bits need");
  // A run of two bytes makes 128 at most.
  if (pixels * samples * size / 64 > in.size()) damaged(name, "too few run-length bytes");
  std::vector<uint8_t> out(pixels * samples * size);
  for (size_t s = 0; s < samples * size; ++s) {
    size_t at = little32(in, 4 + 4 * s);
    size_t end = s + 1 < samples * size ? little32(in, 8 + 4 * s) : in.size();
    end = std::min(end, in.size());
    // Where byte `size - 1 - s % size` of sample `s / size` of pixel 0 lies.
    size_t to = s / size * size + (size - 1 - s % size);
    size_t made = 0;
    auto put = [&](char value) { out[to + made++ * samples * size] = static_cast<uint8_t>(value); };
    while (made < pixels) {
      if (at >= end) damaged(name, "too few run-length bytes");
      auto control = static_cast<int8_t>(in[at++]);
      if (control == -128) continue;
      size_t count = control >= 0 ? size_t(control) + 1 : size_t(1 - control);
      size_t need = control >= 0 ? count : 1;
      if (end - at < need) damaged(name, "too few run-length bytes");
      for (size_t i = 0; i < count && made < pixels; ++i) put(in[at + (control >= 0 ? i : 0)]);
      at += need;
    }
  }
  return out;
}

/// One JPEG, JPEG-LS or JPEG 2000 frame in the layout's own type.
std::vector<uint8_t> decode_coded(std::string_view bytes, const PixelLayout& layout,
                                  const std::string& name) {
  FrameHeader header = read_frame_header(bytes, name);
  if (header.width != layout.columns || header.height != layout.rows ||
      header.samples != layout.samples) {
    damaged(name, "a compressed picture of another size or number of samples");
  }
  if (header.samples == 2 || header.samples == 4) damaged(name, "2 or 4 compressed samples");
  bool luma_chroma = layout.photometric.rfind("YBR_FULL", 0) == 0;
  if (header.codec == DicomCodec::kJpeg && header.rgb && luma_chroma)
    damaged(name, "a JPEG stream in RGB where the file says YBR_FULL");
  size_t size = size_of(layout.type);
  size_t coded = header.precision <= 8 ? 1 : 2;
  if (coded > size) damaged(name, "more bits in the compressed picture than are allocated");
  CompressedFrame frame{.codec = header.codec,
                        .bytes = bytes.substr(header.begin),
                        .width = header.width,
                        .height = header.height,
                        .samples = header.samples,
                        .precision = header.precision,
                        .is_signed = header.is_signed,
                        .luma_chroma = luma_chroma,
                        .lossless = header.lossless};
  std::vector<uint8_t> samples = decode_compressed(frame, name);
  if (header.planar) samples = interleave(samples, static_cast<size_t>(header.samples), coded);
  auto count = static_cast<size_t>(layout.frame_samples());
  std::vector<uint8_t> out(count * size);
  int shift = 32 - header.precision;
  for (size_t i = 0; i < count; ++i) {
    uint32_t value = samples[i * coded];
    if (coded == 2) value |= uint32_t{samples[2 * i + 1]} << 8;
    // The stream's sign counts for less than the file's pixel representation.
    if (layout.is_signed) {
      value = static_cast<uint32_t>(static_cast<int32_t>(value << shift) >> shift);
    } else {
      value = value << shift >> shift;
    }
    std::memcpy(&out[i * size], &value, size);
  }
  return out;
}

}  // namespace

size_t size_of(SampleType type) {
  switch (type) {
    case SampleType::kUint8:
    case SampleType::kInt8: return 1;
    case SampleType::kUint16:
    case SampleType::kInt16: return 2;
    case SampleType::kDouble: return 8;
    default: return 4;
  }
}

PixelLayout read_layout(const DicomFile& file, size_t max_bytes, const std::string& name) {
  const DicomElements& e = file.elements;
  bool has_float = e.has(kFloatData), has_double = e.has(kDoubleData);
  if (!e.has(kPixelData) && !has_float && !has_double) {
    damaged(name, file.truncated ? "a truncated file" : "a file without pixel data");
  }
  PixelLayout p;
  p.rows = e.integer(0x00280010, "US", 0, 1, 65535, "rows", name);
  p.columns = e.integer(0x00280011, "US", 0, 1, 65535, "columns", name);
  if (p.rows == 0 || p.columns == 0) damaged(name, "no rows or columns");
  p.frames =
      std::max<int64_t>(1, e.integer(0x00280008, "IS", 1, 0, 1 << 24, "number of frames", name));
  p.samples = static_cast<int>(e.integer(0x00280002, "US", 1, 1, 4, "samples per pixel", name));
  p.bits_allocated =
      static_cast<int>(e.integer(0x00280100, "US", 0, 1, 64, "bits allocated", name));
  p.bits_stored =
      static_cast<int>(e.integer(0x00280101, "US", p.bits_allocated, 1, 64, "bits stored", name));
  p.is_signed = e.integer(0x00280103, "US", 0, 0, 1, "pixel representation", name) == 1;
  p.planar = e.integer(0x00280006, "US", 0, 0, 1, "planar configuration", name) == 1;
  p.photometric = e.text(0x00280004);
  if (p.photometric.empty()) p.photometric = p.samples == 1 ? "MONOCHROME2" : "RGB";
  switch (p.bits_allocated) {
    case 1: p.type = SampleType::kUint8; break;
    case 8: p.type = p.is_signed ? SampleType::kInt8 : SampleType::kUint8; break;
    case 16: p.type = p.is_signed ? SampleType::kInt16 : SampleType::kUint16; break;
    case 32: p.type = p.is_signed ? SampleType::kInt32 : SampleType::kUint32; break;
    case 64: p.type = SampleType::kDouble; break;
    default: damaged(name, std::to_string(p.bits_allocated) + " bits allocated");
  }
  if (has_float && !e.has(kPixelData)) {
    p.type = SampleType::kFloat;
  } else if (p.bits_allocated == 64 && !has_double) {
    damaged(name, "64 bits allocated to integers");
  }
  if (size_of(p.type) * 8 != static_cast<size_t>(std::max(8, p.bits_allocated)))
    damaged(name, "bits allocated that do not fit the kind of pixel data");
  p.bits_stored = std::min(p.bits_stored, p.bits_allocated);
  auto frame_bytes = static_cast<size_t>(p.frame_samples()) * size_of(p.type);
  if (frame_bytes > max_bytes / static_cast<size_t>(p.frames)) {
    fail(ErrorCode::kResourceLimit, kUnit,
         name + ": expected pixels of at most " + std::to_string(max_bytes) + " bytes, got " +
             std::to_string(p.frames) + " frames of " + std::to_string(frame_bytes));
  }
  return p;
}

void decode_frames(const DicomFile& file, const PixelLayout& layout, const std::string& name,
                   const std::function<void(int64_t, std::vector<uint8_t>)>& take) {
  const DicomElement* pixels = file.elements.find(kPixelData);
  if (!pixels || !pixels->undefined_length) {
    Native native(file, layout, name);
    for (int64_t i = 0; i < layout.frames; ++i) take(i, native.frame(i));
    return;
  }
  if (layout.bits_allocated != 8 && layout.bits_allocated != 16 && layout.bits_allocated != 32)
    damaged(name, "compressed pixels with " + std::to_string(layout.bits_allocated) + " bits");
  std::vector<std::string> frames = split_frames(pixels->value, layout, name);
  for (int64_t i = 0; i < layout.frames; ++i) {
    const std::string& bytes = frames[static_cast<size_t>(i)];
    take(i, file.transfer_syntax == kRle ? decode_rle(bytes, layout, name)
                                         : decode_coded(bytes, layout, name));
  }
}

}  // namespace plait::data
