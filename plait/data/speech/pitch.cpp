#include "plait/data/speech/pitch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "plait/core/error.h"

namespace plait::data {

at::Tensor pitch(const at::Tensor& samples, int64_t sample_rate, int64_t hop,
                 const PitchOptions& options) {
  require(samples.dim() == 1 && hop > 0 && sample_rate >= 1000, "pitch",
          "expected samples [N], a hop and a rate");
  require(options.min_hz >= 20 && options.max_hz > options.min_hz &&
              options.max_hz < static_cast<double>(sample_rate) / 4,
          "pitch", "expected frequencies from 20 Hz to a quarter of the rate");
  at::Tensor x = samples.to(at::kCPU, at::kFloat).contiguous();
  const float* in = x.const_data_ptr<float>();
  const int64_t count = x.size(0), frames = count / hop;
  const auto shortest = static_cast<int64_t>(static_cast<double>(sample_rate) / options.max_hz);
  const auto longest = static_cast<int64_t>(static_cast<double>(sample_rate) / options.min_hz) + 1;
  const int64_t window = longest;  // One period of the lowest voice on either side of the lag.
  at::Tensor out = at::zeros({frames}, at::kFloat);
  float* hertz = out.mutable_data_ptr<float>();
  std::vector<double> squares(static_cast<size_t>(count) + 1, 0);
  for (int64_t i = 0; i < count; ++i)
    squares[i + 1] = squares[i] + static_cast<double>(in[i]) * in[i];
  std::vector<double> scores(static_cast<size_t>(longest + 1));
  for (int64_t f = 0; f < frames; ++f) {
    const int64_t begin = f * hop + hop / 2 - (window + longest) / 2;
    if (begin < 0 || begin + window + longest > count) continue;
    const double here = squares[begin + window] - squares[begin];
    // Silence, or nearly so: below -60 dB of full scale.
    if (here < 1e-6 * static_cast<double>(window)) continue;
    double best = 0;
    for (int64_t lag = shortest; lag <= longest; ++lag) {
      const double there = squares[begin + lag + window] - squares[begin + lag];
      float sum = 0;
      for (int64_t i = begin; i < begin + window; ++i) sum += in[i] * in[i + lag];
      scores[lag] = sum / std::sqrt(here * there + 1e-12);
      best = std::max(best, scores[lag]);
    }
    if (best < options.voicing) continue;
    for (int64_t lag = shortest + 1; lag < longest; ++lag) {
      const bool peak = scores[lag] >= scores[lag - 1] && scores[lag] >= scores[lag + 1];
      if (!peak || scores[lag] < 0.95 * best) continue;
      const double bend = scores[lag - 1] - 2 * scores[lag] + scores[lag + 1];
      const double shift = bend < 0 ? 0.5 * (scores[lag - 1] - scores[lag + 1]) / bend : 0;
      hertz[f] = static_cast<float>(static_cast<double>(sample_rate) /
                                    (static_cast<double>(lag) + std::clamp(shift, -0.5, 0.5)));
      break;
    }
  }
  return out;
}

}  // namespace plait::data
