#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "gaussian_views.h"
#include "plait/core/error.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/baselines.h"

namespace plait::train {
namespace {

/// Far from 0 and of another unit: only standardised features are learnt well.
TrustData far_classes(int64_t n, uint64_t seed) { return gaussian_classes(n, seed, 50, 20); }

BaselineOptions quick(const std::string& name) {
  BaselineOptions options = baseline_options(name);
  options.hidden = 16;
  options.epochs = 20;
  options.lr = 3e-3;  // So few steps need larger ones.
  return options;
}

class Baselines : public testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<ViewClassifier> fit(const TrustData& train, int64_t epochs = 20) const {
    BaselineOptions options = quick(GetParam());
    options.epochs = epochs;
    return fit_baseline(GetParam(), train, far_classes(100, 2), kClasses, options);
  }
};

INSTANTIATE_TEST_SUITE_P(All, Baselines, testing::ValuesIn(baseline_names()),
                         [](const auto& info) { return info.param; });

TEST_P(Baselines, LearnsGaussianClassesFromAllViews) {
  auto model = fit(far_classes(400, 1));
  TrustData test = far_classes(500, 9);
  at::Tensor log_p = model->log_probabilities(test.clean(), test.present);
  EXPECT_LT((log_p.exp().sum(1) - 1).abs().max().item<double>(), 1e-4);
  EXPECT_GT(accuracy(log_p, test.target), 0.9);
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
  auto model = fit(train, 3), same = fit(broken, 3);

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
  auto model = fit(train, 3);
  std::vector<at::Tensor> x = train.clean();
  at::Tensor log_p = model->log_probabilities(x, train.present);
  EXPECT_TRUE(log_p.equal(fit(train, 3)->log_probabilities(x, train.present)));

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

TEST(Baseline, TheBestEpochOnValidationStays) {
  TrustData train = far_classes(300, 1), validation = far_classes(200, 2);
  BaselineOptions options = quick("pdf");
  options.keep_best = true;
  std::vector<double> seen;
  options.on_epoch = [&](const ViewClassifier& classifier, int64_t epoch) {
    EXPECT_EQ(epoch, static_cast<int64_t>(seen.size()));
    seen.push_back(accuracy(classifier.log_probabilities(validation.clean(), validation.present),
                            validation.target));
  };
  auto model = fit_baseline("pdf", train, validation, kClasses, options);
  ASSERT_EQ(seen.size(), 20u);
  EXPECT_EQ(
      accuracy(model->log_probabilities(validation.clean(), validation.present), validation.target),
      *std::max_element(seen.begin(), seen.end()));
}

TEST(Baseline, OptionsAreThoseThatTheSearchChose) {
  Json search = Json::read(std::string(PLAIT_SOURCE_DIR) + "/benchmarks/fusion/search.json");
  for (const std::string& name : baseline_names()) {
    const Json& best = search.at("baselines").at(name).at("best");
    EXPECT_EQ(baseline_options(name).lr, best.at("lr").as_double()) << name;
    EXPECT_EQ(baseline_options(name).bound, best.at("bound").as_double()) << name;
  }
}

TEST(Baseline, RefusesAnUnknownName) {
  try {
    baseline_options("nothing");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("ogm_ge"), std::string::npos);
  }
}

/// Damaged copies where the first view is noise, and a test in which it is.
struct Augmented {
  TrustData train, test;
};
Augmented with_copies() {
  Augmented out{far_classes(400, 1), far_classes(500, 9)};
  auto generator = at::detail::createCPUGenerator(5);
  auto spoil = [&](const at::Tensor& x) { return x + 400 * at::randn(x.sizes(), generator); };
  for (size_t m = 0; m < out.train.features.size(); ++m) {
    auto& variants = out.train.features[m];
    variants.push_back(m == 0 ? spoil(variants[0]) : variants[0]);
  }
  out.test.features[0][0] = spoil(out.test.features[0][0]);
  return out;
}

TEST(Concatenation, GainsFromEachKindOfAugmentation) {
  Augmented data = with_copies();
  std::map<Augmentation, double> right;
  for (Augmentation kind : {Augmentation::kNone, Augmentation::kCopies, Augmentation::kBank}) {
    BaselineOptions options = quick("concatenation");
    options.augmentation = kind;
    auto model = fit_concatenation(data.train, data.train, kClasses, options);
    right[kind] =
        accuracy(model->log_probabilities(data.test.clean(), data.test.present), data.test.target);
  }
  EXPECT_GT(right[Augmentation::kCopies], right[Augmentation::kNone] + 0.02);
  EXPECT_GT(right[Augmentation::kBank], right[Augmentation::kNone] + 0.02);

  // Without augmentation the copies are not looked at.
  TrustData clean = data.train;
  for (auto& variants : clean.features) variants.resize(1);
  BaselineOptions options = quick("concatenation");
  options.augmentation = Augmentation::kNone;
  auto with = fit_concatenation(data.train, clean, kClasses, options);
  auto without = fit_concatenation(clean, clean, kClasses, options);
  EXPECT_TRUE(with->log_probabilities(clean.clean(), clean.present)
                  .equal(without->log_probabilities(clean.clean(), clean.present)));
}

TEST(Concatenation, ATightBoundKeepsLoudNoiseFromDrowningTheRest) {
  Augmented data = with_copies();
  auto right = [&](double bound) {
    BaselineOptions options = quick("concatenation");
    options.augmentation = Augmentation::kNone;
    options.bound = bound;
    auto model = fit_concatenation(data.train, data.train, kClasses, options);
    return accuracy(model->log_probabilities(data.test.clean(), data.test.present),
                    data.test.target);
  };
  EXPECT_GT(right(3), right(100) + 0.05);
  EXPECT_THROW(right(0), Error);
}

TEST(Concatenation, ModalityDropoutPreparesForMissingViews) {
  TrustData train = far_classes(400, 1), test = far_classes(1000, 9);
  at::Tensor present = test.present.clone();
  present.select(1, 0).fill_(false);
  auto right = [&](const char* name) {
    auto model = fit_baseline(name, train, train, kClasses, quick(name));
    return accuracy(model->log_probabilities(test.clean(), present), test.target);
  };
  EXPECT_GT(right("concatenation_dropout"), right("concatenation"));
}

TEST(FusionLayer, WeighsByTheQualityOfCopiesAndItems) {
  // Quality tells the noise, and nothing else does: damaged copies and their scores must be drawn
  // together.
  Augmented data = with_copies();
  for (size_t m = 0; m < 3; ++m) {
    const double low = m == 0 ? 0.05 : 1;
    data.train.quality.push_back({at::ones({400}), at::full({400}, low)});
  }
  at::Tensor known = at::ones({500, kViews});
  known.select(1, 0).fill_(0.05);
  auto model = fit_baseline("dma", data.train, data.train, kClasses, quick("dma"));
  const auto x = data.test.clean();
  double told = accuracy(model->log_probabilities(x, data.test.present, known), data.test.target);
  double untold = accuracy(model->log_probabilities(x, data.test.present), data.test.target);
  EXPECT_GT(told, untold + 0.02);
  EXPECT_THROW(model->log_probabilities(x, data.test.present, known.slice(1, 0, 2)), Error);

  TrustData broken = data.train;
  broken.quality[1].pop_back();
  EXPECT_THROW(fit_baseline("dma", broken, broken, kClasses, quick("dma")), Error);
}

TEST(FusionLayer, RefusesAFusionOfDecisions) {
  TrustData train = far_classes(50, 1);
  EXPECT_THROW(fit_fusion_layer(train, train, kClasses, Json::object({{"type", "product"}})),
               Error);
  EXPECT_THROW(fit_fusion_layer(train, train, kClasses, Json::object({{"type", "vit"}})), Error);
}

TEST(OgmGe, HoldsBackViewsThatAreAheadOfTheOthers) {
  // Mean of the others: 0.3, 0.55, 0.5.
  at::Tensor score = at::tensor({0.8, 0.3, 0.3}), k = modulation(score, 0.5);
  EXPECT_NEAR(k[0].item<double>(), 1 - std::tanh(0.5 * 0.8 / 0.3), 1e-6);
  EXPECT_EQ(k[1].item<double>(), 1);
  EXPECT_EQ(k[2].item<double>(), 1);
  // Two views, as in the paper: ρ = 0.6 / 0.4.
  EXPECT_NEAR(modulation(at::tensor({0.4, 0.6}), 0.8)[1].item<double>(), 1 - std::tanh(1.2), 1e-6);
  EXPECT_EQ(modulation(at::tensor({0.4}), 0.8).item<double>(), 1);
}

TEST(Fuml, CredibilityIsTheMeanOfPossibilityAndNecessity) {
  at::Tensor membership = at::tensor({0.9, 0.2, 0.0, 0.9, 0.5, 0.1}).view({2, 3});
  EXPECT_TRUE(at::allclose(credibility(membership),
                           at::tensor({0.85, 0.15, 0.05, 0.7, 0.3, 0.1}).view({2, 3})));
  // Of class 1, the truth: (0.2 + 1 − 0.9) / 2; of another class k: (μ_k + 1 − 0.2) / 2.
  at::Tensor trained = credibility(membership, at::tensor({1, 0}, at::kLong));
  EXPECT_TRUE(at::allclose(trained, at::tensor({0.85, 0.15, 0.4, 0.7, 0.3, 0.1}).view({2, 3})));
  EXPECT_TRUE(at::allclose(credibility(at::zeros({2, 3})), at::full({2, 3}, 0.5)));
}

TEST(Fuml, IsUncertainOfEvenCredibilityAndSeesConflict) {
  EXPECT_NEAR(fuzzy_uncertainty(at::full({1, 4}, 0.5)).item<double>(), 1, 1e-6);
  EXPECT_NEAR(fuzzy_uncertainty(at::tensor({1.0, 0.0, 0.0})).item<double>(), 0, 1e-5);
  // (H₂(1/4) + 0) / (2 log 2)
  const double entropy = -0.25 * std::log(0.25) - 0.75 * std::log(0.75);
  EXPECT_NEAR(fuzzy_uncertainty(at::tensor({0.25, 1.0})).item<double>(),
              entropy / (2 * std::log(2.0)), 1e-5);

  // Cosines: 0 between the first two, 1/√2 of each with the third.
  at::Tensor membership = at::tensor({1.0, 0.0, 0.0, 1.0, 0.5, 0.5}).view({1, 3, 2});
  const double slant = 1 - std::sqrt(0.5);
  at::Tensor all = at::ones({1, 3}, at::kBool);
  EXPECT_TRUE(at::allclose(view_conflict(membership, all),
                           at::tensor({(1 + slant) / 2, (1 + slant) / 2, slant}).view({1, 3})));
  at::Tensor two = at::tensor({1, 0, 1}).view({1, 3}).to(at::kBool);
  EXPECT_TRUE(
      at::allclose(view_conflict(membership, two), at::tensor({slant, 0.0, slant}).view({1, 3})));
}

TEST(DynMm, ReadsFewerViewsWhereTheyCost) {
  TrustData train = far_classes(400, 1), test = far_classes(300, 9);
  auto fit = [&](double weight) {
    DynMmOptions options;
    static_cast<BaselineOptions&>(options) = quick("dynmm");
    options.cost_weight = weight;
    options.view_cost = {1, 4, 4};
    return fit_dynmm(train, train, kClasses, options);
  };
  auto free = fit(0), dear = fit(3);
  auto spent = [&](const DynMm& model) {
    return model.used(test.clean(), test.present).to(at::kFloat).mean().item<double>();
  };
  EXPECT_LT(spent(*dear), 0.5);
  EXPECT_GT(spent(*free), spent(*dear) + 0.2);
  // The cheap view answers alone, unless it is not there.
  EXPECT_GT(
      dear->used(test.clean(), test.present).select(1, 0).to(at::kFloat).mean().item<double>(),
      0.9);
  at::Tensor present = test.present.clone();
  present.select(1, 0).fill_(false);
  at::Tensor used = dear->used(test.clean(), present);
  EXPECT_FALSE(used.logical_and(present.logical_not()).any().item<bool>());
  EXPECT_TRUE(used.any(1).all().item<bool>());

  DynMmOptions wrong;
  wrong.view_cost = {1, 2};
  EXPECT_THROW(fit_dynmm(train, train, kClasses, wrong), Error);
}

TEST(DynMm, UsesOneViewOrAll) {
  TrustData train = far_classes(400, 1), test = far_classes(100, 9);
  DynMmOptions options;
  static_cast<BaselineOptions&>(options) = quick("dynmm");
  auto model = fit_dynmm(train, train, kClasses, options);
  at::Tensor used = model->used(test.clean(), test.present);
  std::vector<at::Tensor> x = test.clean();
  for (int64_t m = 0; m < kViews; ++m) {
    at::Tensor only = at::zeros_like(test.present);
    only.select(1, m).fill_(true);
    // With one view there, only its branch and the joint one can answer.
    EXPECT_TRUE(model->used(x, only).equal(only));
  }
  EXPECT_TRUE(used.sum(1).eq(1).logical_or(used.sum(1).eq(kViews)).all().item<bool>());
}

TEST(Mbt, ViewsExchangeThroughTheBottlenecksOnly) {
  TrustData train = far_classes(200, 1), test = far_classes(50, 9);
  MbtOptions options;
  static_cast<BaselineOptions&>(options) = quick("mbt");
  options.epochs = 3;
  options.bottlenecks = 0;
  EXPECT_THROW(fit_mbt(train, train, kClasses, options), Error);
  options.bottlenecks = 2;
  options.width = 31;
  EXPECT_THROW(fit_mbt(train, train, kClasses, options), Error);
  options.width = 16;

  // One fusion layer fills the bottlenecks but nothing reads them: the mean of the logits of views
  // alone. With two they hear of each other.
  auto apart = [&](int64_t layers) {
    options.fusion_layers = layers;
    auto model = fit_mbt(train, train, kClasses, options);
    at::Tensor sum = at::zeros({50, kClasses});
    for (int64_t m = 0; m < kViews; ++m) {
      at::Tensor only = at::zeros_like(test.present);
      only.select(1, m).fill_(true);
      sum += model->log_probabilities(test.clean(), only);
    }
    at::Tensor together = model->log_probabilities(test.clean(), test.present);
    return (at::log_softmax(sum / kViews, 1) - together).abs().max().item<double>();
  };
  EXPECT_LT(apart(1), 1e-4);
  EXPECT_GT(apart(2), 1e-3);
}

TEST(LogitMean, IsTheMeanOverThePresentViews) {
  TrustData train = far_classes(200, 1), test = far_classes(50, 9);
  auto model = fit_baseline("logit_mean", train, train, kClasses, quick("logit_mean"));
  at::Tensor sum = at::zeros({50, kClasses});
  for (int64_t m = 0; m < 2; ++m) {
    at::Tensor only = at::zeros_like(test.present);
    only.select(1, m).fill_(true);
    sum += model->log_probabilities(test.clean(), only);
  }
  at::Tensor both = test.present.clone();
  both.select(1, 2).fill_(false);
  EXPECT_TRUE(at::allclose(model->log_probabilities(test.clean(), both),
                           at::log_softmax(sum / 2, 1), 1e-4, 1e-4));
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
