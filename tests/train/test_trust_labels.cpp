// The trust fusion of several labels at once: every label a question, one breakage per stream.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/trust/answers.h"
#include "plait/models/trust/evidence.h"
#include "plait/models/trust/questions.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/trust_sets.h"

namespace plait::train {
namespace {

using models::Decider;
using models::TrustModel;

constexpr int64_t kLabels = 4;

at::Generator seeded(uint64_t seed) { return at::detail::createCPUGenerator(seed); }
double mean_of(const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); }

/// Three views of hidden numbers, the first the clearest; a label says that a number is high.
TrustData draw(int64_t n, uint64_t seed) {
  auto fixed = seeded(17), generator = seeded(seed);
  TrustData out;
  at::Tensor z = at::randn({n, kLabels}, generator);
  out.target = (z > at::tensor({0.0, 0.3, 0.8, -0.5})).to(at::kLong);
  for (int64_t m = 0; m < 3; ++m) {
    at::Tensor mix = at::randn({kLabels, 8}, fixed);
    out.features.push_back(
        {at::matmul(z, mix) + (0.5 + 0.4 * static_cast<double>(m)) * at::randn({n, 8}, generator)});
  }
  out.present = at::ones({n, 3}, at::kBool);
  return out;
}

struct Fitted {
  std::shared_ptr<TrustModel> model;
  TrustData test;
};

const Fitted& fitted() {
  static const Fitted kFitted = [] {
    TrustOptions options;
    options.hidden = 32;
    options.expert_epochs = 25;
    options.bank_passes = 6;
    options.min_bank = 2400;
    options.gate_epochs = 8;
    options.seed = 2;
    TrustFit fit = fit_trust(draw(300, 1), {"a", "b", "c"}, 2, options);
    Fitted out{std::make_shared<TrustModel>(fit.trust), draw(400, 3)};
    const TrustItems items = every_subset(out_of_fold_items(fit, 1), 1);
    calibrate_trust(*out.model, items);
    fit_label_sets(*out.model, items);
    return out;
  }();
  return kFitted;
}

models::Evidence gather(const std::vector<at::Tensor>& x) {
  const auto& [model, test] = fitted();
  return model->fusion().gather(x, at::ones({test.size(), 3}), test.present);
}

/// The first stream: 0 as it is, 1 drowned in noise, 2 another item's.
models::Evidence evidence(int damage) {
  auto generator = seeded(9);
  std::vector<at::Tensor> x = fitted().test.clean();
  if (damage == 1) x[0] = 20 * at::randn(x[0].sizes(), generator);
  if (damage == 2) x[0] = x[0].roll(1, 0);
  return gather(x);
}

at::Tensor chances(const at::Tensor& logs) {
  return logs.exp().unflatten(1, {kLabels, 2}).select(2, 1);
}

TEST(TrustLabels, BeatsMeanAndProductWhenAStreamIsBroken) {
  const auto& [model, test] = fitted();
  auto brier = [&](Decider decider, const models::Evidence& e) {
    at::Tensor logs = decider == Decider::kTrust ? model->decide(e).log_probabilities
                                                 : model->decide_as(decider, e, {});
    return multi_label_metrics(chances(logs), test.target).at("brier");
  };
  EXPECT_LT(brier(Decider::kTrust, evidence(0)), brier(Decider::kBestSingle, evidence(0)));
  EXPECT_LT(brier(Decider::kTrust, evidence(0)), brier(Decider::kProduct, evidence(0)) + 0.005);
  for (int damage : {1, 2}) {
    const models::Evidence broken = evidence(damage);
    const double trust = brier(Decider::kTrust, broken);
    EXPECT_LT(trust, brier(Decider::kMean, broken) + 0.002) << damage;
    EXPECT_LT(trust, brier(Decider::kBestSingle, broken)) << damage;
    if (damage == 2) {
      EXPECT_LT(trust, brier(Decider::kProduct, broken));
    }
    at::Tensor more = model->fusion().breakage(broken) - model->fusion().breakage(evidence(0));
    EXPECT_GT(mean_of(more.select(1, 0)), 0.1) << damage;
  }
}

TEST(TrustLabels, ChancesSumToOneLabelByLabel) {
  auto verdict = fitted().model->decide(evidence(2));
  at::Tensor p = verdict.log_probabilities.exp().unflatten(1, {kLabels, 2});
  EXPECT_TRUE(p.sum(-1).allclose(at::ones({fitted().test.size(), kLabels}), 1e-5, 1e-5));
  EXPECT_TRUE(verdict.weights.sum(1).allclose(at::ones({fitted().test.size()}), 1e-5, 1e-5));
  at::Tensor prior = fitted().model->fusion().log_prior().exp().view({kLabels, 2});
  EXPECT_TRUE(prior.sum(1).allclose(at::ones({kLabels}), 1e-5, 1e-5));
  EXPECT_NEAR(prior[2][1].item<double>(), 0.21, 0.07);
}

TEST(TrustLabels, ChancesAreCalibrated) {
  const auto& [model, test] = fitted();
  for (int damage : {0, 2}) {
    at::Tensor p = chances(model->decide(evidence(damage)).log_probabilities);
    at::Tensor y = test.target.to(at::kFloat);
    for (double low : {0.0, 0.25, 0.5, 0.75}) {
      at::Tensor in = at::logical_and(p >= low, p < low + 0.25);
      if (in.sum().item<int64_t>() < 60) continue;
      EXPECT_NEAR(mean_of(p.masked_select(in)), mean_of(y.masked_select(in)), 0.13)
          << damage << " " << low;
    }
  }
}

TEST(TrustLabels, NoStreamMovesALabelBeyondItsBound) {
  // Log-odds move by at most a log(1 + (1 - e0) / (e0 pi_min)) by one stream.
  const auto& fusion = fitted().model->fusion();
  std::vector<at::Tensor> x = fitted().test.clean();
  for (double loud : {1e3, 1e6}) {
    x[0] = loud * at::randn(x[0].sizes(), seeded(4));
    models::TrustOutput out = fusion.fuse(gather(x));
    at::Tensor moved = out.support.select(1, 0).unflatten(1, {kLabels, 2});
    const double least = fusion.log_prior().exp().min().item<double>();
    const double bound = fusion.scale(7) * std::log(1 + 0.95 / (0.05 * least));
    EXPECT_LE((moved.select(2, 1) - moved.select(2, 0)).abs().max().item<double>(), bound + 1e-4);
  }
}

TEST(TrustLabels, ConfidenceIsThatOfAllLabelsBeingRight) {
  const auto& [model, test] = fitted();
  auto verdict = model->decide(evidence(0));
  at::Tensor wrong = models::wrong_of(model->fusion(), verdict.log_probabilities, test.target);
  EXPECT_NEAR(mean_of(model->confidence(verdict)), 1 - mean_of(wrong), 0.12);
  EXPECT_GT(model->abstain_below(0.01), model->abstain_below(0.3) - 1e-9);
}

TEST(TrustLabels, SetsHoldTheTrueOptionAndWidenWithDoubt) {
  const auto& [model, test] = fitted();
  auto look = [&](int damage, double coverage, bool by_class = false) {
    auto verdict = model->decide(evidence(damage));
    at::Tensor in = model->prediction_sets(verdict, coverage, by_class).unflatten(1, {kLabels, 2});
    at::Tensor held = in.gather(2, test.target.unsqueeze(2)).squeeze(2);
    return std::tuple(held, mean_of(in.all(-1)));
  };
  for (double coverage : {0.7, 0.8, 0.9, 0.95}) {
    const auto [held, unsure] = look(0, coverage);
    for (int64_t k = 0; k < kLabels; ++k)
      EXPECT_GT(mean_of(held.select(1, k)), coverage - 0.05) << k << " " << coverage;
  }
  const auto [clean, unsure] = look(0, 0.9);
  for (int damage : {1, 2}) {
    const auto [held, more] = look(damage, 0.9);
    EXPECT_GT(mean_of(held), 0.87) << damage;
    if (damage == 2) {
      EXPECT_GT(more, unsure + 0.05);
    }
  }
  // Label by label, those that have it.
  const auto [held, both] = look(0, 0.9, true);
  for (int64_t k = 0; k < kLabels; ++k)
    EXPECT_GT(mean_of(held.select(1, k).masked_select(test.target.select(1, k) == 1)), 0.83) << k;
}

TEST(TrustLabels, AbstainsByTheRiskAskedFor) {
  const auto& [model, test] = fitted();
  double answered_before = 0;
  for (double risk : {0.1, 0.3, 0.4, 0.5}) {
    at::Tensor wrong, confidence;
    for (int damage : {0, 1, 2}) {
      auto verdict = model->decide(evidence(damage));
      at::Tensor w = models::wrong_of(model->fusion(), verdict.log_probabilities, test.target);
      at::Tensor c = model->confidence(verdict);
      wrong = damage ? at::cat({wrong, w}) : w;
      confidence = damage ? at::cat({confidence, c}) : c;
    }
    at::Tensor kept = confidence >= model->abstain_below(risk);
    const double answered = mean_of(kept);
    EXPECT_GE(answered, answered_before) << risk;
    answered_before = answered;
    if (answered > 0.03) {
      EXPECT_LT(mean_of(wrong.masked_select(kept)), risk + 0.03) << risk;
    }
  }
  EXPECT_GT(answered_before, 0.3);  // A promise kept by never answering would be none
}

/// Two streams, two labels. Clean: a is sure and right, b contradicts it. Damaged: a is sure and
/// wrong but unlike anything seen, b is right.
TrustItems contradictions(int64_t n) {
  auto generator = seeded(21);
  at::Tensor clean = at::arange(n) < n / 2;
  TrustItems out;
  out.target = at::randint(2, {n, 2}, generator, at::kLong);
  auto says = [&](double when_clean, double when_damaged) {
    at::Tensor right = at::where(clean, when_clean, when_damaged).unsqueeze(1).to(at::kFloat);
    at::Tensor yes = at::where(out.target == 1, right, 1 - right);
    return at::stack({1 - yes, yes}, -1).flatten(1).log();
  };
  out.evidence.log_probabilities = at::stack({says(0.9, 0.02), says(0.3, 0.9)}, 1);
  out.evidence.p_value = at::full({n, 2}, 0.5);
  out.evidence.unusual = at::zeros({n, 2});
  out.evidence.excess = at::stack({at::where(clean, 0.0, 5.0).to(at::kFloat), at::zeros({n})}, 1);
  out.evidence.consistency = at::zeros({n, 2, 2});
  out.evidence.quality = at::ones({n, 2});
  out.evidence.present = at::ones({n, 2}, at::kBool);
  out.item = at::arange(n);
  out.kind = clean.logical_not().to(at::kLong);
  return out;
}

TEST(TrustLabels, TheGuardHandsOverToNobodyWhoLosesMoreInAll) {
  models::TrustFusion::Config config;
  config.streams = {"a", "b"};
  config.widths = {3, 3};
  config.classes = config.questions = 2;
  config.landmarks = config.hidden = 0;
  TrustModel model(std::make_shared<models::TrustFusion>(config));
  calibrate_trust(model, contradictions(400));
  const TrustModel::Choice& choice = model.choices().at(3);
  bool behind = false;
  for (const Json& with : choice.comparisons.items()) {
    // Ahead of everybody in all, behind the best single stream on clean items.
    EXPECT_LT(with.at("clean").at("difference").as_double() +
                  with.at("damaged").at("difference").as_double(),
              0);
    behind = behind || !with.at("clean").at("holds").as_bool();
  }
  EXPECT_TRUE(behind);
  EXPECT_EQ(choice.decider, Decider::kTrust);
}

TEST(TrustLabels, SetsAreSavedWithTheModel) {
  const auto& [model, test] = fitted();
  auto fusion = std::make_shared<models::TrustFusion>(model->fusion().config());
  fusion->load_state_dict(model->fusion().state_dict());
  TrustModel back(fusion);
  EXPECT_FALSE(back.has_sets());
  back.load_json(Json::parse(model->to_json().dump(), "test"));
  ASSERT_TRUE(back.has_sets());
  auto verdict = model->decide(evidence(2));
  EXPECT_TRUE(model->prediction_sets(verdict, 0.9).equal(back.prediction_sets(verdict, 0.9)));
  EXPECT_THROW(fit_candidate_sets(back, {}), Error);
  // Of other labels, or of candidates.
  Json bad = model->to_json();
  bad["label_sets"] =
      models::LabelSets::fit(at::zeros({5, 2}), at::ones({5}, at::kLong), at::zeros({5}, at::kLong))
          .to_json();
  EXPECT_THROW(TrustModel(fusion).load_json(bad), Error);
  bad = model->to_json();
  bad["candidate_sets"] =
      Json::object({{"4", Json::object({{"all", bad.at("label_sets").at("all").items()[0]},
                                        {"groups", Json::object({})},
                                        {"classes", Json::array()}})}});
  EXPECT_THROW(TrustModel(fusion).load_json(bad), Error);
}

TEST(Questions, KeepOneQuestionAsItIs) {
  at::Tensor x = at::randn({5, 6}), y = at::randint(6, {5}, at::kLong);
  EXPECT_TRUE(models::log_normalise(x, 1).equal(at::log_softmax(x, -1)));
  EXPECT_TRUE(models::by_question(x, y).first.is_same(x));
  at::Tensor many = at::randint(2, {5, 3}, at::kLong);
  EXPECT_TRUE(models::log_normalise(x, 3).exp().view({5, 3, 2}).sum(2).allclose(at::ones({5, 3})));
  auto [scores, answers] = models::by_question(x, many);
  EXPECT_TRUE(scores[4].equal(x[1].slice(0, 2, 4)));
  EXPECT_EQ(answers[4].item<int64_t>(), many[1][1].item<int64_t>());
  EXPECT_TRUE(models::places_of(many, 2).select(1, 2).equal(many.select(1, 2) + 4));
  EXPECT_THROW(models::by_question(x, at::zeros({5, 4}, at::kLong)), Error);
}

TEST(TrustLabels, RefusesTargetsThatAreNoLabels) {
  TrustData data = draw(60, 5);
  data.target[3][1] = 2;
  EXPECT_THROW(fit_trust(data, {"a", "b", "c"}, 2, {}), Error);
  data.target = data.target.unsqueeze(2);
  EXPECT_THROW(fit_trust(data, {"a", "b", "c"}, 2, {}), Error);
}

}  // namespace
}  // namespace plait::train
