#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "plait/models/trust/evidence.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/calibrate_trust.h"
#include "plait/train/trust/damage_bank.h"

namespace plait::train {
namespace {

using models::TrustModel;

/// Two streams that tell four classes, the first one better.
TrustData two_witnesses(int64_t items, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  TrustData out;
  out.target = at::randint(0, 4, {items}, generator, at::kLong);
  at::Tensor corners = at::one_hot(out.target, 4).to(at::kFloat);
  for (int64_t m = 0; m < 2; ++m)
    out.features.push_back(
        {2.5 * corners + (m == 0 ? 0.6 : 1.2) * at::randn({items, 4}, generator)});
  out.present = at::ones({items, 2}, at::kBool);
  return out;
}

struct Fitted {
  std::shared_ptr<TrustModel> with, without;
};

/// Calibrated with swapped items, and without.
const Fitted& fitted() {
  static const Fitted kFitted = [] {
    TrustOptions options;
    options.hidden = 16;
    options.landmarks = 64;
    options.expert_epochs = 10;
    options.gate_epochs = 2;
    options.min_bank = 2000;
    options.joint = 16;
    TrustFit fit = fit_trust(two_witnesses(1200, 1), {"left", "right"}, 4, options);
    TrustItems items = every_subset(out_of_fold_items(fit, 2), 2);
    at::Tensor natural = of_kind(items, ItemKind::kSwap).logical_not().nonzero().squeeze(1);
    Fitted out{std::make_shared<TrustModel>(fit.trust), std::make_shared<TrustModel>(fit.trust)};
    calibrate_trust(*out.with, items);
    calibrate_trust(*out.without, select(items, natural));
    return out;
  }();
  return kFitted;
}

struct Figures {
  double error = 0, coverage = 0;
};
Figures figures_of(const TrustModel& model, const BankItems& items, const at::Tensor& target) {
  TrustModel::Verdict verdict =
      model.decide(model.fusion().gather(items.features, items.quality, items.present));
  at::Tensor in = model.prediction_sets(verdict, 0.9).gather(1, target.unsqueeze(1));
  return {expected_calibration_error(verdict.log_probabilities.to(at::kDouble).exp(), target),
          in.to(at::kDouble).mean().item<double>()};
}

TEST(TrustConflict, IsWhatTheStreamsBelieveAgainstEachOther) {
  models::TrustFusion::Config config = models::TrustFusion::Config::tiny();
  config.joint = 0;
  models::TrustFusion fusion(config);
  at::Tensor p = at::tensor({0.8, 0.1, 0.1}).to(at::kFloat),
             q = at::tensor({0.1, 0.8, 0.1}).to(at::kFloat);
  at::Tensor prior = fusion.log_prior();
  models::TrustOutput trust;
  trust.support = at::stack({at::stack({p.log() - prior, p.log() - prior}),
                             at::stack({p.log() - prior, q.log() - prior}),
                             at::stack({p.log() - prior, at::zeros({3})})});
  models::Evidence e;
  e.log_probabilities = trust.support;
  e.present = at::tensor({1, 1, 1, 1, 1, 0}).to(at::kBool).view({3, 2});
  at::Tensor torn = TrustModel::conflict(fusion, e, trust);
  EXPECT_NEAR(torn[0].item<double>(), 0, 1e-6);
  EXPECT_NEAR(torn[1].item<double>(), 0.7 * 0.7, 1e-6);
  EXPECT_EQ(torn[2].item<double>(), 0);
}

TEST(TrustConflict, AnswersFromStreamsThatContradictEachOtherAreLessSure) {
  const TrustData test = two_witnesses(3000, 9);
  const BankItems swapped = swap_one(test, 3), clean = clean_bank(test);
  const Figures with = figures_of(*fitted().with, swapped, test.target);
  const Figures without = figures_of(*fitted().without, swapped, test.target);
  EXPECT_GT(with.coverage, 0.85);
  EXPECT_GT(with.coverage, without.coverage + 0.05);
  EXPECT_LT(with.error, without.error);
  // Clean items hardly notice.
  EXPECT_LT(figures_of(*fitted().with, clean, test.target).error, 0.03);
  EXPECT_GT(fitted().with->choices().at(3).conflict_slope, 0);
}

TEST(TrustConflict, SurvivesSaving) {
  TrustModel loaded(fitted().with->shared_fusion());
  loaded.load_json(fitted().with->to_json());
  const TrustData test = two_witnesses(50, 4);
  auto answer = [&](const TrustModel& model) {
    return model.decide(model.fusion().gather(test.clean(), at::ones({50, 2}), test.present))
        .log_probabilities;
  };
  EXPECT_TRUE(answer(loaded).equal(answer(*fitted().with)));
}

TEST(TrustConflict, SwapsExactlyOneStreamOfItemsThatHaveTwo) {
  TrustData data = two_witnesses(200, 5);
  data.present.select(1, 1).slice(0, 0, 50).fill_(false);
  const BankItems swapped = swap_one(data, 1);
  at::Tensor changed = at::stack({(swapped.features[0] != data.features[0][0]).any(1),
                                  (swapped.features[1] != data.features[1][0]).any(1)},
                                 1);
  EXPECT_FALSE(changed.slice(0, 0, 50).any().item<bool>());
  // Now and then an item is replaced by itself.
  EXPECT_GE(changed.slice(0, 50).sum().item<int64_t>(), 145);
  EXPECT_EQ(changed.all(1).sum().item<int64_t>(), 0);
  EXPECT_TRUE(swap_one(data, 1).features[0].equal(swapped.features[0]));
}

}  // namespace
}  // namespace plait::train
