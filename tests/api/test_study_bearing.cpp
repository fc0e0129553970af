// The study of the simulated bearing, and the features it is made of.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "plait/api/bearing_features.h"
#include "plait/api/study_data.h"
#include "plait/core/error.h"
#include "tests/api/study_checks.h"

namespace plait::api {
namespace {

/// Where vibration_features puts how far harmonics of the shaft, the outer race, the inner race,
/// the ball and twice the ball stand out: three each, after 4 of the shape and 16 bands.
constexpr int64_t kOrdersBegin = 20;

std::vector<data::BearingItem> grown_defects(int64_t items) {
  data::BearingConfig config;
  config.items = items;
  config.defect = {0.9, 1.0};
  return data::simulate_bearing(config);
}

at::Tensor features(const at::Tensor& vibration) {
  return vibration_features(vibration.t(), data::BearingConfig().sample_rate_hz, {})[0];
}

TEST(BearingFeatures, FaultFrequenciesStandOut) {
  int right = 0, faulty = 0;
  for (const data::BearingItem& item : grown_defects(50)) {
    at::Tensor x = features(item.vibration);
    ASSERT_TRUE(x.isfinite().all().item<bool>());
    at::Tensor orders = x.slice(0, kOrdersBegin, kOrdersBegin + 15).view({5, 3}).amax(1);
    const int64_t best = at::stack({orders[1], orders[2], orders[4]}).argmax().item<int64_t>();
    if (item.state == data::BearingState::kOuterRace) ++faulty, right += best == 0;
    if (item.state == data::BearingState::kInnerRace) ++faulty, right += best == 1;
    if (item.state == data::BearingState::kBall) ++faulty, right += best == 2;
  }
  EXPECT_EQ(faulty, 30);
  EXPECT_GE(right, 26);
}

TEST(BearingFeatures, AFrozenSensorIsNotAFault) {
  int loud = 0, still = 0;
  for (const data::BearingItem& item : grown_defects(20)) {
    const int64_t half = item.vibration.size(0) / 2;
    at::Tensor frozen = item.vibration.clone();
    frozen.slice(0, half) = frozen[half].clone();
    at::Tensor x = features(item.vibration), y = features(frozen);
    // Its level and shape are those of the half that was measured, whatever value it froze at.
    at::Tensor kept = features(item.vibration.slice(0, 0, half));
    EXPECT_LT((y.slice(0, 0, 4) - kept.slice(0, 0, 4)).abs().max().item<double>(), 0.02);
    at::Tensor offset = frozen.clone();
    offset.slice(0, half) += 100;
    EXPECT_TRUE(at::allclose(features(offset), y, 0, 1e-3));
    // A fault that stands out by a factor of e or more still does by half as much in logarithms.
    at::Tensor orders = x.slice(0, kOrdersBegin, kOrdersBegin + 15);
    if (orders.max().item<double>() < 1) continue;
    ++loud;
    const int64_t loudest = orders.argmax().item<int64_t>();
    still += y[kOrdersBegin + loudest].item<double>() > 0.5 * orders.max().item<double>();
  }
  EXPECT_GE(loud, 8);
  EXPECT_GE(still, loud * 9 / 10);
}

TEST(BearingFeatures, SurviveWhatASensorGives) {
  at::Tensor vibration = grown_defects(1)[0].vibration;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const at::Tensor& x :
       {at::full_like(vibration, nan), at::zeros_like(vibration), at::full_like(vibration, 7),
        at::where(at::rand_like(vibration) < 0.5, at::full_like(vibration, nan), vibration),
        vibration * 1e6})
    EXPECT_TRUE(features(x).isfinite().all().item<bool>());
  EXPECT_THROW(vibration_features(at::zeros({2, 10}), 8192, {}), Error);
  EXPECT_THROW(vibration_features(at::zeros({8192}), 8192, {}), Error);
  EXPECT_THROW(vibration_features(at::zeros({1, 8192}), 1000, {}), Error);
}

TEST(BearingFeatures, PicturesOverTheAirAndNotesOfLengthOne) {
  at::Tensor picture = grown_defects(1)[0].thermal;
  at::Tensor x = thermal_features(picture), warmer = thermal_features(picture + 10);
  EXPECT_EQ(x.sizes(), at::IntArrayRef({192}));
  EXPECT_TRUE(at::allclose(x, warmer, 0, 1e-5));
  EXPECT_THROW(thermal_features(picture.to(at::kFloat)), Error);

  EXPECT_NEAR(note_features("Steady ticking from below.").norm().item<double>(), 1, 1e-5);
  EXPECT_TRUE(note_features("steady  TICKING").equal(note_features("Steady ticking.")));
  EXPECT_EQ(note_features(" .").norm().item<double>(), 0);
}

TEST(BearingStudy, HoldsWhatAStudyNeeds) {
  StudyData data = bearing_study(3);
  expect_sound(data);
  EXPECT_EQ(data.classes, 5);
  EXPECT_EQ(data.streams, (std::vector<std::string>{"vibration", "thermal", "log"}));
  EXPECT_NE(data.note.find("Synthetic"), std::string::npos);
  EXPECT_EQ(data.train.size(), 1200);
  EXPECT_EQ(data.conditions[0].test.size(), 300);
  const StudyCondition& shifted = condition(data, "shifted_machine");
  EXPECT_EQ(shifted.test.size(), 400);
  EXPECT_EQ(data.costs.size(), 3u);
  EXPECT_FALSE(shifted.hit.any().item<bool>());
  EXPECT_FALSE(shifted.seen);
  EXPECT_TRUE(condition(data, "vibration/spikes_1").seen);
  EXPECT_FALSE(condition(data, "vibration/stuck_1").seen);
  expect_same(data, bearing_study(3));
}

}  // namespace
}  // namespace plait::api
