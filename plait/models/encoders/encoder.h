#pragma once
#include "plait/core/sample.h"
#include "plait/models/model.h"

namespace plait::models {

/// What an encoder makes of one stream.
struct EncoderOutput {
  at::Tensor tokens;  ///< [B, T, D]
  at::Tensor mask;    ///< [B, T] bool, true = real token; undefined when all are real
  at::Tensor pooled;  ///< [B, D]
};

/// One stream's inputs → tokens and a pooled vector. Input names by modality:
/// text: input_ids [B, T] int64, attention_mask [B, T]; image: pixel_values [B, 3, H, W]; audio:
/// input_values [B, N] with attention_mask [B, N], or input_features [B, mels, frames] (with
/// attention_mask [B, frames]); series: values [B, T, C], attention_mask [B, T]; video:
/// pixel_values [B, T, 3, H, W], attention_mask [B, T]; volume: voxel_values [B, C, D, H, W];
/// table: numeric [B, F], categorical [B, G] int64, each with a mask of present fields
/// (numeric_mask, categorical_mask), or values [B, F] without names (NaN: missing).
class Encoder : public Model {
 public:
  virtual EncoderOutput encode(const TensorMap& inputs) = 0;
  virtual Modality modality() const = 0;
  virtual int64_t width() const = 0;  ///< D
  /// Named outputs as the reference implementation names them; by default last_hidden_state, pooled
  /// and mask.
  TensorMap forward(const TensorMap& inputs) override;
};

}  // namespace plait::models
