#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "gaussian_views.h"
#include "plait/core/error.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/baselines.h"

namespace plait::train {
namespace {

/// Far from 0 and of another unit: only standardised features are learnt well.
TrustData far_classes(int64_t n, uint64_t seed) { return gaussian_classes(n, seed, 50, 20); }

template <class Options>
Options quick(Options options = {}) {
  options.hidden = 16;
  options.epochs = 20;
  options.lr = 2e-3;  // So few steps need larger ones.
  return options;
}

using Fit = std::function<std::shared_ptr<ViewClassifier>(const TrustData& train,
                                                          const TrustData& validation)>;

class Baselines : public testing::TestWithParam<std::pair<const char*, Fit>> {
 protected:
  std::shared_ptr<ViewClassifier> fit(const TrustData& train) const {
    return GetParam().second(train, far_classes(100, 2));
  }
};

ConcatenationOptions with_modality_dropout() {
  auto options = quick<ConcatenationOptions>();
  options.modality_dropout = 0.3;
  return options;
}

PdfOptions best_epoch() {
  auto options = quick<PdfOptions>();
  options.keep_best = true;
  return options;
}

std::vector<std::pair<const char*, Fit>> fits() {
  return {
      {"qmf", [](auto& t, auto& v) { return fit_qmf(t, v, kClasses, quick<QmfOptions>()); }},
      {"pdf", [](auto& t, auto& v) { return fit_pdf(t, v, kClasses, quick<PdfOptions>()); }},
      {"pdf_best", [](auto& t, auto& v) { return fit_pdf(t, v, kClasses, best_epoch()); }},
      {"tmc", [](auto& t, auto& v) { return fit_tmc(t, v, kClasses, quick<TmcOptions>()); }},
      {"concatenation",
       [](auto& t, auto& v) {
         return fit_concatenation(t, v, kClasses, quick<ConcatenationOptions>());
       }},
      {"concatenation_dropout",
       [](auto& t, auto& v) { return fit_concatenation(t, v, kClasses, with_modality_dropout()); }},
  };
}

INSTANTIATE_TEST_SUITE_P(All, Baselines, testing::ValuesIn(fits()),
                         [](const auto& info) { return std::string(info.param.first); });

TEST_P(Baselines, LearnsGaussianClassesFromAllViews) {
  auto model = fit(far_classes(400, 1));
  TrustData test = far_classes(500, 9);
  at::Tensor log_p = model->log_probabilities(test.clean(), test.present);
  EXPECT_LT((log_p.exp().sum(1) - 1).abs().max().item<double>(), 1e-4);
  EXPECT_GT(accuracy(log_p, test.target), 0.92);
  // The last view alone knows less, and the model does not use others then.
  at::Tensor last = at::zeros({500, kViews}, at::kBool);
  last.select(1, 2).fill_(true);
  double alone = accuracy(model->log_probabilities(test.clean(), last), test.target);
  EXPECT_GT(alone, 0.4);
  EXPECT_LT(alone, accuracy(log_p, test.target));
}

TEST_P(Baselines, WhatAnAbsentViewHoldsDoesNotMatter) {
  TrustData train = far_classes(300, 1);
  train.present.select(1, 1).slice(0, 0, 100).fill_(false);
  TrustData broken = train;
  broken.features[1][0] = train.features[1][0].clone();
  broken.features[1][0].slice(0, 0, 100).fill_(std::numeric_limits<float>::quiet_NaN());
  auto model = fit(train), same = fit(broken);

  TrustData test = far_classes(50, 9);
  at::Tensor present = test.present.clone();
  present.select(1, 0).fill_(false);
  std::vector<at::Tensor> x = test.clean(), other = x;
  other[0] = at::full_like(x[0], std::numeric_limits<float>::quiet_NaN());
  at::Tensor expected = model->log_probabilities(x, present);
  EXPECT_TRUE(expected.isfinite().all().item<bool>());
  EXPECT_TRUE(expected.equal(model->log_probabilities(other, present)));
  EXPECT_TRUE(expected.equal(same->log_probabilities(x, present)));

  at::Tensor nothing = model->log_probabilities(x, at::zeros_like(present));
  EXPECT_LT((nothing + std::log(4.0)).abs().max().item<double>(), 1e-6);
}

TEST_P(Baselines, LearnsFromDamagedCopies) {
  TrustData train = far_classes(400, 1);
  auto generator = at::detail::createCPUGenerator(5);
  at::Tensor noise = 400 * at::randn(train.features[0][0].sizes(), generator);
  TrustData augmented = train;
  augmented.features[0].push_back(train.features[0][0] + noise);
  TrustData test = far_classes(500, 9);
  std::vector<at::Tensor> damaged = test.clean();
  damaged[0] = damaged[0] + 400 * at::randn(damaged[0].sizes(), generator);
  double naive = accuracy(fit(train)->log_probabilities(damaged, test.present), test.target);
  double warned = accuracy(fit(augmented)->log_probabilities(damaged, test.present), test.target);
  EXPECT_GT(warned, naive);
}

TEST_P(Baselines, FollowsFromTheSeedAndRefusesWhatDoesNotFit) {
  TrustData train = far_classes(120, 1);
  auto model = fit(train);
  std::vector<at::Tensor> x = train.clean();
  at::Tensor log_p = model->log_probabilities(x, train.present);
  EXPECT_TRUE(log_p.equal(fit(train)->log_probabilities(x, train.present)));

  EXPECT_THROW(model->log_probabilities({x[0], x[1]}, train.present), Error);
  EXPECT_THROW(model->log_probabilities({x[1], x[0], x[2]}, train.present), Error);
  EXPECT_THROW(model->log_probabilities(x, train.present.to(at::kFloat)), Error);
  TrustData outside = train;
  outside.target = train.target + 1;
  EXPECT_THROW(fit(outside), Error);
  TrustData broken = train;
  broken.features[0][0] = train.features[0][0].clone();
  broken.features[0][0][7][2] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(fit(broken), Error);
  TrustData never = train;
  never.present = train.present.clone();
  never.present.select(1, 2).fill_(false);
  EXPECT_THROW(fit(never), Error);
}

TEST(Qmf, WeightFallsWithTheEnergyScore) {
  at::Tensor logits =
      at::tensor({1.0, 2.0, 4.0, 0.5}).view({1, 4}) * at::tensor({3.0, 1.0, 0.1}).view({3, 1});
  at::Tensor energy = -logits.exp().sum(1).log();
  at::Tensor weight = energy_weight(logits);
  EXPECT_TRUE(at::allclose(weight, -energy / 10));
  at::Tensor order = energy.argsort();
  at::Tensor sorted = weight.index_select(0, order);
  EXPECT_TRUE((sorted.slice(0, 1) < sorted.slice(0, 0, 2)).all().item<bool>());
}

TEST(Tmc, CombinesOpinionsAsDempstersRuleSays) {
  // Two classes: e1 = (3, 1), so S = 6, b1 = (1/2, 1/6), u1 = 1/3; e2 = (1, 1), so S = 4,
  // b2 = (1/4, 1/4), u2 = 1/2. C = 1/8 + 1/24 = 1/6, so 1 − C = 5/6.
  Opinion first = opinion_of(at::tensor({3.0, 1.0})), second = opinion_of(at::tensor({1.0, 1.0}));
  EXPECT_TRUE(at::allclose(first.belief, at::tensor({1.0 / 2, 1.0 / 6})));
  EXPECT_NEAR(first.uncertainty.item<double>(), 1.0 / 3, 1e-6);
  Opinion both = combine_opinions(first, second);
  // b = (1/8 + 1/4 + 1/12, 1/24 + 1/12 + 1/12) · 6/5, u = 1/6 · 6/5.
  EXPECT_TRUE(at::allclose(both.belief, at::tensor({11.0 / 20, 1.0 / 4})));
  EXPECT_NEAR(both.uncertainty.item<double>(), 1.0 / 5, 1e-6);
  // S = K / u = 10, e = b S.
  EXPECT_TRUE(at::allclose(evidence_of(both), at::tensor({5.5, 2.5})));

  Opinion swapped = combine_opinions(second, first);
  EXPECT_TRUE(at::allclose(swapped.belief, both.belief));
  EXPECT_TRUE(at::allclose(swapped.uncertainty, both.uncertainty));
  Opinion unknown = combine_opinions(first, opinion_of(at::zeros({2})));
  EXPECT_TRUE(at::allclose(unknown.belief, first.belief));
  EXPECT_TRUE(at::allclose(unknown.uncertainty, first.uncertainty));
}

TEST(Tmc, StaysFiniteWhenViewsContradictEachOther) {
  Opinion one = opinion_of(at::tensor({1e9, 0.0}, at::kFloat));
  Opinion other = opinion_of(at::tensor({0.0, 1e9}, at::kFloat));
  Opinion both = combine_opinions(one, other);
  EXPECT_TRUE(evidence_of(both).isfinite().all().item<bool>());
  EXPECT_NEAR((both.belief.sum() + both.uncertainty).item<double>(), 1, 1e-5);
}

}  // namespace
}  // namespace plait::train
