#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>

#include "plait/models/quality/audio_loops.h"

namespace plait::models {
namespace {

int64_t largest_odd_prime(int64_t n) {
  int64_t largest = 1;
  while (n % 2 == 0) n /= 2;
  for (int64_t p = 3; n > 1; p += 2) {
    for (; n % p == 0; n /= p) largest = p;
  }
  return largest;
}

/// Cosine and sine of `part` of `whole` circles.
void add_angle(int64_t part, int64_t whole, std::vector<float>* to) {
  const double angle = 2 * M_PI * static_cast<double>(part % whole) / static_cast<double>(whole);
  to->push_back(static_cast<float>(std::cos(angle)));
  to->push_back(static_cast<float>(std::sin(angle)));
}

std::vector<BandSpectra::Plan::Stage> make_stages(int64_t n) {
  std::vector<BandSpectra::Plan::Stage> out;
  for (int64_t stride = 1; n > 1;) {
    BandSpectra::Plan::Stage stage;
    stage.radix = n % 4 == 0 ? 4 : 2;
    if (n % 2) {
      for (stage.radix = 3; n % stage.radix; stage.radix += 2) {
      }
    }
    stage.groups = n / stage.radix;
    stage.stride = stride;
    for (int64_t i = 0; i < stage.radix; ++i) add_angle(i, stage.radix, &stage.circle);
    for (int64_t p = 0; p < stage.groups; ++p) {
      for (int64_t i = 0; i < stage.radix; ++i) add_angle(i * p, n, &stage.turn);
    }
    stride *= stage.radix;
    n = stage.groups;
    out.push_back(std::move(stage));
  }
  return out;
}

}  // namespace

std::shared_ptr<const BandSpectra> BandSpectra::of(int64_t rate) {
  constexpr size_t kKept = 4;
  static std::mutex guard;
  static std::vector<std::shared_ptr<const BandSpectra>> kept;  // The last used first.
  std::lock_guard lock(guard);
  auto found =
      std::find_if(kept.begin(), kept.end(), [&](const auto& one) { return one->rate_ == rate; });
  if (found == kept.end()) {
    if (kept.size() == kKept) kept.pop_back();
    found = kept.insert(kept.end(), std::shared_ptr<const BandSpectra>(new BandSpectra(rate)));
  }
  std::rotate(kept.begin(), found, found + 1);
  return kept.front();
}

BandSpectra::BandSpectra(int64_t rate)
    : rate_(rate), size_(std::clamp<int64_t>(rate / 31, 64, 2048)), hop_(size_ / 4) {
  plan_.size = size_, plan_.hop = hop_;
  plan_.prime = largest_odd_prime(size_), plan_.rest = size_ / plan_.prime;
  plan_.half = (plan_.prime - 1) / 2;
  const at::Tensor window = at::hann_window(size_);
  plan_.window.assign(window.const_data_ptr<float>(), window.const_data_ptr<float>() + size_);
  const int64_t rows = (plan_.half + kTogether - 1) / kTogether * kTogether;
  for (int64_t k = 1; k <= rows; ++k) {
    for (int64_t a = 1; a <= plan_.half; ++a) {
      std::vector<float> angle;
      add_angle(a * k, plan_.prime, &angle);
      plan_.cosine.push_back(angle[0]);
      plan_.sine.push_back(angle[1]);
    }
  }
  for (int64_t k = 0; k <= plan_.half; ++k) {
    for (int64_t b = 0; b < plan_.rest; ++b) add_angle(b * k, size_, &plan_.turn);
  }
  plan_.stages = make_stages(plan_.rest);
  make_bands();
}

void BandSpectra::make_bands() {
  constexpr int64_t kBands = 16;
  const int64_t bins = size_ / 2 + 1;
  const double low = 120, high = std::min(7600.0, 0.475 * static_cast<double>(rate_));
  plan_.band_of_bin.assign(static_cast<size_t>(bins), -1);
  std::array<int64_t, kBands> held{};
  for (int64_t k = 1; k < bins; ++k) {
    const double hz = static_cast<double>(k * rate_) / static_cast<double>(size_);
    if (hz < low || hz >= high) continue;
    auto band = static_cast<int64_t>(kBands * std::log(hz / low) / std::log(high / low));
    band = std::min(band, kBands - 1);
    plan_.band_of_bin[static_cast<size_t>(k)] = band;
    ++held[static_cast<size_t>(band)];
  }
  // Low bands of few bins may hold none.
  std::array<int64_t, kBands> number{};
  for (int64_t b = 0; b < kBands; ++b) {
    if (held[static_cast<size_t>(b)] == 0) continue;
    number[static_cast<size_t>(b)] = static_cast<int64_t>(tops_.size());
    tops_.push_back(low * std::pow(high / low, static_cast<double>(b + 1) / kBands));
  }
  for (int64_t& band : plan_.band_of_bin) {
    if (band >= 0) band = number[static_cast<size_t>(band)];
  }
  plan_.bands = static_cast<int64_t>(tops_.size());
}

void BandSpectra::powers(const float* x, int64_t n, const std::vector<int64_t>& whole, float* bands,
                         float* all) const {
  powers_of(plan_, x, n, whole.data(), static_cast<int64_t>(whole.size()), bands, all);
}

}  // namespace plait::models
