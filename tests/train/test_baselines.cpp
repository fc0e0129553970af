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

TEST(DynMm, GatesReadFewerViewsTheHeavierTheCostWeighs) {
  TrustData train = far_classes(400, 1), test = far_classes(300, 9);
  DynMmOptions options;
  static_cast<BaselineOptions&>(options) = quick("dynmm");
  options.view_sets = {{0, 1}, {0, 2}};
  const std::vector<int64_t> first = {0};
  auto models = fit_dynmm_gates(train, train, kClasses, options,
                                {{0, first}, {1, first}, {10, first}, {0, {}}, {3, {}}});
  std::vector<at::Tensor> x = test.clean();
  auto needed = [&](size_t i) {
    return models[i]->needed(x, test.present).to(at::kFloat).mean().item<double>();
  };
  EXPECT_GT(needed(0), needed(1));
  EXPECT_GT(needed(1), needed(2));
  EXPECT_LT(needed(2), 0.4);
  for (size_t i = 0; i < 3; ++i) {
    at::Tensor used = models[i]->used(x, test.present), all = models[i]->needed(x, test.present);
    EXPECT_TRUE(all.select(1, 0).all().item<bool>());
    EXPECT_TRUE(all.slice(1, 1).equal(used.slice(1, 1)));
    // What the gate does not look at cannot change its mind.
    std::vector<at::Tensor> other = {x[0], at::randn_like(x[1]), at::randn_like(x[2])};
    EXPECT_TRUE(models[i]->used(other, test.present).equal(used));
  }
  // A gate that looks at all views has them all encoded, whatever answers.
  EXPECT_TRUE(models[4]->needed(x, test.present).equal(test.present));
  EXPECT_LT(models[4]->used(x, test.present).sum().item<int64_t>(),
            models[3]->used(x, test.present).sum().item<int64_t>());

  auto refused = [&](const DynMmOptions& how, const std::vector<DynMmGate>& gates) {
    EXPECT_THROW(fit_dynmm_gates(train, train, kClasses, how, gates), Error);
  };
  refused(options, {});
  refused(options, {{0.1, {1, 0}}});
  refused(options, {{0.1, {3}}});
  refused(options, {{-1, {}}});
  options.view_sets = {{1}};
  refused(options, {{0.1, {}}});
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

}  // namespace
}  // namespace plait::train
