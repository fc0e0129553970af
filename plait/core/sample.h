#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "plait/core/json.h"
#include "plait/core/tensor_map.h"

namespace plait {

/// The kinds of stream that a model can declare. `numeric` is an alias of kTable, "sensor" of
/// kSeries.
enum class Modality { kText, kImage, kAudio, kVideo, kSeries, kTable, kVolume, kGraph };
std::string to_string(Modality modality);
/// @throws Error kInvalidArgument that lists the valid names.
Modality modality_from_string(const std::string& name);

/// A file to be decoded when the sample is used.
struct Path {
  std::string path;
};
/// An encoded file in memory (PNG, WAV ...).
struct Bytes {
  std::string bytes;
};
/// PCM samples: [N] or [C, N] float32 in [-1, 1], with their rate in Hz.
struct Waveform {
  at::Tensor samples;
  int64_t sample_rate = 16000;
};

/// The value of one stream: text, a file, encoded bytes, a waveform, a table row (JSON object) or a
/// raw tensor (image [H, W, C] uint8 or [C, H, W] float in [0, 1]; series [T, C]; video [T, H,
/// W, 3] uint8 or [T, 3, H, W] float; audio [N] at the stream's own rate).
using Value = std::variant<std::string, Path, Bytes, Waveform, Json, at::Tensor>;

/// Named streams of one item; a stream that is absent is simply not a key. `labels` holds targets
/// by task.
struct Sample {
  std::map<std::string, Value> streams;
  std::map<std::string, Json> labels;
  std::string id;  ///< For messages and seeds; may be empty.
  /// Items of one group (of one speaker, one caption) are not independent of each other: no split
  /// or fold divides them. Empty: a group of its own.
  std::string group = {};
};

/// One stream of a batch after preprocessing: the encoder's inputs, row i belonging to item i. Rows
/// of items that lack the stream hold padding and are marked absent.
struct StreamBatch {
  TensorMap inputs;    ///< e.g. input_ids [B, T], attention_mask [B, T]; pixel_values [B, 3, H, W]
  at::Tensor present;  ///< [B] bool
  at::Tensor quality;  ///< [B] float32 in [0, 1]; 0 where absent
};

/// Padded tensors with presence masks; items may have different subsets of the streams.
struct Batch {
  int64_t size = 0;
  std::map<std::string, StreamBatch> streams;
  TensorMap targets;  ///< by task name, e.g. "category" [B] int64
  std::vector<std::string> ids;

  /// [B, M] bool in the order of `names`; a stream that no item has gives a column of false.
  at::Tensor presence(const std::vector<std::string>& names) const;
};

}  // namespace plait
