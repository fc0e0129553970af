#include "plait/api/bearing_features.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <vector>

#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace plait::api {
namespace {

constexpr int64_t kLeast = 256;      // Samples below which there is no spectrum to speak of.
constexpr int64_t kBands = 16;       // Of the spectrum.
constexpr int64_t kOrderBands = 24;  // Of the envelope's spectrum, up to kOrders turns.
constexpr double kOrders = 12, kHighPassHz = 1000, kTolerance = 0.02;
constexpr double kSlowestHz = 10, kFastestHz = 60;
constexpr int64_t kFields[2] = {12, 16};
constexpr int64_t kHashes = 256;
/// Equal values in a row that no vibration has: the sensor, or what carries its values, has
/// stopped.
constexpr int64_t kFrozen = 32;

using Values = std::vector<double>;

Values to_values(const at::Tensor& x) {
  at::Tensor flat = x.to(at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

double middle(Values v) {
  auto place = v.begin() + static_cast<int64_t>(v.size() / 2);
  std::nth_element(v.begin(), place, v.end());
  return *place;
}

/// False [N, T] in frozen runs.
at::Tensor not_frozen(const at::Tensor& x) {
  at::Tensor out = at::ones(x.sizes(), at::kBool);
  const int64_t n = x.size(1);
  for (int64_t row = 0; row < x.size(0); ++row) {
    const float* v = x.const_data_ptr<float>() + row * n;
    bool* there = out.data_ptr<bool>() + row * n;
    for (int64_t i = 0, end = 0; i < n; i = end) {
      for (end = i + 1; end < n && v[end] == v[i];) ++end;
      if (end - i >= kFrozen) std::fill(there + i, there + end, false);
    }
  }
  return out;
}

/// Magnitudes by frequency.
struct Spectrum {
  Values magnitude;
  double bin_hz;

  double largest(double low_hz, double high_hz) const {
    const auto last = static_cast<int64_t>(magnitude.size()) - 1;
    auto low = std::clamp<int64_t>(std::llround(low_hz / bin_hz), 0, last);
    auto high = std::clamp<int64_t>(std::llround(high_hz / bin_hz), low, last);
    return *std::max_element(magnitude.begin() + low, magnitude.begin() + high + 1);
  }
  double energy(double low_hz, double high_hz) const {
    const auto size = static_cast<int64_t>(magnitude.size());
    auto low = std::clamp<int64_t>(std::llround(low_hz / bin_hz), 0, size);
    auto high = std::clamp<int64_t>(std::llround(high_hz / bin_hz), low, size);
    double sum = 0;
    for (int64_t i = low; i < high; ++i) sum += magnitude[i] * magnitude[i];
    return sum;
  }
};

/// Of a Hann-windowed signal from the bins of the signal as it is: the window is a difference of
/// neighbouring bins.
Values hann_magnitudes(const at::Tensor& bins) {
  at::Tensor parts = at::view_as_real(bins).contiguous();
  const float* p = parts.const_data_ptr<float>();
  const int64_t n = bins.size(0);
  Values out(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    // A real signal's bins mirror at both ends.
    const int64_t before = i > 0 ? i - 1 : 1, after = i + 1 < n ? i + 1 : n - 2;
    const double flip_before = i > 0 ? 1 : -1, flip_after = i + 1 < n ? 1 : -1;
    double real = 0.5 * p[2 * i] - 0.25 * (p[2 * before] + p[2 * after]);
    double imaginary = 0.5 * p[2 * i + 1] -
                       0.25 * (flip_before * p[2 * before + 1] + flip_after * p[2 * after + 1]);
    out[static_cast<size_t>(i)] = std::sqrt(real * real + imaginary * imaginary);
  }
  return out;
}

/// The speed whose first three harmonics stand out most, between two bins by a parabola.
double shaft_hz(const Spectrum& s) {
  auto log_at = [&](double hz) { return std::log(s.largest(hz, hz) + 1e-9); };
  auto height = [&](double hz) { return log_at(hz) + log_at(2 * hz) + log_at(3 * hz); };
  double best = kSlowestHz, most = -1e300;
  for (double hz = kSlowestHz; hz <= kFastestHz; hz += s.bin_hz / 4) {
    if (double h = height(hz); h > most) most = h, best = hz;
  }
  // The third harmonic shows the speed three times as finely.
  double top = 3 * best, left = log_at(top - s.bin_hz), here = log_at(top),
         right = log_at(top + s.bin_hz), bend = left - 2 * here + right;
  if (bend >= 0 || here < left || here < right) return best;
  double centre = std::llround(top / s.bin_hz) * s.bin_hz;
  return (centre + 0.5 * s.bin_hz * (left - right) / bend) / 3;
}

void add_shape(const Values& x, Values& out) {
  double second = 0, third = 0, fourth = 0, most = 0;
  const auto n = static_cast<double>(x.size());
  for (double v : x) {
    second += v * v / n;
    third += v * v * v / n;
    fourth += v * v * v * v / n;
    most = std::max(most, std::fabs(v));
  }
  const double level = std::sqrt(second) + 1e-9;
  out.push_back(std::log(level));
  out.push_back(std::cbrt(third) / level);
  out.push_back(std::log(fourth / (second * second + 1e-18) + 1e-3));
  out.push_back(std::log(most / level + 1e-3));
}

/// One item: its values [T], their bins, and those of its squared envelope.
Values describe_vibration(const at::Tensor& x, const at::Tensor& there, const at::Tensor& bins,
                          const at::Tensor& slow_bins, double bin_hz,
                          const data::BearingGeometry& geometry) {
  Values out;
  at::Tensor values = x.masked_select(there);
  add_shape(to_values(values.numel() > 0 ? values : x), out);
  const Spectrum raw{hann_magnitudes(bins), bin_hz};
  const double whole = bin_hz * static_cast<double>(raw.magnitude.size()),
               total = raw.energy(0, whole) + 1e-12, width = whole / kBands;
  for (int64_t b = 0; b < kBands; ++b) {
    double part = raw.energy(width * static_cast<double>(b), width * static_cast<double>(b + 1));
    out.push_back(std::log(part / total + 1e-6));
  }
  const double speed = shaft_hz(raw);
  const Spectrum slow{hann_magnitudes(slow_bins), bin_hz};
  const auto used = std::min<size_t>(slow.magnitude.size(),
                                     static_cast<size_t>(2 * kOrders * speed / bin_hz) + 8);
  const double floor =
      middle({slow.magnitude.begin(), slow.magnitude.begin() + static_cast<int64_t>(used)});
  auto stands_out = [&](double order) {
    const double hz = order * speed, slack = std::max(kTolerance * hz, bin_hz);
    return std::log(slow.largest(hz - slack, hz + slack) / (floor + 1e-9) + 1e-3);
  };
  const data::FaultOrders orders = data::fault_orders(geometry);
  for (double order : {1.0, orders.outer, orders.inner, orders.ball, 2 * orders.ball}) {
    for (int harmonic = 1; harmonic <= 3; ++harmonic) out.push_back(stands_out(order * harmonic));
  }
  for (double side : {-1.0, 1.0}) {
    out.push_back(stands_out(orders.inner + side));
    out.push_back(stands_out(2 * orders.ball + side * orders.cage));
  }
  out.push_back(stands_out(orders.cage));
  const double step = kOrders / kOrderBands * speed;
  for (int64_t b = 0; b < kOrderBands; ++b) {
    double from = std::max(step * static_cast<double>(b), 2 * bin_hz);
    double mean = slow.energy(from, step * static_cast<double>(b + 1)) / (step / bin_hz);
    out.push_back(0.5 * std::log(mean / (floor * floor + 1e-18) + 1e-3));
  }
  return out;
}

}  // namespace

at::Tensor vibration_features(const at::Tensor& vibrations, double rate_hz,
                              const data::BearingGeometry& geometry) {
  require(vibrations.defined() && vibrations.dim() == 2 && vibrations.size(0) > 0 &&
              vibrations.size(1) >= kLeast && rate_hz > 2 * kHighPassHz,
          "bearing", "expected vibrations [N, T] of 256 values or more");
  at::Tensor x = vibrations.to(at::kFloat).contiguous();
  const at::Tensor beside_frozen = not_frozen(x);
  const at::Tensor there = at::logical_and(beside_frozen, x.isfinite());
  x = at::where(there, x, at::zeros({}));
  at::Tensor mean = x.sum(1, /*keepdim=*/true) / there.sum(1, /*keepdim=*/true).clamp_min(1);
  x = at::where(there, x - mean, at::zeros({}));
  const int64_t count = x.size(0), n = x.size(1), half = n / 2;
  const double bin_hz = rate_hz / static_cast<double>(n);
  at::Tensor bins = at::fft_rfft(x);
  // The positive frequencies of a band, moved to begin at 0, make a signal whose magnitude is the
  // band's envelope; of that only slow changes are read, so half of the values will do.
  at::Tensor band = bins.slice(1, static_cast<int64_t>(kHighPassHz / bin_hz), half);
  at::Tensor envelope = at::abs(at::fft_ifft(band, half)).square();
  // Long gaps are no silence: there the envelope is taken for average.
  at::Tensor heard = beside_frozen.slice(1, 0, 2 * half, 2);
  at::Tensor level = at::where(heard, envelope, at::zeros({})).sum(1, /*keepdim=*/true) /
                     heard.sum(1, /*keepdim=*/true).clamp_min(1);
  at::Tensor slow_bins =
      at::fft_rfft(at::where(heard, (envelope - level) / level.clamp_min(1e-12), at::zeros({})));
  std::vector<at::Tensor> rows;
  for (int64_t i = 0; i < count; ++i) {
    Values row = describe_vibration(x[i], there[i], bins[i], slow_bins[i], bin_hz, geometry);
    rows.push_back(at::tensor(row, at::kFloat));
  }
  return at::stack(rows);
}

at::Tensor thermal_features(const at::Tensor& picture) {
  require(picture.defined() && picture.dim() == 3 && picture.scalar_type() == at::kByte &&
              picture.numel() > 0,
          "bearing", "expected a picture uint8 [H, W, 3]");
  at::Tensor grey = picture.to(at::kFloat).mean(2).unsqueeze(0).unsqueeze(0);
  at::Tensor fields = at::adaptive_avg_pool2d(grey, {kFields[0], kFields[1]})[0][0];
  // The upper corners show the air.
  at::Tensor air = at::cat({fields.slice(0, 0, 3).slice(1, 0, 3).flatten(),
                            fields.slice(0, 0, 3).slice(1, kFields[1] - 3).flatten()})
                       .median();
  return (fields - air).flatten() / 255;
}

at::Tensor note_features(const std::string& text) {
  at::Tensor out = at::zeros({kHashes});
  float* counts = out.data_ptr<float>();
  auto add = [&](const std::string& part) {
    uint64_t hash = std::stoull(content_hash(part).substr(0, 16), nullptr, 16);
    counts[hash % kHashes] += hash >> 63 ? 1.f : -1.f;
  };
  auto add_word = [&](const std::string& word) {
    if (word.empty()) return;
    add(word);
    const std::string framed = "^" + word + "$";
    for (size_t i = 0; i + 3 <= framed.size(); ++i) add("#" + framed.substr(i, 3));
  };
  std::string word;
  for (char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 128) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else {
      add_word(word);
      word.clear();
    }
  }
  add_word(word);
  return out / out.norm().clamp_min(1e-6);
}

}  // namespace plait::api
