#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/core/sample.h"

namespace plait::data {

/// Turns decoded values of one stream into the padded tensors that an encoder takes. Immutable,
/// thread-safe.
class Processor {
 public:
  virtual ~Processor() = default;
  virtual Modality modality() const = 0;
  /// One row per value; nullptr marks an item without this stream, whose row is padding. Values are
  /// decoded or raw (paths and bytes are decoded on the way). @throws Error that names `where`
  /// (stream, item) and what was expected.
  virtual TensorMap process(const std::vector<const Value*>& values,
                            const std::string& where) const = 0;
  /// {"type": ..., ...}: make_processor(config(), dir) makes the same one again.
  virtual Json config() const = 0;
  /// Writes what config() refers to (tokenizer.json, preprocessor_config.json) into the stream's
  /// folder.
  virtual void save(const std::string& dir) const = 0;
};

/// `config` {"type": "text" | "image" | "whisper" | "waveform" | "log_mel" | "series" | "table" |
/// "vector" | "video" | "volume", ...}; files are looked up in `dir`.
std::shared_ptr<const Processor> make_processor(const Json& config, const std::string& dir,
                                                const std::string& where);

/// Decodes paths and bytes: image → uint8 [H, W, 3] tensor; audio → Waveform (mono mix unless
/// `channels` is 0); text → its content (UTF-8); series and table → tensor or JSON; video →
/// uint8 [T, H, W, 3] for a tensor, volume → float32 [D, H, W] for a tensor, files of these two are
/// checked and stay files (frames are chosen later, spacing counts). Values that are decoded
/// already pass through (checked).
/// @throws Error that names the file and `where`.
Value decode(const Value& value, Modality modality, const std::string& where);

}  // namespace plait::data
