#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "plait/data/augment/kinds.h"

namespace plait::data {
namespace {

/// NaN marks what is missing, before and after.
void damage_numbers(std::vector<double>& x, const std::string& kind, double severity,
                    uint64_t seed) {
  DamageRandom random(seed);
  if (kind == "dropout") {
    for (double& value : x) {
      if (random.uniform() < 0.9 * severity) value = std::numeric_limits<double>::quiet_NaN();
    }
    return;
  }
  double count = 0, mean = 0, squares = 0;
  for (double value : x) {
    if (!std::isfinite(value)) continue;
    count += 1;
    double delta = value - mean;
    mean += delta / count;
    squares += delta * (value - mean);
  }
  double spread = count > 0 ? std::sqrt(squares / count) : 0;
  if (!(spread > 0)) spread = std::max(std::fabs(mean), 1.0);
  for (double& value : x) value += 2 * severity * spread * random.normal();
}

/// Wider than any float would read as infinity later on.
double as_float(double value) {
  constexpr double kMost = std::numeric_limits<float>::max();
  return std::clamp(value, -kMost, kMost);
}

}  // namespace

at::Tensor damage_row(const at::Tensor& row, const std::string& kind, double severity,
                      uint64_t seed) {
  at::Tensor in = row.to(at::kDouble).contiguous();
  const double* from = in.const_data_ptr<double>();
  std::vector<double> numbers(from, from + in.numel());
  damage_numbers(numbers, kind, severity, seed);
  at::Tensor out = at::empty(row.sizes(), at::kFloat);
  float* to = out.data_ptr<float>();
  for (size_t i = 0; i < numbers.size(); ++i) to[i] = static_cast<float>(as_float(numbers[i]));
  return out;
}

Json damage_row(const Json& row, const std::string& kind, double severity, uint64_t seed) {
  Json out = row;
  std::vector<std::string> names;
  std::vector<double> numbers;
  for (const auto& [name, field] : row.members()) {
    // Noise has no meaning for words; any field can get lost.
    if (kind == "noise" && !field.is_number()) continue;
    names.push_back(name);
    numbers.push_back(field.is_number() ? field.as_double() : 0);
  }
  damage_numbers(numbers, kind, severity, seed);
  for (size_t i = 0; i < names.size(); ++i) {
    if (kind == "noise") {
      out[names[i]] = as_float(numbers[i]);
    } else if (std::isnan(numbers[i])) {
      out[names[i]] = Json();
    }
  }
  return out;
}

}  // namespace plait::data
