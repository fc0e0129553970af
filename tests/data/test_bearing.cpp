// The simulated bearing: its frequencies are those of its geometry, its heat is where friction is.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "plait/core/error.h"
#include "plait/data/simulate/bearing.h"

namespace plait::data {
namespace {

/// Grown defects only.
BearingConfig clear_cut(int64_t items) {
  BearingConfig config;
  config.items = items;
  config.defect = {0.9, 1.0};
  return config;
}

/// Spectrum of the squared envelope above 1 kHz, [T / 2 + 1], one bin a hertz.
at::Tensor envelope_spectrum(const BearingItem& item, double rate) {
  at::Tensor x = item.vibration.select(1, 0).to(at::kDouble);
  const int64_t n = x.size(0);
  at::Tensor spectrum = at::fft_fft(x);
  // Positive frequencies alone: the signal becomes its analytic one.
  at::Tensor keep = at::zeros({n}, at::kDouble);
  keep.slice(0, static_cast<int64_t>(1000 * n / rate), n / 2).fill_(2);
  at::Tensor envelope = at::abs(at::fft_ifft(spectrum * keep)).square();
  return at::abs(at::fft_rfft(envelope - envelope.mean()));
}

/// How far a frequency stands out: the largest bin within 2 % over the median.
double prominence(const at::Tensor& spectrum, double hz) {
  auto low = static_cast<int64_t>(std::floor(hz * 0.98)),
       high = static_cast<int64_t>(std::ceil(hz * 1.02)) + 1;
  return spectrum.slice(0, low, high).max().item<double>() /
         spectrum.slice(0, 5, 1000).median().item<double>();
}

double grey(const BearingItem& item, int64_t row, int64_t column) {
  return item.thermal.slice(0, row - 1, row + 2)
      .slice(1, column - 1, column + 2)
      .to(at::kDouble)
      .mean()
      .item<double>();
}

TEST(Bearing, OrdersOfType6205) {
  FaultOrders orders = fault_orders({});
  EXPECT_NEAR(orders.outer, 3.585, 0.002);
  EXPECT_NEAR(orders.inner, 5.415, 0.002);
  EXPECT_NEAR(orders.ball, 2.357, 0.002);
  EXPECT_NEAR(orders.cage, 0.3983, 0.0005);
}

TEST(Bearing, EnvelopeShowsTheFaultOfItsState) {
  BearingConfig config = clear_cut(60);
  const FaultOrders orders = fault_orders(config.geometry);
  int found = 0, faulty = 0;
  for (const BearingItem& item : simulate_bearing(config)) {
    at::Tensor spectrum = envelope_spectrum(item, config.sample_rate_hz);
    const std::array<double, 3> at = {prominence(spectrum, orders.inner * item.shaft_hz),
                                      prominence(spectrum, orders.outer * item.shaft_hz),
                                      prominence(spectrum, 2 * orders.ball * item.shaft_hz)};
    const auto best = std::max_element(at.begin(), at.end()) - at.begin();
    if (item.state == BearingState::kHealthy) {
      EXPECT_LT(at[static_cast<size_t>(best)], 10) << item.shaft_hz;
    } else if (item.state != BearingState::kLubrication) {
      ++faulty;
      found += best == static_cast<int64_t>(item.state) - 1 && at[static_cast<size_t>(best)] > 5;
    }
  }
  EXPECT_EQ(faulty, 36);
  EXPECT_GE(found, 33);
}

TEST(Bearing, ImpactsAreBeyondTheNoise) {
  double healthy = 0, outer = 0;
  for (const BearingItem& item : simulate_bearing(clear_cut(40))) {
    at::Tensor x = item.vibration - item.vibration.mean();
    EXPECT_TRUE(x.isfinite().all().item<bool>());
    double level = x.square().mean().sqrt().item<double>();
    EXPECT_GT(level, 0.1);
    EXPECT_LT(level, 3);
    if (item.state == BearingState::kHealthy) healthy += level;
    if (item.state == BearingState::kOuterRace) outer += level;
  }
  EXPECT_GT(outer, 1.2 * healthy);
}

TEST(Bearing, HeatIsWhereTheFrictionIs) {
  BearingConfig config = clear_cut(400);
  config.friction_spread = 0;
  config.machine.load_n = {1000, 1000};
  std::array<double, kBearingStates> rise{}, below{};
  const int64_t row = static_cast<int64_t>(0.45 * 48), column = 32;
  for (const BearingItem& item : simulate_bearing(config)) {
    EXPECT_EQ(item.thermal.sizes(), at::IntArrayRef({48, 64, 3}));
    const auto state = static_cast<size_t>(item.state);
    // The air beside the block; the lower and the upper half of the outer race.
    rise[state] += grey(item, row + 9, column) - grey(item, 4, 4);
    below[state] += grey(item, row + 9, column) - grey(item, row - 9, column);
  }
  for (size_t state = 1; state < rise.size(); ++state) EXPECT_GT(rise[state], 1.2 * rise[0]);
  EXPECT_EQ(std::max_element(rise.begin(), rise.end()) - rise.begin(),
            static_cast<int64_t>(BearingState::kLubrication));
  EXPECT_EQ(std::max_element(below.begin(), below.end()) - below.begin(),
            static_cast<int64_t>(BearingState::kOuterRace));
}

TEST(Bearing, NotesAreSentences) {
  std::map<BearingState, std::set<std::string>> notes;
  for (const BearingItem& item : simulate_bearing(clear_cut(100))) {
    ASSERT_FALSE(item.log.empty());
    EXPECT_EQ(item.log.back(), '.');
    EXPECT_TRUE(
        std::all_of(item.log.begin(), item.log.end(), [](char c) { return c >= ' ' && c <= '~'; }));
    notes[item.state].insert(item.log);
  }
  for (const auto& [state, different] : notes) EXPECT_GT(different.size(), 10u);
}

TEST(Bearing, SameSeedSameItemsHoweverMany) {
  auto one = simulate_bearing(clear_cut(6)), more = simulate_bearing(clear_cut(9));
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_TRUE(one[i].vibration.equal(more[i].vibration));
    EXPECT_TRUE(one[i].thermal.equal(more[i].thermal));
    EXPECT_EQ(one[i].log, more[i].log);
    EXPECT_EQ(one[i].state, static_cast<BearingState>(i % 5));
  }
  BearingConfig other = clear_cut(6);
  other.seed = 1;
  EXPECT_FALSE(simulate_bearing(other)[0].vibration.equal(one[0].vibration));
}

TEST(Bearing, AnotherMachineOnlyLooksOtherwise) {
  BearingConfig config = clear_cut(50);
  config.machine = BearingMachine::shifted();
  const FaultOrders orders = fault_orders(config.geometry);
  for (const BearingItem& item : simulate_bearing(config)) {
    EXPECT_LT(item.shaft_hz, 26.1);
    if (item.state != BearingState::kOuterRace) continue;
    EXPECT_GT(
        prominence(envelope_spectrum(item, config.sample_rate_hz), orders.outer * item.shaft_hz),
        5);
  }
}

TEST(Bearing, RefusesImpossibleMachines) {
  for (auto spoil : std::vector<void (*)(BearingConfig&)>{
           [](BearingConfig& c) { c.items = 0; }, [](BearingConfig& c) { c.samples = 0; },
           [](BearingConfig& c) { c.sample_rate_hz = 0; },
           [](BearingConfig& c) { c.geometry.ball_mm = 50; },
           [](BearingConfig& c) { c.machine.convection = 0; },
           [](BearingConfig& c) {
             c.defect = {0, 1};
           }}) {
    BearingConfig config = clear_cut(2);
    spoil(config);
    EXPECT_THROW(simulate_bearing(config), Error);
  }
}

}  // namespace
}  // namespace plait::data
