// The accelerometer on the housing.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "plait/data/simulate/bearing_parts.h"

namespace plait::data {
namespace {

constexpr double kTwoPi = 2 * M_PI;
constexpr double kReferenceHz = 29, kReferenceN = 1000;

/// Stribeck's share of the load on a ball at `angle` from the direction of the load: half of the
/// race carries, with exponent 3/2 for balls.
double load_at(double angle) { return std::pow(std::max(std::cos(angle), 0.0), 1.5); }

class Recording {
 public:
  Recording(const BearingConfig& config, DamageRandom& random)
      : rate_(config.sample_rate_hz), x_(static_cast<size_t>(config.samples), 0.0) {
    // Temperature and mounting move the modes a little from item to item.
    for (size_t k = 0; k < 2; ++k) {
      resonance_[k] = config.machine.resonance_hz[k] * (1 + 0.03 * random.normal());
      damping_[k] = config.machine.damping[k] * std::exp(0.15 * random.normal());
    }
  }

  double seconds() const { return static_cast<double>(x_.size()) / rate_; }
  std::vector<double>& values() { return x_; }

  /// A blow at `time`: both modes start and die away.
  void strike(double time, double amplitude) {
    for (size_t k = 0; k < 2; ++k) {
      const double decay = kTwoPi * resonance_[k] * damping_[k];
      const auto first = static_cast<int64_t>(std::ceil(time * rate_));
      const auto last = std::min<int64_t>(static_cast<int64_t>(x_.size()),
                                          first + static_cast<int64_t>(6 / decay * rate_));
      const double late = static_cast<double>(first) / rate_ - time;
      double level = amplitude * (k == 0 ? 1.0 : 0.6) * std::exp(-decay * late);
      double phase = kTwoPi * resonance_[k] * late;
      const double fall = std::exp(-decay / rate_), turn = kTwoPi * resonance_[k] / rate_;
      for (int64_t i = first; i < last; ++i) {
        if (i >= 0) x_[static_cast<size_t>(i)] += level * std::sin(phase);
        level *= fall;
        phase += turn;
      }
    }
  }

  void tone(double hz, double amplitude, double phase) {
    for (size_t i = 0; i < x_.size(); ++i)
      x_[i] += amplitude * std::sin(kTwoPi * hz * static_cast<double>(i) / rate_ + phase);
  }

  void noise(double deviation, double colour, DamageRandom& random) {
    const double fresh = std::sqrt(1 - colour * colour) * deviation;
    double last = deviation * random.normal();
    for (double& x : x_) {
      last = colour * last + fresh * random.normal();
      x += last;
    }
  }

 private:
  double rate_;
  std::vector<double> x_;
  std::array<double, 2> resonance_, damping_;
};

/// Impacts every 1 / `hz` seconds with slip that adds up, each as strong as `strength(time)`.
void train(Recording& out, double hz, double slip, DamageRandom& random,
           const std::function<double(double)>& strength) {
  for (double time = -random.uniform() / hz; time < out.seconds();
       time += (1 + slip * random.normal()) / hz)
    out.strike(time, strength(time) * std::exp(0.15 * random.normal()));
}

/// Blows at random moments, `hz` of them a second.
void shower(Recording& out, double hz, DamageRandom& random,
            const std::function<double()>& strength) {
  if (hz <= 0) return;
  for (double time = 0; (time -= std::log(1 - random.uniform()) / hz) < out.seconds();)
    out.strike(time, strength());
}

}  // namespace

at::Tensor simulate_vibration(const BearingConfig& config, const BearingItem& item, double shaft_hz,
                              DamageRandom& random) {
  const BearingMachine& machine = config.machine;
  const FaultOrders orders = fault_orders(config.geometry);
  Recording out(config, random);
  const double impact = config.impact_g * item.defect * (shaft_hz / kReferenceHz) *
                        std::sqrt(item.load_n / kReferenceN);
  const double start = kTwoPi * random.uniform();
  auto turning = [&](double order) {
    return [=](double time) { return impact * load_at(kTwoPi * order * shaft_hz * time + start); };
  };
  double roughness = 1;
  switch (item.state) {
    case BearingState::kHealthy: break;
    case BearingState::kOuterRace: {
      // The spall is where the load is, more or less.
      const double place = 0.6 * (2 * random.uniform() - 1);
      train(out, orders.outer * shaft_hz, config.slip, random,
            [&](double) { return impact * load_at(place); });
      break;
    }
    case BearingState::kInnerRace:
      train(out, orders.inner * shaft_hz, config.slip, random, turning(1));
      break;
    case BearingState::kBall:
      // It meets the outer and the inner race once a turn each; the way out is the longer one.
      train(out, 2 * orders.ball * shaft_hz, config.slip, random,
            [&, strong = false](double time) mutable {
              strong = !strong;
              return (strong ? 1.0 : 0.7) * turning(orders.cage)(time);
            });
      break;
    case BearingState::kLubrication:
      roughness = 1 + 0.8 * item.defect;
      shower(out, 120 + 500 * item.defect, random,
             [&] { return 0.35 * impact * std::exp(0.5 * random.normal()); });
      break;
  }
  shower(out, config.shocks_hz * random.uniform(), random,
         [&] { return 1.2 * std::exp(0.6 * random.normal()); });
  for (size_t k = 0; k < machine.shaft_g.size(); ++k)
    out.tone(static_cast<double>(k + 1) * shaft_hz,
             machine.shaft_g[k] * std::exp(0.35 * random.normal()), kTwoPi * random.uniform());
  out.noise(machine.noise_g * roughness * std::exp(0.3 * random.normal()), machine.noise_colour,
            random);
  at::Tensor result = at::empty({config.samples, 1});
  std::copy(out.values().begin(), out.values().end(), result.data_ptr<float>());
  return result;
}

}  // namespace plait::data
