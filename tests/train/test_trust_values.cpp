// The trust fusion of values: densities, intervals, and a damaged stream.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/trust/answers.h"
#include "plait/models/trust/evidence.h"
#include "plait/models/trust/questions.h"
#include "plait/train/trust/trust_values.h"

namespace plait::train {
namespace {

using models::Decider;
using models::TrustFusion;
using models::TrustModel;
using models::ValueGrid;

at::Generator seeded(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

double mean_of(const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); }

TEST(ValueGrid, QuantilesAndSharesAreInverse) {
  auto generator = seeded(1);
  at::Tensor y =
      at::randn({400, 2}, generator) * at::tensor({3.0, 0.01}) + at::tensor({100.0, -7.0});
  ValueGrid grid(2, 32);
  grid.fit(y);
  at::Tensor logs = at::log_softmax(at::randn({5, 2, 32}, generator), -1).flatten(1);
  for (double level : {-0.5, 0.0, 0.03, 0.5, 0.97, 1.25}) {
    at::Tensor at_level = at::full({5, 2}, level, at::kDouble);
    at::Tensor back = grid.share_below(logs, grid.quantile(logs, at_level));
    EXPECT_TRUE(back.allclose(at_level, 1e-5, 1e-5)) << level << "\n" << back;
  }
  EXPECT_GE(grid.bins_of(y).min().item<int64_t>(), 0);
  EXPECT_LT(grid.bins_of(y).max().item<int64_t>(), 32);
  EXPECT_EQ(grid.bins_of(at::full({1, 2}, 1e9)).min().item<int64_t>(), 31);
}

TEST(ValueGrid, GaussiansKeepMeanAndDeviation) {
  at::Tensor y = at::linspace(-2, 6, 200).unsqueeze(1);
  ValueGrid grid(1);
  grid.fit(y);
  at::Tensor mean = at::tensor({0.0, 0.7}).unsqueeze(1),
             log_variance = at::tensor({-3.0, -2.0}).unsqueeze(1);
  at::Tensor logs = at::log_softmax(grid.gaussian(mean, log_variance), -1);
  at::Tensor scale = grid.scale();
  EXPECT_TRUE(grid.mean(logs).allclose((mean * scale + 2).to(at::kDouble), 1e-2, 1e-2))
      << grid.mean(logs);
  EXPECT_TRUE(
      grid.deviation(logs).allclose(((log_variance / 2).exp() * scale).to(at::kDouble), 0.03, 0));
  // However narrow or far, it stays finite.
  at::Tensor extreme = grid.gaussian(at::full({1, 1}, 1e6), at::full({1, 1}, -100.0));
  EXPECT_TRUE(at::log_softmax(extreme, -1).isfinite().all().item<bool>());
  EXPECT_THROW(ValueGrid(1).fit(at::ones({20, 1})), Error);
  EXPECT_THROW(ValueGrid(1).fit(at::full({20, 1}, std::nan(""))), Error);
}

struct Task {
  TrustData data;
  at::Tensor y;  ///< [N, 2]
};

/// Three views of two values, the first the clearest; each view sees them through a bent surface.
Task draw(int64_t n, uint64_t seed) {
  auto fixed = seeded(17), generator = seeded(seed);
  Task out;
  at::Tensor z = at::randn({n, 2}, generator);
  out.y = (z * at::tensor({4.0, 0.5}) + at::tensor({20.0, 0.0})).to(at::kDouble);
  for (int64_t m = 0; m < 3; ++m) {
    at::Tensor mix = at::randn({2, 6}, fixed), bend = at::randn({2, 6}, fixed);
    at::Tensor x = at::matmul(z, mix) + 0.5 * at::matmul(z, bend).tanh() +
                   (0.4 + 0.3 * static_cast<double>(m)) * at::randn({n, 6}, generator);
    out.data.features.push_back({x});
  }
  out.data.present = at::ones({n, 3}, at::kBool);
  return out;
}

struct Fitted {
  std::shared_ptr<TrustModel> model;
  Task test;
};

const Fitted& fitted() {
  static const Fitted kFitted = [] {
    Task train = draw(300, 1);
    TrustOptions options;
    options.hidden = 32;
    options.expert_epochs = 25;
    options.bank_passes = 6;
    options.min_bank = 2400;
    options.gate_epochs = 6;
    options.seed = 2;
    TrustFit fit = fit_trust_values(train.data, train.y, {"a", "b", "c"}, options, 32);
    Fitted out{std::make_shared<TrustModel>(fit.trust), draw(400, 3)};
    TrustItems items = every_subset(out_of_fold_items(fit, 1), 1);
    calibrate_trust(*out.model, items);
    fit_intervals(*out.model, items, train.y.index_select(0, items.item));
    return out;
  }();
  return kFitted;
}

/// The test items; the first stream drowned in noise of this strength.
models::Evidence evidence(const Task& task, double noise = 0) {
  auto generator = seeded(9);
  std::vector<at::Tensor> x = task.data.clean();
  x[0] = x[0] + noise * at::randn(x[0].sizes(), generator);
  return fitted().model->fusion().gather(x, at::ones({task.data.size(), 3}), task.data.present);
}

/// The first stream is another item's.
models::Evidence swapped(const Task& task) {
  std::vector<at::Tensor> x = task.data.clean();
  x[0] = x[0].roll(1, 0);
  return fitted().model->fusion().gather(x, at::ones({task.data.size(), 3}), task.data.present);
}

/// Root mean square error over both values, in their deviations.
double error_of(const at::Tensor& logs, const Task& task) {
  const ValueGrid& grid = *fitted().model->fusion().grid();
  return std::sqrt(mean_of(((grid.mean(logs) - task.y) / grid.scale()).square()));
}

TEST(TrustValues, BeatsMeanAndProductWhenAStreamIsBroken) {
  const auto& [model, task] = fitted();
  auto logs = [&](Decider decider, const models::Evidence& e) {
    return decider == Decider::kTrust ? model->decide(e).log_probabilities
                                      : model->decide_as(decider, e, {});
  };
  auto error = [&](Decider decider, const models::Evidence& e) {
    return error_of(logs(decider, e), task);
  };
  at::Tensor target = model->fusion().grid()->bins_of(task.y);
  auto nll = [&](Decider decider, const models::Evidence& e) {
    at::Tensor places = models::places_of(target, model->fusion().config().classes);
    return -mean_of(logs(decider, e).gather(1, places));
  };
  models::Evidence clean = evidence(task);
  EXPECT_LT(error(Decider::kTrust, clean), error(Decider::kBestSingle, clean));
  EXPECT_LT(error(Decider::kTrust, clean), error(Decider::kProduct, clean) + 0.02);
  for (const models::Evidence& broken : {evidence(task, 3), swapped(task)}) {
    for (Decider other : {Decider::kMean, Decider::kProduct, Decider::kBestSingle}) {
      EXPECT_LT(error(Decider::kTrust, broken), error(other, broken)) << to_string(other);
      EXPECT_LT(nll(Decider::kTrust, broken), nll(other, broken)) << to_string(other);
    }
  }
}

TEST(TrustValues, IntervalsCoverAndWidenWithDoubt) {
  const auto& [model, task] = fitted();
  double width_before = 0;
  for (double coverage : {0.5, 0.8, 0.9}) {
    auto verdict = model->decide(evidence(task));
    auto [low, high] = model->prediction_intervals(verdict, coverage);
    at::Tensor held = at::logical_and(task.y >= low, task.y <= high);
    EXPECT_GT(mean_of(held), coverage - 0.05) << coverage;
    EXPECT_LT(mean_of(held), coverage + 0.13) << coverage;
    EXPECT_GT(mean_of(high - low), width_before);
    width_before = mean_of(high - low);
  }
  for (const models::Evidence& broken : {evidence(task, 3), swapped(task)}) {
    auto [low, high] = model->prediction_intervals(model->decide(broken), 0.9);
    EXPECT_GT(mean_of(at::logical_and(task.y >= low, task.y <= high)), 0.85);
    EXPECT_GT(mean_of(high - low), 1.3 * width_before);
  }
  EXPECT_THROW(model->prediction_intervals(model->decide(evidence(task)), 1.0), Error);
}

TEST(TrustValues, ConfidenceFollowsHowOftenAnswersAreRight) {
  const auto& [model, task] = fitted();
  at::Tensor target = model->fusion().grid()->bins_of(task.y);
  std::vector<double> confidence;
  for (const models::Evidence& e : {evidence(task), evidence(task, 1), swapped(task)}) {
    auto verdict = model->decide(e);
    at::Tensor wrong = models::wrong_of(model->fusion(), verdict.log_probabilities, target);
    confidence.push_back(mean_of(model->confidence(verdict)));
    EXPECT_NEAR(confidence.back(), 1 - mean_of(wrong), 0.12);
  }
  EXPECT_GT(confidence[0], confidence[1] + 0.05);
  EXPECT_GT(confidence[1], confidence[2] + 0.05);
}

TEST(TrustValues, AbstainsByTheRiskAskedFor) {
  const auto& [model, task] = fitted();
  at::Tensor target = model->fusion().grid()->bins_of(task.y);
  double answered_before = 0;
  for (double risk : {0.05, 0.1, 0.2, 0.3}) {
    double answered = 0, errors = 0;
    for (const models::Evidence& e : {evidence(task), evidence(task, 1), swapped(task)}) {
      auto verdict = model->decide(e);
      at::Tensor kept = model->confidence(verdict) >= model->abstain_below(risk);
      at::Tensor wrong = models::wrong_of(model->fusion(), verdict.log_probabilities, target);
      answered += mean_of(kept) / 3;
      errors += mean_of(at::logical_and(kept, wrong)) / 3;
    }
    EXPECT_GE(answered, answered_before) << risk;
    answered_before = answered;
    if (answered > 0.03) {
      EXPECT_LT(errors / answered, risk + 0.03) << risk;
    }
  }
  EXPECT_GT(answered_before, 0.2);  // A promise kept by never answering would be none
}

TEST(TrustValues, NoStreamOutvotesTheOthersByBeingLoud) {
  const auto& [model, task] = fitted();
  const double before = error_of(model->decide(evidence(task, 10)).log_probabilities, task);
  for (double loud : {1e2, 1e4, 1e8}) {
    const double now = error_of(model->decide(evidence(task, loud)).log_probabilities, task);
    EXPECT_LT(now, before + 0.05) << loud;
  }
}

TEST(TrustValues, AnswersFromEverySubset) {
  const auto& [model, task] = fitted();
  for (int64_t subset = 1; subset < 8; ++subset) {
    models::Evidence e = evidence(task);
    e.present =
        at::tensor({subset & 1, subset & 2, subset & 4}).ne(0).expand({task.data.size(), 3});
    auto verdict = model->decide(e);
    EXPECT_LT(error_of(verdict.log_probabilities, task), 0.75) << subset;
    auto [low, high] = model->prediction_intervals(verdict, 0.9);
    EXPECT_GT(mean_of(at::logical_and(task.y >= low, task.y <= high)), 0.84) << subset;
  }
}

TEST(TrustValues, LoadsWholeFromJsonAndWeights) {
  const auto& [model, task] = fitted();
  auto fusion = std::make_shared<TrustFusion>(model->fusion().config());
  fusion->load_state_dict(model->fusion().state_dict());
  TrustModel back(fusion);
  back.load_json(Json::parse(model->to_json().dump(), "test"));
  models::Evidence e = evidence(task, 3);
  auto a = model->decide(e), b = back.decide(e);
  EXPECT_TRUE(a.log_probabilities.equal(b.log_probabilities));
  auto [low, high] = model->prediction_intervals(a, 0.9);
  auto [low_back, high_back] = back.prediction_intervals(b, 0.9);
  EXPECT_TRUE(low.allclose(low_back, 1e-9) && high.allclose(high_back, 1e-9));
}

TEST(TrustValues, RefusesWhatItCannotFit) {
  Task task = draw(40, 5);
  TrustOptions options;
  EXPECT_THROW(fit_trust_values(task.data, task.y.narrow(0, 0, 30), {"a", "b", "c"}, options),
               Error);
  task.y[3][0] = std::nan("");
  EXPECT_THROW(fit_trust_values(task.data, task.y, {"a", "b", "c"}, options), Error);
}

}  // namespace
}  // namespace plait::train
