// Properties of the quality of sensor series; figures on real recordings:
// benchmarks/quality/measure.py.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/data/augment/augment.h"
#include "plait/models/quality/quality.h"

namespace plait::models {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

/// A movement that repeats, with a harmonic and a little of a sensor's own noise; double [T, C].
at::Tensor movement(int64_t length = 400, int64_t channels = 3) {
  at::Tensor t = at::arange(length, at::kDouble).unsqueeze(1);
  at::Tensor c = at::arange(channels, at::kDouble).unsqueeze(0);
  at::Tensor own = at::sin(t * 12.9898 + c * 78.233) * 43758.5453;
  return at::sin(t / (8 + c) + c) + 0.4 * at::sin(t / 4 + 2 * c) + 0.02 * (own - at::floor(own));
}

at::Tensor damaged(const at::Tensor& x, const char* kind, double severity, uint64_t seed = 1) {
  return std::get<at::Tensor>(data::damage(x, Modality::kSeries, kind, severity, seed));
}

const char* const kKinds[] = {"dropout", "stuck", "spikes", "drift", "noise"};

TEST(SeriesQuality, CleanMovementScoresHigh) {
  for (int64_t channels : {1, 3, 6}) {
    Quality q = series_quality(movement(400, channels));
    EXPECT_GT(q.score, 0.8) << channels;
    for (auto& [name, part] : q.parts) EXPECT_GT(part, 0.9) << name;
  }
}

TEST(SeriesQuality, FallsFromLevelToLevel) {
  for (const char* kind : kKinds) {
    int64_t falls = 0, steps = 0;
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      double before = series_quality(movement()).score;
      for (int level = 1; level <= 6; ++level, ++steps) {
        double score = series_quality(damaged(movement(), kind, level / 6.0, seed)).score;
        falls += score < before;
        before = score;
      }
    }
    EXPECT_GE(falls, steps - 1) << kind;
  }
}

TEST(SeriesQuality, NamesWhatIsWrong) {
  for (const char* kind : kKinds) {
    Quality q = series_quality(damaged(movement(), kind, 0.5));
    for (auto& [name, part] : q.parts) {
      if (name == kind) {
        EXPECT_LT(part, 0.5) << kind;
      } else {
        EXPECT_GT(part, q.parts[kind]) << kind << " seen as " << name;
      }
    }
  }
}

TEST(SeriesQuality, DoesNotDependOnUnitOffsetOrDirection) {
  at::Tensor x = damaged(movement(), "noise", 0.1).to(at::kDouble);
  double score = series_quality(x).score;
  for (double unit : {1e-300, 1e-3, -7.0, 1e300}) {
    EXPECT_NEAR(series_quality(x * unit).score, score, 1e-6) << unit;
  }
  EXPECT_NEAR(series_quality(x + 1000).score, score, 1e-6);
  EXPECT_NEAR(series_quality(x.flip(0)).score, score, 1e-6);
}

TEST(SeriesQuality, OneDeadChannelOfSixShows) {
  at::Tensor x = movement(400, 6);
  double clean = series_quality(x).score;
  for (double value : {0.0, kNan, kInf}) {
    at::Tensor dead = x.clone();
    dead.select(1, 2).fill_(value);
    double score = series_quality(dead).score;
    EXPECT_LT(score, 0.6 * clean) << value;
    EXPECT_GT(score, 0) << value;
  }
}

TEST(SeriesQuality, CoarseAndSwitchingSensorsAreNotStuck) {
  at::Tensor coarse = at::round(movement() * 8) / 8;
  EXPECT_GT(series_quality(coarse).parts["stuck"], 0.9);
  at::Tensor switching = at::floor(at::arange(400, at::kDouble) / 20).remainder(2);
  EXPECT_EQ(series_quality(switching).parts["stuck"], 1);
  EXPECT_EQ(series_quality(switching).parts["spikes"], 1);
}

TEST(SeriesQuality, InfinityCountsAsMissing) {
  at::Tensor with_nan = movement(), with_inf = movement();
  with_nan.slice(0, 50, 90).fill_(kNan);
  with_inf.slice(0, 50, 90).fill_(-kInf);
  EXPECT_EQ(series_quality(with_inf).score, series_quality(with_nan).score);
  EXPECT_LT(series_quality(with_inf).score, 0.7 * series_quality(movement()).score);
}

TEST(SeriesQuality, StaysInTheUnitIntervalForAnyInput) {
  std::vector<at::Tensor> odd = {
      at::zeros({5, 0}),
      at::arange(500, at::kLong),
      at::arange(40, at::kFloat).remainder(2),
      at::full({300}, 1e308, at::kDouble).mul(at::arange(300, at::kDouble).remainder(2) * 2 - 1),
      at::full({300}, 5e-324, at::kDouble).mul(at::arange(300, at::kDouble).remainder(3)),
      at::ones({100, 2}, at::kBool),
      at::eye(100).select(0, 30),
      damaged(movement(), "dropout", 1).to(at::kHalf)};
  for (int64_t length = 1; length <= 40; ++length) odd.push_back(movement(length, 2));
  for (const at::Tensor& x : odd) {
    Quality q = series_quality(x);
    EXPECT_TRUE(q.score >= 0 && q.score <= 1) << x.sizes() << " " << q.score;
    for (auto& [name, part] : q.parts) {
      EXPECT_TRUE(part >= 0 && part <= 1) << x.sizes() << " " << name << " " << part;
    }
  }
  EXPECT_EQ(series_quality(at::full({200}, 0.1, at::kDouble)).score, 0);
  EXPECT_EQ(series_quality(at::ones({1, 1})).score, 0);
  EXPECT_THROW(series_quality(at::zeros({})), Error);
  EXPECT_THROW(series_quality(at::zeros({2, 2, 2})), Error);
  EXPECT_THROW(series_quality(at::Tensor()), Error);
}

}  // namespace
}  // namespace plait::models
