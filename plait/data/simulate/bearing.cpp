#include "plait/data/simulate/bearing.h"

#include <cmath>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/data/simulate/bearing_parts.h"

namespace plait::data {
namespace {

constexpr double kReportedSpeed = 0.002;  // Error of the drive's own reading.

void check(const BearingConfig& c) {
  require(c.items >= 1 && c.samples >= 1 && c.rows >= 1 && c.columns >= 1 && c.geometry.balls >= 1,
          "bearing", "expected at least one item, sample, row, column and ball");
  require(c.sample_rate_hz > 0 && c.geometry.pitch_mm > c.geometry.ball_mm &&
              c.geometry.ball_mm > 0 && c.pixel_mm > 0 && c.machine.convection > 0 &&
              c.conductance > 0 && c.camera_c.high > c.camera_c.low && c.defect.low > 0,
          "bearing", "expected positive rates, sizes, convection, conductance and ranges");
}

}  // namespace

BearingMachine BearingMachine::shifted() {
  BearingMachine m;
  m.shaft_hz = {21, 26};
  m.load_n = {900, 1700};
  m.resonance_hz = {2080, 3150};
  m.damping = {0.03, 0.03};
  m.noise_g = 0.27;
  m.noise_colour = 0.6;
  m.shaft_g = {0.4, 0.25, 0.15};
  m.ambient_c = {28, 38};
  m.convection = 13.5;
  return m;
}

FaultOrders fault_orders(const BearingGeometry& g) {
  const double n = static_cast<double>(g.balls),
               ratio = g.ball_mm / g.pitch_mm * std::cos(g.contact_rad);
  return {.outer = n / 2 * (1 - ratio),
          .inner = n / 2 * (1 + ratio),
          .ball = g.pitch_mm / (2 * g.ball_mm) * (1 - ratio * ratio),
          .cage = (1 - ratio) / 2};
}

std::string to_string(BearingState state) {
  constexpr std::array<const char*, kBearingStates> kNames{"healthy", "inner_race", "outer_race",
                                                           "ball", "lubrication"};
  return kNames.at(static_cast<size_t>(state));
}

std::vector<BearingItem> simulate_bearing(const BearingConfig& config) {
  check(config);
  const HeatFields fields = solve_heat(config);
  std::vector<BearingItem> items(static_cast<size_t>(config.items));
  for_each_in_parallel(items.size(), [&](size_t i) {
    SerialScope serial;
    // One source of chance per stream: a change of one leaves the others as they are.
    auto random = [&](uint64_t stream) { return DamageRandom(mix_seed(config.seed, i, stream)); };
    DamageRandom state = random(0), vibration = random(1), thermal = random(2), log = random(3);
    BearingItem& item = items[i];
    item.state = static_cast<BearingState>(i % kBearingStates);
    const double shaft_hz = draw(config.machine.shaft_hz, state);
    item.shaft_hz = shaft_hz * (1 + kReportedSpeed * (2 * state.uniform() - 1));
    item.load_n = draw(config.machine.load_n, state);
    item.defect =
        std::exp(draw({std::log(config.defect.low), std::log(config.defect.high)}, state));
    if (item.state == BearingState::kHealthy) item.defect = 0;
    item.vibration = simulate_vibration(config, item, shaft_hz, vibration);
    item.thermal = simulate_thermal(config, item, fields, thermal);
    item.log = simulate_log(config, item, log);
  });
  return items;
}

}  // namespace plait::data
