#include "plait/train/metrics.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"
#include "plait/core/weights/safetensors.h"

namespace plait::train {
namespace {

TEST(Metrics, EqualScikitLearnAndSciPy) {
  TensorMap golden = load_safetensors(PLAIT_SOURCE_DIR "/tests/golden/train/metrics.safetensors");
  auto in = [&](const char* name) { return golden.at(std::string("inputs.") + name); };
  auto expect = [&](const char* name, double value) {
    EXPECT_NEAR(value, golden.at(std::string("outputs.") + name).item<double>(), 1e-9) << name;
  };
  at::Tensor p = in("probabilities"), y = in("target");
  expect("accuracy", accuracy(p, y));
  expect("top_3", top_k_accuracy(p, y, 3));
  expect("macro_f1", macro_f1(p, y));
  expect("nll", negative_log_likelihood(p, y));
  expect("brier", brier_score(p, y));
  expect("ece", expected_calibration_error(p, y));
  expect("aurc", aurc(p, y));
  expect("risk_80", selective_risk(p, y, 0.8));
  expect("auroc", auroc(in("scores"), in("positive")));
  expect("spearman", spearman(in("scores"), in("other")));
  expect("mse", mean_squared_error(in("prediction"), in("truth")));
  expect("mae", mean_absolute_error(in("prediction"), in("truth")));
  expect("r2", r2_score(in("prediction"), in("truth")));
  EXPECT_TRUE(at::equal(confusion_matrix(p, y), golden.at("outputs.confusion")));
}

TEST(Metrics, ByHand) {
  at::Tensor p = at::tensor({0.9, 0.1, 0.6, 0.4, 0.3, 0.7, 0.2, 0.8}, at::kDouble).view({4, 2});
  at::Tensor y = at::tensor({0, 1, 1, 0}, at::kLong);
  EXPECT_EQ(accuracy(p, y), 0.5);
  EXPECT_EQ(top_k_accuracy(p, y, 2), 1);
  // Most confident first: 0.9 right, 0.8 wrong, 0.7 right, 0.6 wrong.
  EXPECT_NEAR(aurc(p, y), (0 + 0.5 + 1.0 / 3 + 0.5) / 4, 1e-12);
  EXPECT_NEAR(selective_risk(p, y, 0.25), 0, 1e-12);
  EXPECT_NEAR(expected_calibration_error(p, y, 10), (0.1 + 0.8 + 0.3 + 0.6) / 4, 1e-12);
  auto bins = reliability_bins(p, y, 10);
  EXPECT_EQ(bins[8].count, 1);  // 0.9 belongs to (0.8, 0.9].
  EXPECT_NEAR(bins[8].accuracy, 1, 1e-12);
  EXPECT_EQ(to_json(bins).size(), 10u);
}

TEST(Metrics, ItemsWithoutALabelDoNotCount) {
  at::Tensor p = at::tensor({0.9, 0.1, 0.6, 0.4}, at::kDouble).view({2, 2});
  EXPECT_EQ(accuracy(p, at::tensor({0, -1}, at::kLong)), 1);
  EXPECT_EQ(classification_metrics(p, at::tensor({-1, 1}, at::kLong)).at("n"), 1);
  EXPECT_THROW(accuracy(p, at::tensor({-1, -1}, at::kLong)), Error);
}

TEST(Metrics, AurcDoesNotDependOnTheOrderOfTies) {
  at::Tensor p = at::full({4, 2}, 0.5, at::kDouble);
  EXPECT_NEAR(aurc(p, at::tensor({0, 0, 1, 1}, at::kLong)), 0.5, 1e-12);
  EXPECT_NEAR(aurc(p, at::tensor({1, 1, 0, 0}, at::kLong)), 0.5, 1e-12);
}

TEST(Metrics, Retrieval) {
  at::Tensor s =
      at::tensor({0.9, 0.5, 0.1, 0.3, 0.2, 0.8, 0.4, 0.4, 0.4}, at::kDouble).view({3, 3});
  at::Tensor y = at::tensor({0, 1, 2}, at::kLong);  // Ranks 1, 3, and 3 of a three-way tie.
  EXPECT_NEAR(recall_at_k(s, y, 1), 1.0 / 3, 1e-12);
  EXPECT_NEAR(recall_at_k(s, y, 3), 1, 1e-12);
  EXPECT_NEAR(mean_reciprocal_rank(s, y), (1 + 1.0 / 3 + 1.0 / 3) / 3, 1e-12);
  EXPECT_EQ(retrieval_metrics(s, y).at("recall@5"), 1);
}

TEST(Metrics, RegressionIgnoresMissingTargets) {
  at::Tensor y = at::tensor({1.0, 2.0, std::nan("")}, at::kDouble),
             p = at::tensor({1.0, 4.0, 9.0}, at::kDouble);
  EXPECT_EQ(mean_squared_error(p, y), 2);
  EXPECT_EQ(mean_absolute_error(p, y), 1);
  EXPECT_EQ(regression_metrics(p, y).at("n"), 2);
  EXPECT_EQ(r2_score(at::ones({3}), at::ones({3})), 1);
  EXPECT_EQ(r2_score(at::zeros({3}), at::ones({3})), 0);
}

TEST(Metrics, RefuseBadInput) {
  at::Tensor p = at::full({2, 2}, 0.5), y = at::zeros({2}, at::kLong);
  EXPECT_THROW(accuracy(p, at::zeros({3}, at::kLong)), Error);
  EXPECT_THROW(accuracy(p, at::full({2}, 2, at::kLong)), Error);
  EXPECT_THROW(accuracy(at::full({2, 2}, std::nan("")), y), Error);
  EXPECT_THROW(accuracy(at::zeros({2, 0}), y), Error);
  EXPECT_THROW(auroc(at::ones({2}), at::ones({2})), Error);
  EXPECT_THROW(reliability_bins(p, y, 0), Error);
  EXPECT_THROW(recall_at_k(p, at::full({2}, 9, at::kLong), 1), Error);
  EXPECT_EQ(spearman(at::ones({3}), at::arange(3)), 0);
}

TEST(Metrics, OfManyLabels) {
  at::Tensor p = at::tensor({0.9, 0.2, 0.6, 0.1, 0.4, 0.5}).view({2, 3});
  at::Tensor y = at::tensor({1, 0, 1, 0, 1, 1}, at::kLong).view({2, 3});
  auto m = multi_label_metrics(p, y);
  EXPECT_NEAR(m.at("micro_f1"), 2 * 3.0 / (3 + 4), 1e-12);
  EXPECT_NEAR(m.at("exact_match"), 0.5, 1e-12);
  EXPECT_NEAR(m.at("accuracy"), 5.0 / 6, 1e-12);
  EXPECT_NEAR(m.at("brier"), (0.01 + 0.04 + 0.16 + 0.01 + 0.36 + 0.25) / 6, 1e-7);
  // Items with unknown labels do not count.
  EXPECT_EQ(
      multi_label_metrics(p, at::tensor({1, 0, 1, -1, -1, -1}, at::kLong).view({2, 3})).at("n"), 1);
  EXPECT_EQ(multi_label_metrics(at::zeros({2, 3}), at::zeros({2, 3}, at::kLong)).at("micro_f1"), 1);
  EXPECT_THROW(multi_label_metrics(p, at::zeros({2, 2}, at::kLong)), Error);
}

}  // namespace
}  // namespace plait::train
