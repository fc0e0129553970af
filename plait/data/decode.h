#pragma once
#include "plait/core/file.h"
#include "plait/core/sample.h"
#include "plait/data/audio/audio.h"
#include "plait/data/image/image.h"

namespace plait::data {

/// "image" → "image" for a batch of one, "image of item 3" otherwise: how messages say which row is
/// wrong.
std::string item_name(const std::string& where, size_t index, size_t count);

/// A file that a stream's value names; `name` is "stream: path" for messages, `bytes` are mapped
/// and live with `file`.
struct NamedFile {
  std::shared_ptr<const MappedFile> file;
  std::string_view bytes;
  std::string name;
};
/// Opens a Path, or a string taken as one. @throws Error kInvalidArgument for other values,
/// kNotFound, kIo, kResourceLimit.
NamedFile open_value(const Value& value, const std::string& where, size_t max_bytes);

/// {"type": type, ...fields}
Json typed_config(const char* type, const Json& fields);

/// Any value of an image stream → uint8 RGB [H, W, 3]; a string is taken as a path.
at::Tensor decode_image_value(const Value& value, const std::string& where,
                              const ImageOptions& options = {});

/// Any value of an audio stream → a waveform. A bare tensor is taken at `options.sample_rate` (16
/// kHz when that is 0).
Waveform decode_audio_value(const Value& value, const std::string& where,
                            const AudioOptions& options = {});

/// The text of a file (UTF-8, checked) or the string itself.
std::string decode_text_value(const Value& value, const std::string& where);

}  // namespace plait::data
