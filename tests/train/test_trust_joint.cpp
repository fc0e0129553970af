#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/trust/evidence.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/fit_trust.h"

namespace plait::train {
namespace {

using models::Evidence;
using models::TrustFusion;

/// The class is whether two signs agree, of which each stream shows one: no stream alone tells
/// anything.
TrustData agreeing_signs(int64_t items, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  at::Tensor signs = at::randint(0, 2, {items, 2}, generator, at::kLong);
  TrustData out;
  for (int64_t m = 0; m < 2; ++m) {
    at::Tensor x = 0.4 * at::randn({items, 5}, generator);
    x.slice(1, 0, 2) += (2 * signs.select(1, m) - 1).unsqueeze(1);
    out.features.push_back({x});
  }
  out.present = at::ones({items, 2}, at::kBool);
  out.target = (signs.select(1, 0) == signs.select(1, 1)).to(at::kLong);
  return out;
}

TrustOptions quick() {
  TrustOptions options;
  options.hidden = 16;
  options.landmarks = 64;
  options.expert_epochs = 5;
  options.gate_epochs = 2;
  options.min_bank = 1000;
  options.joint = 16;
  options.seed = 4;
  return options;
}

double accuracy_of(const TrustFusion& trust, const TrustData& data, const at::Tensor& present) {
  Evidence e = trust.gather(data.clean(), at::ones(present.sizes()), present);
  return accuracy(trust.fuse(e).log_probabilities, data.target);
}

TEST(TrustJoint, IsHeardWhereStreamsTellSomethingOnlyTogether) {
  const TrustData test = agreeing_signs(400, 2);
  TrustFit fit = fit_trust(agreeing_signs(600, 1), {"left", "right"}, 2, quick());
  EXPECT_GE(fit.trust->joint_weight(), 0.5);
  EXPECT_GT(accuracy_of(*fit.trust, test, test.present), 0.95);
  // A single stream is asked alone, and knows nothing.
  at::Tensor one = at::tensor({1, 0}).to(at::kBool).expand({400, 2});
  EXPECT_LT(accuracy_of(*fit.trust, test, one), 0.6);
  EXPECT_TRUE(fit.trust->gather(test.clean(), at::ones({400, 2}), one).tokens.defined());

  TrustOptions without = quick();
  without.joint = 0;
  TrustFit plain = fit_trust(agreeing_signs(600, 1), {"left", "right"}, 2, without);
  EXPECT_EQ(plain.trust->joint(), nullptr);
  EXPECT_LT(accuracy_of(*plain.trust, test, test.present), 0.65);
  EXPECT_THROW(plain.trust->set_joint_weight(0.5), Error);
}

TEST(TrustJoint, OutOfFoldItemsAreReadByExpertsThatHaveNotSeenThem) {
  // Labels without any pattern: whoever has seen the items knows them by heart.
  TrustData data = agreeing_signs(200, 5);
  data.target = at::randint(0, 2, {200}, at::detail::createCPUGenerator(6), at::kLong);
  TrustOptions options = quick();
  options.joint_epochs = 200;
  options.joint_dropout = 0;
  TrustFit fit = fit_trust(data, {"left", "right"}, 2, options);
  ASSERT_EQ(fit.clean.readers.size(), static_cast<size_t>(options.folds));
  fit.trust->set_joint_weight(1);
  EXPECT_GT(accuracy_of(*fit.trust, data, data.present), 0.75);
  EXPECT_LT(accuracy(fit.trust->fuse(fit.clean).log_probabilities, fit.clean_target), 0.65);
  // Cutting and stacking keep who reads what.
  Evidence both = models::stack({fit.clean, fit.damaged});
  Evidence cut = models::select_rows(both, at::arange(200));
  EXPECT_TRUE(
      fit.trust->fuse(cut).log_probabilities.equal(fit.trust->fuse(fit.clean).log_probabilities));
}

TEST(TrustJoint, IsTheWrittenFormula) {
  TrustFusion trust(TrustFusion::Config::tiny());
  trust.initialize(3);
  trust.set_scale(3, 0.7);
  trust.set_joint_weight(0.4);
  auto generator = at::detail::createCPUGenerator(1);
  at::Tensor present = at::tensor({1, 1, 1, 0}).to(at::kBool).view({2, 2}).repeat({3, 1});
  Evidence e = trust.gather({at::randn({6, 5}, generator), at::randn({6, 7}, generator)},
                            at::ones({6, 2}), present);
  const double a = 0.1, b = 0.3, pi = 1.0 / 3;
  at::Tensor eps =
      at::where(present, at::tensor({a, b}).to(at::kFloat).expand({6, 2}), at::ones({}));
  at::Tensor p = e.log_probabilities.exp();
  auto nats = [&](const at::Tensor& q, double share) {
    return (((1 - share) * q + share * pi) / pi).log();
  };
  at::Tensor first = nats(p.select(1, 0), a), second = nats(p.select(1, 1), b);
  at::Tensor together =
      nats(at::softmax(trust.joint()->logits(e.tokens, present), -1), 1 - (1 - a) * (1 - b));
  at::Tensor expected =
      at::where(present.select(1, 1).unsqueeze(1), 0.7 * (0.6 * (first + second) + 0.4 * together),
                trust.scale(1) * first);
  models::TrustOutput out = trust.fuse_with(e, eps);
  EXPECT_TRUE(out.log_probabilities.allclose(at::log_softmax(expected, -1), 1e-4, 1e-5));
  EXPECT_TRUE(at::log_softmax(out.support.sum(1), -1).allclose(out.log_probabilities, 1e-4, 1e-5));
  // A stream that most likely misleads is not heard, whatever it says.
  eps.select(1, 1).fill_(0.8);
  EXPECT_TRUE(trust.fuse_with(e, eps)
                  .log_probabilities.index_select(0, at::tensor({0}))
                  .allclose(at::log_softmax(0.7 * (first + nats(p.select(1, 1), 0.8)), -1)
                                .index_select(0, at::tensor({0})),
                            1e-4, 1e-5));
}

TEST(TrustJoint, OneStreamMovesTheLogOddsWithinItsBound) {
  TrustFit fit = fit_trust(agreeing_signs(600, 1), {"left", "right"}, 2, quick());
  const TrustFusion& trust = *fit.trust;
  const double floor = trust.config().floor, pi = trust.log_prior().exp().min().item<double>();
  const double bound =
      (1 + trust.joint_weight()) * trust.scale(3) * std::log(1 + (1 - floor) / (floor * pi));
  const TrustData test = agreeing_signs(64, 7);
  auto odds = [&](const at::Tensor& right) {
    at::Tensor logs =
        trust.fuse(trust.gather({test.clean()[0], right}, at::ones({64, 2}), test.present))
            .log_probabilities;
    return logs.select(1, 1) - logs.select(1, 0);
  };
  auto generator = at::detail::createCPUGenerator(8);
  at::Tensor before = odds(at::zeros({64, 5}));
  for (double loud : {1.0, 10.0, 1e3, 1e6}) {
    at::Tensor moved = (odds(loud * at::randn({64, 5}, generator)) - before).abs();
    EXPECT_LE(moved.max().item<double>(), 2 * bound) << loud;
  }
}

}  // namespace
}  // namespace plait::train
