#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gaussian_views.h"
#include "plait/core/error.h"
#include "plait/models/trust/evidence.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/calibrate_trust.h"
#include "plait/train/trust/damage_bank.h"
#include "plait/train/trust/risk_control.h"

namespace plait::train {
namespace {

using models::ConformalSets;
using models::Decider;
using models::Evidence;
using models::TrustFusion;
using models::TrustModel;

at::Generator seeded(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

TEST(RiskControl, BinomialTailIsExact) {
  EXPECT_NEAR(binomial_tail(0, 10, 0.1), std::pow(0.9, 10), 1e-12);
  EXPECT_NEAR(binomial_tail(2, 20, 0.1), 0.6769268052, 1e-9);
  EXPECT_NEAR(binomial_tail(20, 20, 0.1), 1, 1e-12);
  EXPECT_THROW(binomial_tail(3, 2, 0.1), Error);
}

TEST(RiskControl, AbstentionKeepsItsPromiseOverDraws) {
  // Confidences that are right as often as they say.
  constexpr double kRisk = 0.1, kDelta = 0.1;
  int broken = 0, used = 0;
  for (uint64_t draw = 0; draw < 200; ++draw) {
    auto generator = seeded(draw);
    at::Tensor confidence = 0.5 + 0.5 * at::rand({1500}, generator);
    at::Tensor wrong = at::rand({1500}, generator) > confidence;
    const double t = certify_abstention(confidence, wrong, kRisk, kDelta);
    if (t > 1) continue;
    ++used;
    // The true risk of answering at t and above.
    broken += 1 - (t + 1) / 2 > kRisk;
  }
  EXPECT_GT(used, 150);
  EXPECT_LE(broken, 200 * kDelta);
  EXPECT_GT(certify_abstention(at::full({100}, 0.99), at::ones({100}, at::kBool), 0.1, 0.1), 1);
}

TEST(RiskControl, PairedBoundCountsItemsNotRows) {
  at::Tensor difference = at::tensor({1.0, 1.0, 0.0, 0.0}), item = at::tensor({0, 0, 1, 2});
  PairedBound bound = paired_bound(difference, item, 0.05);
  EXPECT_EQ(bound.items, 3);
  EXPECT_NEAR(bound.mean, 1.0 / 3, 1e-12);
  EXPECT_NEAR(bound.half_width, 1.6448536 * std::sqrt((1.0 / 3) / 3), 1e-5);
  // No difference at all among n items is not proof of none.
  PairedBound none = paired_bound(at::zeros({100}), at::arange(100), 0.05);
  EXPECT_NEAR(none.half_width, 1.6448536 * std::sqrt(0.01 / 100), 1e-6);
}

struct Scored {
  at::Tensor log_probabilities, target, group;
};

/// Items whose probabilities are true; those of group 1 are harder.
Scored draw_scored(int64_t n, uint64_t seed) {
  auto generator = seeded(seed);
  Scored out;
  out.group = at::randint(2, {n}, generator, at::kLong);
  at::Tensor logits =
      at::randn({n, 5}, generator) * (3 - 2 * out.group).unsqueeze(1).to(at::kFloat);
  out.log_probabilities = at::log_softmax(logits, -1);
  out.target = at::multinomial(out.log_probabilities.exp(), 1, false, generator).squeeze(1);
  return out;
}

TEST(Conformal, CoversAsOftenAsAskedInEveryGroup) {
  for (double coverage : {0.8, 0.9, 0.95}) {
    double covered[2] = {0, 0}, items[2] = {0, 0};
    for (uint64_t seed = 0; seed < 20; ++seed) {
      Scored fit = draw_scored(600, seed), test = draw_scored(400, 100 + seed);
      // Halved: the sets must come from the data, not from the stated probabilities.
      ConformalSets sets =
          ConformalSets::fit(at::log_softmax(fit.log_probabilities / 2, -1), fit.target, fit.group);
      at::Tensor in =
          sets.sets(at::log_softmax(test.log_probabilities / 2, -1), test.group, coverage);
      at::Tensor hit = in.gather(1, test.target.unsqueeze(1)).squeeze(1);
      EXPECT_TRUE(in.any(1).all().item<bool>());
      for (int64_t g = 0; g < 2; ++g) {
        at::Tensor own = hit.masked_select(test.group == g);
        covered[g] += own.sum().item<double>();
        items[g] += static_cast<double>(own.size(0));
      }
    }
    // Two standard errors below; above by the kept ranks and the class that is always in.
    for (int g : {0, 1}) {
      const double error = std::sqrt(coverage * (1 - coverage) / items[g]);
      EXPECT_GT(covered[g] / items[g], coverage - 2.5 * error) << g;
    }
    const double error = std::sqrt(coverage * (1 - coverage) / items[1]);
    EXPECT_LT(covered[1] / items[1], coverage + 0.012 + 2.5 * error);
  }
}

TEST(Conformal, CoversEveryClassWhenAsked) {
  double covered[5] = {}, items[5] = {};
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Scored fit = draw_scored(1000, seed), test = draw_scored(500, 100 + seed);
    // Class 0 is made to look unlikely.
    at::Tensor shift = at::tensor({-1.5, 0.0, 0.0, 0.0, 0.0});
    ConformalSets sets = ConformalSets::fit(at::log_softmax(fit.log_probabilities + shift, -1),
                                            fit.target, fit.group);
    at::Tensor in = sets.sets(at::log_softmax(test.log_probabilities + shift, -1), test.group, 0.9,
                              /*class_conditional=*/true);
    for (int64_t i = 0; i < 500; ++i) {
      const auto k = test.target[i].item<int64_t>();
      covered[k] += in[i][k].item<bool>();
      ++items[k];
    }
  }
  for (int k = 0; k < 5; ++k) {
    // The calibration items vary as well: twice as many of them as of test items.
    EXPECT_NEAR(covered[k] / items[k], 0.9, 2.5 * std::sqrt(1.5 * 0.09 / items[k]) + 0.012) << k;
  }
}

TEST(Conformal, IsSavedAndRefusesWhatItCannotRead) {
  Scored fit = draw_scored(700, 1), test = draw_scored(30, 2);
  ConformalSets sets = ConformalSets::fit(fit.log_probabilities, fit.target, fit.group);
  ConformalSets again = ConformalSets::from_json(Json::parse(sets.to_json().dump(), "test"));
  EXPECT_TRUE(sets.sets(test.log_probabilities, test.group, 0.9)
                  .equal(again.sets(test.log_probabilities, test.group, 0.9)));
  EXPECT_THROW(sets.sets(test.log_probabilities, test.group, 1.0), Error);
  EXPECT_THROW(ConformalSets().sets(test.log_probabilities, test.group, 0.9), Error);
  Json broken = sets.to_json();
  broken["all"]["scores"].items()[0] = 5;
  EXPECT_THROW(ConformalSets::from_json(broken), Error);
  // Too few items for the coverage: every class.
  Scored few = draw_scored(10, 1);
  EXPECT_TRUE(ConformalSets::fit(few.log_probabilities, few.target, few.group)
                  .sets(test.log_probabilities, test.group, 0.95)
                  .all()
                  .item<bool>());
}

Evidence evidence_of(const at::Tensor& probabilities, const at::Tensor& present) {
  const int64_t n = present.size(0), m = present.size(1);
  return {probabilities.log(),
          at::full({n, m}, 0.5),
          at::zeros({n, m}),
          at::zeros({n, m}),
          at::zeros({n, m, m}),
          at::ones({n, m}),
          present};
}

TEST(Deciders, AreTheWrittenFormulas) {
  at::Tensor prior = at::tensor({0.5, 0.3, 0.2});
  at::Tensor p = at::tensor({0.6, 0.3, 0.1, 0.2, 0.2, 0.6}).view({1, 2, 3});
  Evidence both = evidence_of(p, at::ones({1, 2}, at::kBool));
  models::StaticFusions fusions(prior.log(), {1, 0});
  auto close = [](const at::Tensor& log_p, std::vector<double> expected) {
    at::Tensor e = at::tensor(expected);
    return log_p.exp()[0].to(at::kDouble).allclose(e / e.sum(), 1e-5, 1e-6);
  };
  EXPECT_TRUE(close(fusions.decide(Decider::kMean, both), {0.8, 0.5, 0.7}));
  EXPECT_TRUE(close(fusions.decide(Decider::kBestSingle, both), {0.2, 0.2, 0.6}));
  EXPECT_TRUE(close(fusions.decide(Decider::kProduct, both),
                    {0.6 * 0.2 / 0.5, 0.3 * 0.2 / 0.3, 0.1 * 0.6 / 0.2}));
  auto mixed = [](double p, double pi) { return 0.95 * p / pi + 0.05; };
  EXPECT_TRUE(
      close(fusions.decide(Decider::kRobustProduct, both),
            {0.5 * mixed(0.6, 0.5) * mixed(0.2, 0.5), 0.3 * mixed(0.3, 0.3) * mixed(0.2, 0.3),
             0.2 * mixed(0.1, 0.2) * mixed(0.6, 0.2)}));
  Evidence first = evidence_of(p, at::tensor({1, 0}).view({1, 2}).to(at::kBool));
  for (Decider d : {Decider::kMean, Decider::kBestSingle, Decider::kProduct})
    EXPECT_TRUE(close(fusions.decide(d, first), {0.6, 0.3, 0.1})) << to_string(d);
  EXPECT_THROW(fusions.decide(Decider::kJoint, both), Error);
  EXPECT_EQ(models::decider_from_string("mean"), Decider::kMean);
  EXPECT_THROW(models::decider_from_string("oracle"), Error);
}

struct Fitted {
  TrustFit fit;
  std::shared_ptr<TrustModel> model;
};

const Fitted& fitted() {
  static const Fitted out = [] {
    TrustOptions options;
    options.hidden = 16;
    options.expert_epochs = 15;
    options.bank_passes = 4;
    options.min_bank = 3000;
    Fitted f{fit_trust(gaussian_classes(900, 1), {"a", "b", "c"}, kClasses, options), nullptr};
    f.model = std::make_shared<TrustModel>(f.fit.trust);
    TrustCalibrationOptions how;
    how.costs = {8, 1, 2};
    calibrate_trust(*f.model, every_subset(out_of_fold_items(f.fit, 2), 1), how);
    return f;
  }();
  return out;
}

/// New items, some of them damaged as the bank's are.
struct Held {
  Evidence evidence;
  at::Tensor target;
};
Held held_out(const TrustFusion& trust, bool damaged, uint64_t seed = 50) {
  TrustData data = gaussian_classes(1500, seed);
  std::vector<at::Tensor> mean, deviation;
  for (const auto& variants : data.features) {
    mean.push_back(variants[0].mean(0));
    deviation.push_back(variants[0].std(0));
  }
  BankItems items = damaged ? draw_bank(data, mean, deviation, seed) : clean_bank(data);
  return {trust.gather(items.features, items.quality, items.present), data.target};
}

TEST(TrustModel, CoversNewItemsCleanAndDamaged) {
  const TrustModel& model = *fitted().model;
  for (bool damaged : {false, true}) {
    Held held = held_out(model.fusion(), damaged);
    TrustModel::Verdict verdict = model.decide(held.evidence);
    EXPECT_LT(expected_calibration_error(verdict.log_probabilities.exp(), held.target), 0.06);
    for (double coverage : {0.8, 0.9, 0.95}) {
      at::Tensor in = model.prediction_sets(verdict, coverage);
      EXPECT_GT(in.gather(1, held.target.unsqueeze(1)).to(at::kDouble).mean().item<double>(),
                coverage - 0.035)
          << damaged << coverage;
      EXPECT_LT(in.sum(1).to(at::kDouble).mean().item<double>(), 3.2) << damaged << coverage;
    }
  }
}

TEST(TrustModel, AbstainsByTheRiskAskedFor) {
  const TrustModel& model = *fitted().model;
  Held held = held_out(model.fusion(), true);
  TrustModel::Verdict verdict = model.decide(held.evidence);
  auto [confidence, answer] = verdict.log_probabilities.exp().max(1);
  double before = 2;
  for (double risk : {0.05, 0.1, 0.2}) {
    const double threshold = model.abstain_below(risk);
    EXPECT_LE(threshold, before);
    before = threshold;
    at::Tensor answered = confidence >= threshold;
    if (risk >= 0.1) {
      ASSERT_GT(answered.sum().item<int64_t>(), 200) << risk;
    }
    if (!answered.any().item<bool>()) continue;
    const double wrong = at::logical_and(answered, answer != held.target).sum().item<double>() /
                         answered.sum().item<double>();
    EXPECT_LT(wrong, risk + 0.02) << risk;
  }
  EXPECT_THROW(model.abstain_below(0), Error);
}

TEST(TrustModel, RouteSavesWorkAndKeepsItsPromise) {
  const TrustModel& model = *fitted().model;
  const models::Route& route = model.route();
  ASSERT_EQ(route.order.size(), 3u);
  EXPECT_NE(route.order.front(), 0) << "the dearest stream comes first";
  const models::Route::Stop stop = route.stop(0.01);
  EXPECT_EQ(stop.loss, 0.01);
  EXPECT_LT(stop.expected_cost, 0.9);
  Held held = held_out(model.fusion(), false);
  at::Tensor seen = at::zeros({1, 3}, at::kBool), done = at::zeros_like(held.target, at::kBool);
  at::Tensor answer = at::zeros_like(held.target);
  for (int64_t m : route.order) {
    seen[0][m] = true;
    auto [confidence, best] =
        model.decide(models::restrict_to(held.evidence, seen)).log_probabilities.max(1);
    answer = at::where(done, answer, best);
    done = at::logical_or(done, confidence.exp() >= stop.threshold);
  }
  at::Tensor full = model.decide(held.evidence).log_probabilities.argmax(1);
  const double lost = at::logical_and(full == held.target, answer != held.target)
                          .to(at::kDouble)
                          .mean()
                          .item<double>();
  EXPECT_LT(lost, stop.loss + 0.01);
  // Whoever may lose more spends less; below all that was certified nothing stops early.
  for (size_t i = 1; i < route.stops.size(); ++i)
    EXPECT_LE(route.stops[i].expected_cost, route.stops[i - 1].expected_cost);
  EXPECT_LT(route.stop(1).expected_cost, stop.expected_cost);
  EXPECT_GT(route.stop(0.001).threshold, 1);
}

TEST(TrustModel, IsSavedWithAllThatWasCalibrated) {
  const TrustModel& model = *fitted().model;
  TrustModel again(fitted().fit.trust);
  again.load_json(Json::parse(model.to_json().dump(), "test"));
  Held held = held_out(model.fusion(), true);
  TrustModel::Verdict a = model.decide(held.evidence), b = again.decide(held.evidence);
  EXPECT_TRUE(a.log_probabilities.allclose(b.log_probabilities));
  EXPECT_TRUE(model.prediction_sets(a, 0.9).equal(again.prediction_sets(b, 0.9)));
  EXPECT_EQ(model.abstain_below(0.1), again.abstain_below(0.1));
  EXPECT_EQ(model.route().order, again.route().order);
  EXPECT_EQ(model.to_json().dump(), again.to_json().dump());
  for (const char* path : {"ranking", "groups", "abstain", "suspicion_bins"}) {
    Json broken = model.to_json();
    broken.erase(path);
    EXPECT_THROW(TrustModel(fitted().fit.trust).load_json(broken), Error) << path;
  }
  Json twice = model.to_json();
  twice["ranking"] = Json(std::vector<int64_t>{1, 1, 2});
  EXPECT_THROW(TrustModel(fitted().fit.trust).load_json(twice), Error);
}

TrustItems clean_items() {
  const TrustFit& fit = fitted().fit;
  return {fit.clean, fit.clean_target, fit.clean_item, at::zeros_like(fit.clean_target), {}};
}

TEST(Guard, KeepsAFusionThatIsAsGood) {
  auto plain = std::make_shared<TrustFusion>(fitted().fit.trust->config());
  plain->load_state_dict(fitted().fit.trust->state_dict());
  plain->set_strength(0);
  TrustModel model(plain);
  calibrate_trust(model, every_subset(clean_items(), 1));
  ASSERT_EQ(model.choices().size(), 7u);
  EXPECT_EQ(model.choices().at(7).decider, Decider::kTrust);
  ASSERT_EQ(model.choices().at(7).comparisons.size(), 4u);
  // With gates unheard it is the robust product, but for the scale.
  const Json& same = model.choices().at(7).comparisons.items().front();
  EXPECT_EQ(same.at("with").as_string(), "robust_product");
  EXPECT_NEAR(same.at("clean").at("difference").as_double(), 0, 1e-9);
  EXPECT_TRUE(same.at("clean").at("holds").as_bool());
}

TEST(Guard, FallsBackFromAFusionThatIsWorse) {
  // Gates that distrust the two better streams and believe the worst one.
  auto spoilt = std::make_shared<TrustFusion>(fitted().fit.trust->config());
  TensorMap state = fitted().fit.trust->state_dict();
  for (auto& [name, tensor] : state) tensor = tensor.clone();
  state.at("gate.weight2").zero_();
  state.at("gate.bias2").copy_(at::tensor({-8.0, -8.0, 8.0}).view({3, 1, 1}));
  spoilt->load_state_dict(state);
  spoilt->set_strength(1);
  TrustModel model(spoilt);
  TrustItems items = out_of_fold_items(fitted().fit, 2);
  items.held_out.clear();  // These gates are to be judged, not those that were trained
  items.gates = at::Tensor();
  calibrate_trust(model, every_subset(items, 1));
  EXPECT_NE(model.choices().at(7).decider, Decider::kTrust);
  EXPECT_NE(model.choices().at(7).decider, Decider::kBestSingle);
  Held held = held_out(*spoilt, false);
  const double guarded = accuracy(model.decide(held.evidence).log_probabilities, held.target);
  const double single =
      accuracy(model.statics().decide(Decider::kBestSingle, held.evidence), held.target);
  const double bare = accuracy(spoilt->fuse(held.evidence).log_probabilities, held.target);
  EXPECT_GT(guarded, bare + 0.05);
  EXPECT_GE(guarded, single - 0.01);
}

TEST(Guard, AdmitsTheJointPathOnlyWhenItEarnsIt) {
  // The weakest stream alone: there is much to gain.
  const int64_t weakest = fitted().model->statics().ranking().back(), group = int64_t{1} << weakest;
  TrustItems items = clean_items();
  at::Tensor only = at::zeros({1, kViews}, at::kBool);
  only[0][weakest] = true;
  items.evidence = models::restrict_to(items.evidence, only);
  at::Tensor truth = at::one_hot(items.target, kClasses).to(at::kFloat);
  items.joint = 8 * truth;
  TrustModel knows(fitted().fit.trust);
  calibrate_trust(knows, items);
  EXPECT_EQ(knows.choices().at(group).decider, Decider::kJoint);
  EXPECT_TRUE(knows.needs_joint(items.evidence.present));
  EXPECT_EQ(accuracy(knows.decide(items.evidence, items.joint).log_probabilities, items.target), 1);
  // Where nobody asks it the trust fusion answers.
  EXPECT_EQ(knows.decide(items.evidence).deciders.front(), Decider::kTrust);
  items.joint = at::randn(truth.sizes(), seeded(3));
  TrustModel guesses(fitted().fit.trust);
  calibrate_trust(guesses, items);
  EXPECT_EQ(guesses.choices().at(group).decider, Decider::kTrust);
  EXPECT_FALSE(guesses.needs_joint(items.evidence.present));
}

}  // namespace
}  // namespace plait::train
