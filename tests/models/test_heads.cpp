// The losses of the task heads; what they compute is held by the golden files.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/models/tasks/classification.h"
#include "plait/models/tasks/multi_label.h"
#include "plait/models/tasks/regression.h"
#include "plait/models/tasks/retrieval.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

using tests::close;
const double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(ClassificationHead, LossIsTheMeanOverLabelledItems) {
  Classification::Config config = Classification::Config::tiny();
  config.classes = 3;
  Classification head(config);
  at::Tensor logits = at::tensor({1.0, 2.0, 0.5, 3.0, -1.0, 0.0, 9.0, 9.0, 0.0}).view({3, 3});
  at::Tensor log_p = at::log_softmax(logits, -1);
  double expected = -(log_p[0][1] + log_p[1][0]).item<double>() / 2;
  at::Tensor target = at::tensor({1, 0, -1}, at::kLong);
  EXPECT_NEAR(head.loss({{"logits", logits}}, target).item<double>(), expected, 1e-6);
  EXPECT_EQ(head.loss({{"logits", logits}}, at::full({3}, -1, at::kLong)).item<double>(), 0);
  EXPECT_THROW(head.loss({{"logits", logits}}, at::tensor({0, 1, 3}, at::kLong)), Error);
  EXPECT_THROW(head.loss({{"logits", logits}}, at::tensor({0, 1}, at::kLong)), Error);

  config.label_smoothing = 0.3;
  Classification smooth(config);
  double mixed = 0.7 * expected - 0.3 * (log_p[0].mean() + log_p[1].mean()).item<double>() / 2;
  EXPECT_NEAR(smooth.loss({{"logits", logits}}, target).item<double>(), mixed, 1e-6);
}

TEST(RegressionHead, LossIgnoresMissingValues) {
  Regression::Config config = Regression::Config::tiny();
  Regression head(config);
  at::Tensor mean = at::tensor({1.0, 2.0, 3.0, 4.0}).view({2, 2}).requires_grad_(true);
  at::Tensor log_variance = at::tensor({0.0, 0.5, -1.0, 2.0}).view({2, 2});
  at::Tensor target = at::tensor({1.5, kNaN, 1.0, kNaN}).view({2, 2});
  at::Tensor loss = head.loss({{"mean", mean}, {"log_variance", log_variance}}, target);
  EXPECT_NEAR(loss.item<double>(), (0.5 * 0.25 + 0.5 * (-1 + 4 * std::exp(1.0))) / 2, 1e-6);
  loss.backward();
  EXPECT_TRUE(at::isfinite(mean.grad()).all().item<bool>());
  EXPECT_EQ(mean.grad()[0][1].item<double>(), 0);
  at::Tensor none = at::full({2, 2}, kNaN);
  EXPECT_EQ(head.loss({{"mean", mean}, {"log_variance", log_variance}}, none).item<double>(), 0);
}

TEST(RegressionHead, AnswersInTheTargetsOwnUnit) {
  Regression::Config config = Regression::Config::tiny();
  Regression plain(config);
  config.location = {1000, -3};
  config.scale = {250, 0.1};
  Regression scaled(config);
  plain.initialize(3);
  scaled.load_state_dict(plain.state_dict());
  at::Tensor x = at::randn({5, 8});
  TensorMap a = plain.forward({{"features", x}}), b = scaled.forward({{"features", x}});
  at::Tensor scale = at::tensor(config.scale, at::kFloat);
  EXPECT_TRUE(close(b.at("mean"), a.at("mean") * scale + at::tensor(config.location, at::kFloat),
                    {1e-4, 1e-4}));
  EXPECT_TRUE(b.at("log_variance").allclose(a.at("log_variance") + 2 * scale.log(), 1e-4, 1e-4));
  config.scale = {1};
  EXPECT_THROW(config.validate(), Error);
}

