#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "plait/data/augment/kinds.h"
#include "plait/data/simulate/bearing.h"

/// The three streams behind bearing.h; arguments are checked there.
namespace plait::data {

/// [T, 1]
at::Tensor simulate_vibration(const BearingConfig& config, const BearingItem& item,
                              double true_shaft_hz, DamageRandom& random);

/// Rise of temperature over the air, K per W, of every pixel [H × W], for heat at one place.
struct HeatFields {
  std::vector<double> inner, outer, balls, load_zone;
  std::vector<bool> housing, shaft;
};
HeatFields solve_heat(const BearingConfig& config);
at::Tensor simulate_thermal(const BearingConfig& config, const BearingItem& item,
                            const HeatFields& fields, DamageRandom& random);

std::string simulate_log(const BearingConfig& config, const BearingItem& item,
                         DamageRandom& random);

/// Uniform.
inline double draw(const Range& range, DamageRandom& random) {
  return range.low + (range.high - range.low) * random.uniform();
}

}  // namespace plait::data
