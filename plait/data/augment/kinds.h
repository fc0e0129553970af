#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "plait/core/sample.h"

/// One function per modality behind augment.h; arguments are checked there.
namespace plait::data {

std::string damage_text(const std::string& text, const std::string& kind, double severity,
                        uint64_t seed);
at::Tensor damage_image(const at::Tensor& image, const std::string& kind, double severity,
                        uint64_t seed);
Waveform damage_audio(const Waveform& audio, const std::string& kind, double severity,
                      uint64_t seed);
at::Tensor damage_series(const at::Tensor& series, const std::string& kind, double severity,
                         uint64_t seed);

/// A row [D], NaN where a number is missing, and one with named fields, null where one is.
at::Tensor damage_row(const at::Tensor& row, const std::string& kind, double severity,
                      uint64_t seed);
Json damage_row(const Json& row, const std::string& kind, double severity, uint64_t seed);

/// splitmix64: the same numbers on every platform, unlike the distributions of <random>.
class DamageRandom {
 public:
  explicit DamageRandom(uint64_t seed) : state_(seed) {}
  uint64_t next();
  /// Uniform in [0, 1).
  double uniform();
  /// Uniform in [0, n); n > 0.
  int64_t below(int64_t n);
  /// Standard normal.
  double normal();

 private:
  uint64_t state_;
};

}  // namespace plait::data