TEST(MultiLabelHead, LossIsTheMeanOverKnownLabels) {
  MultiLabel head(MultiLabel::Config::tiny());
  at::Tensor logits = at::tensor({1.0, -2.0, 0.5, 3.0}).view({1, 4}).requires_grad_(true);
  at::Tensor target = at::tensor({1, 0, -1, 0}, at::kLong).view({1, 4});
  at::Tensor loss = head.loss({{"label_logits", logits}}, target);
  EXPECT_NEAR(
      loss.item<double>(),
      (std::log1p(std::exp(-1.0)) + std::log1p(std::exp(-2.0)) + std::log1p(std::exp(3.0))) / 3,
      1e-6);
  loss.backward();
  EXPECT_EQ(logits.grad()[0][2].item<double>(), 0);
  at::Tensor none = at::full({1, 4}, -1, at::kLong);
  EXPECT_EQ(head.loss({{"label_logits", logits}}, none).item<double>(), 0);
  EXPECT_THROW(head.loss({{"label_logits", logits}}, at::full({1, 4}, 2, at::kLong)), Error);
  EXPECT_THROW(head.loss({{"label_logits", logits}}, at::ones({1, 3}, at::kLong)), Error);
}

TEST(RetrievalHead, LossesEqualTheirFormulas) {
  at::manual_seed(5);
  at::Tensor a = at::randn({4, 6}), b = at::randn({4, 6});
  a = a / a.norm(2, -1, true);
  b = b / b.norm(2, -1, true);
  at::Tensor scale = at::full({}, 1.7), bias = at::full({}, -2.0);
  double clip = 0, siglip = 0;
  at::Tensor s = at::matmul(a, b.t()) * std::exp(1.7);
  for (int64_t i = 0; i < 4; ++i) {
    clip -= at::log_softmax(s[i], 0)[i].item<double>() / 8 +
            at::log_softmax(s.select(1, i), 0)[i].item<double>() / 8;
    for (int64_t j = 0; j < 4; ++j) {
      siglip += std::log1p(std::exp(-(i == j ? 1 : -1) * (s[i][j].item<double>() - 2.0))) / 4;
    }
  }
  EXPECT_NEAR(contrastive_loss(a, b, scale).item<double>(), clip, 1e-5);
  EXPECT_NEAR(sigmoid_loss(a, b, scale, bias).item<double>(), siglip, 1e-5);
}

TEST(RetrievalHead, PairsWithoutTargetDoNotCount) {
  for (const char* objective : {"contrastive", "sigmoid"}) {
    Retrieval::Config config = Retrieval::Config::tiny();
    config.objective = objective;
    config.hidden = 5;
    Retrieval head(config);
    head.initialize(2);
    head.requires_grad_(true);
    at::manual_seed(6);
    at::Tensor x = at::randn({3, config.width}), target = at::randn({3, config.embedding});
    TensorMap two = head.forward({{"features", x.narrow(0, 0, 2)}});
    double expected = head.loss(two, target.narrow(0, 0, 2)).item<double>();
    target[2].fill_(kNaN);
    at::Tensor loss = head.loss(head.forward({{"features", x}}), target);
    EXPECT_NEAR(loss.item<double>(), expected, 1e-5);
    loss.backward();
    for (const auto& [name, p] : head.named_parameters()) {
      EXPECT_TRUE(at::isfinite(p.grad()).all().item<bool>()) << name;
    }
    EXPECT_EQ(head.loss(two, at::full({2, config.embedding}, kNaN)).item<double>(), 0);
  }
}

TEST(RetrievalHead, ZeroShotPicksTheNearestLabel) {
  at::Tensor labels = at::eye(3) * 7, embedding = at::tensor({0.1, 0.9, 0.2}).view({1, 3});
  at::Tensor logits = zero_shot_logits(embedding, labels, at::full({}, 2.0));
  EXPECT_EQ(logits.argmax(1).item<int64_t>(), 1);
  EXPECT_NEAR(logits[0][1].item<double>(), std::exp(2.0) * 0.9 / std::sqrt(0.86), 1e-4);
  EXPECT_THROW(zero_shot_logits(embedding, at::eye(4), at::full({}, 2.0)), Error);
}

}  // namespace
}  // namespace plait::models
