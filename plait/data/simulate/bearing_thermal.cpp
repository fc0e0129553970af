// The thermal camera in front of the housing.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "plait/data/simulate/bearing_parts.h"

namespace plait::data {
namespace {

constexpr double kInnerMm = 15.5, kOuterMm = 23.5, kShaftMm = 12.5;  // Radii of type 6205.
constexpr double kHousingMm = 58, kFootMm = 46;  // Its radius; half the height of foot and block.
constexpr double kPaint = 0.94, kSteel = 0.55;   // Emissivities
constexpr int kSweeps = 1500;
constexpr double kOverRelaxation = 1.9;

struct Polar {
  double radius, angle;  // mm; 0 points down, to where the load presses.
};

Polar polar(const BearingConfig& c, int64_t row, int64_t column) {
  const double y = (static_cast<double>(row) - 0.45 * static_cast<double>(c.rows)) * c.pixel_mm,
               x = (static_cast<double>(column) - 0.5 * static_cast<double>(c.columns)) *
                   c.pixel_mm;
  return {std::hypot(x, y), std::atan2(x, y)};
}

/// Heat of 1 W spread over the pixels by their weight.
std::vector<double> spread(const BearingConfig& c,
                           const std::function<double(const Polar&)>& weight) {
  std::vector<double> out(static_cast<size_t>(c.rows * c.columns));
  double sum = 0;
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t k = 0; k < c.columns; ++k)
      sum += out[static_cast<size_t>(r * c.columns + k)] = weight(polar(c, r, k));
  }
  for (double& w : out) w /= std::max(sum, 1e-12);
  return out;
}

/// Σ G (T' − T) over the neighbours − h A T + q = 0 in every pixel of the housing, by successive
/// over-relaxation.
std::vector<double> solve(const BearingConfig& c, const std::vector<bool>& housing,
                          const std::vector<double>& heat) {
  const double cooling = c.machine.convection * c.pixel_mm * c.pixel_mm * 1e-6;
  std::vector<double> rise(heat.size(), 0.0);
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    double change = 0;
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t k = 0; k < c.columns; ++k) {
        const auto i = static_cast<size_t>(r * c.columns + k);
        if (!housing[i]) continue;
        double flow = heat[i], conductance = cooling;
        auto neighbour = [&](bool inside, size_t j) {
          if (!inside || !housing[j]) return;
          flow += c.conductance * rise[j];
          conductance += c.conductance;
        };
        const auto width = static_cast<size_t>(c.columns);
        neighbour(r > 0, i - width);
        neighbour(r + 1 < c.rows, i + width);
        neighbour(k > 0, i - 1);
        neighbour(k + 1 < c.columns, i + 1);
        const double step = kOverRelaxation * (flow / conductance - rise[i]);
        rise[i] += step;
        change = std::max(change, std::fabs(step));
      }
    }
    if (change < 1e-6) break;
  }
  return rise;
}

/// Watts of friction of a healthy bearing: of the lubricant, and of the load.
struct Friction {
  double lubricant, load;
};

Friction friction(const BearingConfig& c, const BearingItem& item) {
  const double rpm = 60 * item.shaft_hz, d = c.geometry.pitch_mm, f0 = 2, f1 = 0.0004;
  const double to_watts = 1.05e-4 * rpm;
  return {to_watts * 1e-7 * f0 * std::pow(c.viscosity_mm2_s * rpm, 2.0 / 3) * d * d * d,
          to_watts * f1 * item.load_n * d};
}

}  // namespace

HeatFields solve_heat(const BearingConfig& c) {
  HeatFields out;
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t k = 0; k < c.columns; ++k) {
      Polar at = polar(c, r, k);
      const double down = at.radius * std::cos(at.angle), side = at.radius * std::sin(at.angle);
      const bool foot = down > kFootMm - 12 && down < kFootMm + 20 && std::fabs(side) < 82;
      out.housing.push_back(at.radius < kHousingMm || foot);
      out.shaft.push_back(at.radius < kShaftMm);
    }
  }
  auto ring = [&](double radius, double width, double zone) {
    std::vector<double> heat = spread(c, [=](const Polar& at) {
      double across = (at.radius - radius) / width;
      return std::exp(-across * across / 2) *
             (zone > 0 ? std::exp(-at.angle * at.angle / (2 * zone * zone)) : 1.0);
    });
    return solve(c, out.housing, heat);
  };
  out.inner = ring(kInnerMm - 5, 3, 0);
  out.outer = ring(kOuterMm + 1, 3, 0);
  out.balls = ring((kInnerMm + kOuterMm) / 2, 3, 0);
  out.load_zone = ring(kOuterMm + 3, 3, 0.5);
  return out;
}

at::Tensor simulate_thermal(const BearingConfig& c, const BearingItem& item,
                            const HeatFields& fields, DamageRandom& random) {
  const Friction base = friction(c, item);
  const double spread = std::exp(c.friction_spread * random.normal());
  double lubricant = base.lubricant * spread, load = base.load * spread;
  const double more = item.defect * (lubricant + load);
  // The load presses on both races; the lubricant is churned between them.
  double inner = 0.5 * load, outer = 0.2 * load, zone = 0.3 * load, balls = lubricant;
  switch (item.state) {
    case BearingState::kHealthy: break;
    case BearingState::kInnerRace: inner += 0.9 * more; break;
    case BearingState::kOuterRace: zone += 0.8 * more; break;
    case BearingState::kBall:
      balls += 0.45 * more;
      outer += 0.25 * more;
      break;
    case BearingState::kLubrication:
      // Less to churn, but the surfaces touch.
      balls += 0.9 * more - 0.4 * item.defect * lubricant;
      inner += 0.5 * more;
      outer += 0.5 * more;
      break;
  }
  // Not every picture is taken when the machine is warm.
  const double warm = 1 - std::exp(-(0.5 + 3 * random.uniform()));
  const double ambient = draw(c.machine.ambient_c, random) + 0.5 * random.normal();
  const int64_t down = random.below(3) - 1, right = random.below(3) - 1;
  at::Tensor out = at::empty({c.rows, c.columns, 3}, at::kByte);
  auto* pixels = out.data_ptr<uint8_t>();
  // Every column of the sensor has an offset of its own, and the air is warmer at the top.
  std::vector<double> offset(static_cast<size_t>(c.columns));
  for (double& o : offset) o = 0.5 * c.camera_noise_k * random.normal();
  const double gradient = 1.5 * random.uniform();
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t k = 0; k < c.columns; ++k) {
      const int64_t row = std::clamp<int64_t>(r + down, 0, c.rows - 1),
                    column = std::clamp<int64_t>(k + right, 0, c.columns - 1);
      const auto i = static_cast<size_t>(row * c.columns + column);
      double air =
          ambient + gradient * (0.5 - static_cast<double>(r) / static_cast<double>(c.rows));
      double rise = inner * fields.inner[i] + outer * fields.outer[i] + balls * fields.balls[i] +
                    zone * fields.load_zone[i];
      double emissivity = fields.shaft[i] ? kSteel : kPaint;
      double seen = air + (fields.housing[i] ? emissivity * warm * rise : 0) +
                    c.camera_noise_k * random.normal() + offset[static_cast<size_t>(k)];
      double grey = 255 * (seen - c.camera_c.low) / (c.camera_c.high - c.camera_c.low);
      auto value = static_cast<uint8_t>(std::lround(std::clamp(grey, 0.0, 255.0)));
      for (int64_t channel = 0; channel < 3; ++channel)
        pixels[(r * c.columns + k) * 3 + channel] = value;
    }
  }
  return out;
}

}  // namespace plait::data
