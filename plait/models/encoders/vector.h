#pragma once
#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"

namespace plait::models {

/// Features that are ready to be used: a row of numbers, standardised. values [B, D] → pooled
/// [B, D], (x - mean) / deviation per feature, and tokens [B, 1, D], the same. NaN is a missing
/// number and takes the mean (0 after standardising). mean and deviation are buffers: 0 and 1
/// until they are set (see fit).
/// @throws Error kInvalidArgument for infinity on the CPU; elsewhere looking would stall the
/// device.
class Vector : public Encoder {
 public:
  struct Config {
    int64_t features = 16;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const {}
  };

  explicit Vector(const Config& config);
  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kTable; }
  int64_t width() const override { return config_.features; }
  Json config() const override { return write_config(config_); }

  /// Mean and (population) standard deviation of the columns of training rows [N, D], for
  /// load_state_dict: {"mean" [D], "deviation" [D]}. NaN does not count; a column without any
  /// number has mean 0, one that does not vary has deviation 1.
  /// @throws Error kInvalidArgument for another shape, no rows, or infinity.
  static TensorMap fit(const at::Tensor& rows);
  /// False while mean and deviation are 0 and 1.
  bool fitted() const;

 private:
  Config config_;
  at::Tensor mean_, deviation_;
};

}  // namespace plait::models
