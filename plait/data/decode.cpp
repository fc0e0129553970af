#include "plait/data/decode.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/tensor_map.h"
#include "plait/data/processor.h"
#include "plait/data/series/series_processor.h"
#include "plait/data/table/table_processor.h"
#include "plait/data/video/video.h"
#include "plait/data/volume/volume.h"

namespace plait::data {
namespace {

constexpr size_t kMaxTextBytes = size_t{64} << 20;
constexpr size_t kMaxMediaBytes = size_t{4} << 30;
constexpr const char* kUnit = "decode";

const char* kind(const Value& value) {
  constexpr const char* kNames[] = {"text", "a path", "bytes", "a waveform", "JSON", "a tensor"};
  return kNames[value.index()];
}

[[noreturn]] void wrong_kind(const Value& value, const std::string& where, const char* expected) {
  fail(ErrorCode::kInvalidArgument, kUnit,
       where + ": expected " + expected + ", got " + kind(value));
}

std::string file_name(const std::string& where, const std::string& path) {
  return where.empty() ? path : where + ": " + path;
}

/// The path of a Path or of a plain string; nullptr for anything else.
const std::string* path_of(const Value& value) {
  if (auto* path = std::get_if<Path>(&value)) return &path->path;
  return std::get_if<std::string>(&value);
}

/// Errors of opening a file say which stream wanted it.
template <class F>
auto naming(const std::string& where, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    fail(e.code(), kUnit, where + ": " + e.what());
  }
}

/// Valid UTF-8 without NUL: no overlong forms, surrogates or values above U+10FFFF.
bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    auto byte = [&](size_t k) {
      return i + k < text.size() ? static_cast<uint8_t>(text[i + k]) : 0u;
    };
    auto tail = [&](size_t k) { return (byte(k) & 0xC0) == 0x80; };
    uint32_t b = byte(0);
    if (b == 0) return false;
    if (b < 0x80) {
      i += 1;
    } else if (b >= 0xC2 && b <= 0xDF && tail(1)) {
      i += 2;
    } else if ((b & 0xF0) == 0xE0 && tail(1) && tail(2)) {
      if ((b == 0xE0 && byte(1) < 0xA0) || (b == 0xED && byte(1) > 0x9F)) return false;
      i += 3;
    } else if (b >= 0xF0 && b <= 0xF4 && tail(1) && tail(2) && tail(3)) {
      if ((b == 0xF0 && byte(1) < 0x90) || (b == 0xF4 && byte(1) > 0x8F)) return false;
      i += 4;
    } else {
      return false;
    }
  }
  return true;
}

std::string checked_text(std::string text, const std::string& where) {
  if (text.rfind("\xEF\xBB\xBF", 0) == 0) text.erase(0, 3);
  if (!is_utf8(text))
    fail(ErrorCode::kCorruptData, kUnit, where + ": expected UTF-8 text, got other bytes");
  return text;
}

}  // namespace

std::string item_name(const std::string& where, size_t index, size_t count) {
  return count == 1 ? where : where + " of item " + std::to_string(index);
}

NamedFile open_value(const Value& value, const std::string& where, size_t max_bytes) {
  const std::string* path = path_of(value);
  if (!path) wrong_kind(value, where, "a path, bytes or values of this kind of stream");
  NamedFile out{
      naming(where, [&] { return MappedFile::open(*path); }), {}, file_name(where, *path)};
  auto bytes = out.file->bytes();
  if (bytes.size() > max_bytes) {
    fail(ErrorCode::kResourceLimit, kUnit,
         out.name + ": expected a file of at most " + std::to_string(max_bytes) + " bytes, got " +
             std::to_string(bytes.size()));
  }
  out.bytes = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  return out;
}

Json typed_config(const char* type, const Json& fields) {
  Json json = Json::object({{"type", type}});
  for (const auto& [key, value] : fields.members()) json[key] = value;
  return json;
}

at::Tensor decode_image_value(const Value& value, const std::string& where,
                              const ImageOptions& options) {
  if (auto* tensor = std::get_if<at::Tensor>(&value)) {
    at::Tensor image = to_rgb(*tensor, where);
    if (image.size(0) > options.max_pixels / image.size(1)) {
      fail(ErrorCode::kResourceLimit, kUnit,
           where + ": expected a picture of at most " + std::to_string(options.max_pixels) +
               " pixels, got " + describe(image));
    }
    return image;
  }
  if (auto* bytes = std::get_if<Bytes>(&value)) return decode_image(bytes->bytes, where, options);
  NamedFile file = open_value(value, where, kMaxMediaBytes);
  return decode_image(file.bytes, file.name, options);
}

Waveform decode_audio_value(const Value& value, const std::string& where,
                            const AudioOptions& options) {
  if (auto* wave = std::get_if<Waveform>(&value)) return convert_waveform(*wave, where, options);
  if (auto* tensor = std::get_if<at::Tensor>(&value)) {
    return convert_waveform({*tensor, options.sample_rate > 0 ? options.sample_rate : 16000}, where,
                            options);
  }
  if (auto* bytes = std::get_if<Bytes>(&value)) return decode_audio(bytes->bytes, where, options);
  NamedFile file = open_value(value, where, kMaxMediaBytes);
  return decode_audio(file.bytes, file.name, options);
}

std::string decode_text_value(const Value& value, const std::string& where) {
  if (auto* text = std::get_if<std::string>(&value)) return checked_text(*text, where);
  if (auto* bytes = std::get_if<Bytes>(&value)) return checked_text(bytes->bytes, where);
  if (auto* path = std::get_if<Path>(&value)) {
    return checked_text(naming(where, [&] { return read_file(path->path, kMaxTextBytes); }),
                        file_name(where, path->path));
  }
  wrong_kind(value, where, "text (string, path or bytes)");
}

Value decode(const Value& value, Modality modality, const std::string& where) {
  switch (modality) {
    case Modality::kText: return decode_text_value(value, where);
    case Modality::kImage: return decode_image_value(value, where);
    case Modality::kAudio: return decode_audio_value(value, where);
    case Modality::kSeries: return decode_series_value(value, where);
    case Modality::kTable: return decode_table_value(value, where);
    // Files stay what they are: a tensor has no room for the spacing, which the processor needs.
    case Modality::kVolume:
      if (std::get_if<at::Tensor>(&value)) return decode_volume_value(value, where).values;
      decode_volume_value(value, where);
      return value;
    case Modality::kVideo: return check_video_value(value, where);
    default: break;
  }
  fail(ErrorCode::kUnavailable, kUnit,
       where + ": expected a stream of text, image, audio, video, series, table or volume, got " +
           to_string(modality) + " (no decoder yet)");
}

}  // namespace plait::data
