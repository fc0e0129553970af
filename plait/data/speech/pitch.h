#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace plait::data {

struct PitchOptions {
  double min_hz = 60;
  double max_hz = 400;
  double voicing = 0.5;  ///< Least normalised correlation of a voiced frame
};

/// The fundamental frequency in Hz of frames of samples [N] at `sample_rate`, 0 where there is
/// none: the shortest lag whose normalised cross-correlation is within 5 % of the best (Talkin
/// 1995, "A robust algorithm for pitch tracking", without its tracking). Frame i is centred on
/// sample (i + 1/2) · hop; [N / hop] float32. @throws Error kInvalidArgument for options out of
/// range.
at::Tensor pitch(const at::Tensor& samples, int64_t sample_rate, int64_t hop,
                 const PitchOptions& options = {});

}  // namespace plait::data
