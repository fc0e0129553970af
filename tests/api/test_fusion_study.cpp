#include "plait/api/fusion_study.h"

#include <gtest/gtest.h>

#include "tests/train/gaussian_views.h"

namespace plait::api {
namespace {

StudyData toy() {
  StudyData data;
  data.dataset = "toy";
  data.classes = train::kClasses;
  data.streams = {"a", "b", "c"};
  data.train = train::gaussian_classes(300, 1, 0, 0.6);
  train::TrustData test = train::gaussian_classes(400, 9, 0, 0.6);
  data.conditions.push_back({"clean", test, at::zeros_like(test.present), true});
  data.costs = {1, 2, 5};
  return data;
}

TEST(FusionStudy, CountsWhatTheGatesOfDynMmLookAt) {
  StudyOptions options;
  options.trust.expert_epochs = 10;
  options.trust.joint = 0;
  options.trust.gate_epochs = 2;
  options.trust.min_bank = 1000;
  options.dynmm_weights = {0, 3, 10};
  const Json study = run_fusion_study(toy(), options);
  const Json& curve = study.at("dynmm_curve");
  ASSERT_EQ(curve.size(), 5u);  // Every weight looking at the first stream, two at all
  for (size_t i = 0; i < 5; ++i) {
    const bool all = i > 2;
    EXPECT_EQ(curve.at(i).at("gate").as_string(), all ? "all" : "first");
    const double cost = curve.at(i).at("cost").as_double();
    EXPECT_LE(curve.at(i).at("branch_cost").as_double(), cost + 1e-9);
    if (all) {
      EXPECT_NEAR(cost, 1, 1e-9);
    }
    EXPECT_GT(curve.at(i).at("accuracy").as_double(), 0.4);
  }
  EXPECT_LT(curve.at(2).at("cost").as_double(), curve.at(0).at("cost").as_double());
  EXPECT_LT(curve.at(4).at("branch_cost").as_double(), curve.at(3).at("branch_cost").as_double());
  options.dynmm_weights.clear();
  EXPECT_FALSE(run_fusion_study(toy(), options).contains("dynmm_curve"));
}

}  // namespace
}  // namespace plait::api
