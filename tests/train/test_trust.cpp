#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gaussian_views.h"
#include "plait/core/error.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/damage_bank.h"
#include "plait/train/trust/fit_trust.h"

namespace plait::train {
namespace {

TrustOptions quick() {
  TrustOptions options;
  options.hidden = 16;
  options.expert_epochs = 15;
  options.bank_passes = 4;
  return options;
}

/// The gates heard in full: how far they are heard on data where they help less is chosen by the
/// fit.
std::shared_ptr<models::TrustFusion> fitted() {
  static auto trust = [] {
    auto out = fit_trust(gaussian_classes(500, 1), {"a", "b", "c"}, kClasses, quick()).trust;
    out->set_strength(1);
    return out;
  }();
  return trust;
}

double accuracy_of(const models::TrustFusion& trust, const std::vector<at::Tensor>& features,
                   const at::Tensor& present, const at::Tensor& target) {
  models::Evidence e = trust.gather(features, at::ones(present.sizes()), present);
  return accuracy(trust.fuse(e).log_probabilities, target);
}

TEST(Trust, OutvotesABrokenStreamAndKeepsCleanAccuracy) {
  TrustData test = gaussian_classes(600, 9);
  auto trust = fitted();
  auto generator = at::detail::createCPUGenerator(4);
  double undamaged = accuracy_of(*trust, test.clean(), test.present, test.target);
  std::vector<at::Tensor> x = test.clean();
  at::Tensor without = test.present.clone();
  without.select(1, 0).fill_(false);
  double others = accuracy_of(*trust, x, without, test.target);
  EXPECT_GT(undamaged, others);
  for (double strength : {5.0, 20.0, 1000.0}) {
    std::vector<at::Tensor> damaged = x;
    damaged[0] = x[0] + strength * at::randn(x[0].sizes(), generator);
    EXPECT_GT(accuracy_of(*trust, damaged, test.present, test.target), others - 0.03) << strength;
    models::Evidence e = trust->gather(damaged, at::ones({600, 3}), test.present);
    at::Tensor eps = trust->breakage(e).mean(0);
    // Noise that its expert takes for no class at all does no harm, believed or not.
    EXPECT_GT(eps[0].item<double>(), 0.5) << strength;
    EXPECT_LT(eps[1].item<double>(), 0.4) << strength;
  }
}

TEST(Trust, VeryLoudNoiseOnTheStrongestStreamIsAsIfItWereAbsent) {
  TrustData test = gaussian_classes(2000, 21);
  auto trust = fitted();
  at::Tensor without = test.present.clone();
  without.select(1, 0).fill_(false);
  const double others = accuracy_of(*trust, test.clean(), without, test.target);
  auto generator = at::detail::createCPUGenerator(22);
  for (double strength : {18.0, 60.0, 1e3, 1e6, 1e12}) {
    std::vector<at::Tensor> loud = test.clean();
    loud[0] = loud[0] + strength * at::randn(loud[0].sizes(), generator);
    EXPECT_GT(accuracy_of(*trust, loud, test.present, test.target), others - 0.01) << strength;
    models::Evidence e = trust->gather(loud, at::ones({2000, 3}), test.present);
    EXPECT_TRUE(trust->fuse(e).log_probabilities.isfinite().all().item<bool>()) << strength;
    if (strength < 1e3) continue;
    EXPECT_GT(trust->breakage(e).select(1, 0).mean().item<double>(), 0.99) << strength;
  }
}

TEST(Trust, AChangeOfAllStreamsAtOnceSwitchesNoneOff) {
  TrustData test = gaussian_classes(2000, 31);
  auto trust = fitted();
  auto generator = at::detail::createCPUGenerator(32);
  double gain = 0;
  for (double shift : {1.0, 2.0, 4.0, 8.0}) {
    std::vector<at::Tensor> moved;
    for (const at::Tensor& x : test.clean())
      moved.push_back(x + shift * at::randn({x.size(1)}, generator));
    models::Evidence e = trust->gather(moved, at::ones({2000, 3}), test.present);
    const double fused = accuracy(trust->fuse(e).log_probabilities, test.target);
    at::Tensor alike = at::full({2000, 3}, trust->config().floor);
    const double product = accuracy(trust->fuse_with(e, alike).log_probabilities, test.target);
    EXPECT_GT(fused, product - 0.08) << shift;
    gain += fused - product;
  }
  EXPECT_GT(gain, 0);
}

TEST(Trust, NoStreamMovesTheLogOddsBeyondItsBound) {
  auto trust = fitted();
  const double floor = trust->config().floor, pi = trust->log_prior().exp().min().item<double>();
  const double bound =
      (1 + trust->joint_weight()) * trust->scale(7) * std::log(1 + (1 - floor) / (floor * pi));
  auto generator = at::detail::createCPUGenerator(5);
  TrustData test = gaussian_classes(64, 6);
  for (double loud : {1.0, 100.0, 1e6}) {
    std::vector<at::Tensor> x = test.clean();
    x[1] = x[1] + loud * at::randn(x[1].sizes(), generator);
    at::Tensor support =
        trust->fuse(trust->gather(x, at::ones({64, 3}), test.present)).support.select(1, 1);
    at::Tensor range = support.amax(-1) - support.amin(-1);
    EXPECT_LE(range.max().item<double>(), bound * 1.0001) << loud;
  }
}

TEST(Trust, EverySubsetAnswersAndAbsentValuesDoNotMatter) {
  auto trust = fitted();
  TrustData test = gaussian_classes(7, 8);
  for (int64_t subset = 1; subset < 8; ++subset) {
    at::Tensor present = at::zeros({7, 3}, at::kBool);
    std::vector<at::Tensor> x = test.clean(), broken = test.clean();
    for (int64_t m = 0; m < 3; ++m) {
      if (subset >> m & 1) {
        present.select(1, m).fill_(true);
      } else {
        broken[static_cast<size_t>(m)] = at::full_like(x[static_cast<size_t>(m)], NAN);
      }
    }
    models::TrustOutput a = trust->fuse(trust->gather(x, at::ones({7, 3}), present));
    models::TrustOutput b = trust->fuse(trust->gather(broken, at::ones({7, 3}), present));
    EXPECT_TRUE(a.log_probabilities.equal(b.log_probabilities));
    EXPECT_TRUE(a.log_probabilities.exp().sum(1).allclose(at::ones({7})));
    EXPECT_TRUE(a.weights.sum(1).allclose(at::ones({7})));
    EXPECT_EQ((a.weights * at::logical_not(present)).abs().sum().item<double>(), 0);
  }
  EXPECT_THROW(trust->gather(test.clean(), at::ones({7, 3}), at::zeros({7, 3}, at::kBool)), Error);
}

TEST(Trust, IsTheWrittenFormula) {
  models::TrustFusion::Config config = models::TrustFusion::Config::tiny();
  models::TrustFusion trust(config);
  trust.initialize(3);
  trust.set_prior(at::tensor({0.5, 0.3, 0.2}));
  trust.set_scale(3, 0.7);
  at::Tensor p = at::softmax(at::randn({5, 2, 3}, at::detail::createCPUGenerator(1)), -1);
  models::Evidence e{p.log(),
                     at::full({5, 2}, 0.5),
                     at::zeros({5, 2}),
                     at::zeros({5, 2}),
                     at::zeros({5, 2, 2}),
                     at::ones({5, 2}),
                     at::ones({5, 2}, at::kBool)};
  at::Tensor eps = at::tensor({0.1, 0.6}).expand({5, 2});
  at::Tensor pi = at::tensor({0.5, 0.3, 0.2});
  at::Tensor expected = pi.log().expand({5, 3}).clone();
  for (int64_t m = 0; m < 2; ++m) {
    double share = eps[0][m].item<double>();
    expected = expected + 0.7 * (((1 - share) * p.select(1, m) + share * pi) / pi).log();
  }
  EXPECT_TRUE(trust.fuse_with(e, eps)
                  .log_probabilities.to(at::kDouble)
                  .allclose(at::log_softmax(expected, -1).to(at::kDouble), 1e-5, 1e-5));
}

TEST(Trust, UnheardGatesLeaveTheRobustProduct) {
  models::TrustFusion trust(fitted()->config());
  trust.load_state_dict(fitted()->state_dict());
  trust.set_strength(0);
  TrustData test = gaussian_classes(40, 3);
  models::Evidence e = trust.gather(test.clean(), at::ones({40, 3}), test.present);
  EXPECT_TRUE(trust.breakage(e).allclose(at::full({40, 3}, trust.config().floor)));
  trust.set_strength(0.5);
  at::Tensor half = trust.breakage(e);
  trust.set_strength(1);
  EXPECT_TRUE(half.allclose((trust.breakage(e) + trust.config().floor) / 2));
  EXPECT_THROW(trust.set_strength(1.5), Error);
}

TEST(Trust, DoesNotTakeRoundingForDamage) {
  // A stream that says one of four things: its features lie in three dimensions of six.
  TrustData data = gaussian_classes(300, 4);
  data.features[0][0] = data.features[0][0].slice(0, 0, 4).index_select(0, data.target).clone();
  auto trust = fit_trust(data, {"a", "b", "c"}, kClasses, quick()).trust;
  std::vector<at::Tensor> x = data.clean(), rounded = x;
  rounded[0] = x[0] + 1e-5 * at::randn(x[0].sizes(), at::detail::createCPUGenerator(8));
  at::Tensor quality = at::ones({300, kViews});
  models::Evidence a = trust->gather(x, quality, data.present),
                   b = trust->gather(rounded, quality, data.present);
  // Rounding moves no distance of a stream whose items hardly differ within their class.
  EXPECT_LT((trust->look(x, data.present).distance - trust->look(rounded, data.present).distance)
                .abs()
                .max()
                .item<double>(),
            0.01);
  EXPECT_LT((trust->fuse(a).log_probabilities.exp() - trust->fuse(b).log_probabilities.exp())
                .abs()
                .max()
                .item<double>(),
            0.02);
  // It is the best stream, and trusted.
  EXPECT_GT(accuracy(trust->fuse(a).log_probabilities, data.target), 0.99);
}

TEST(Trust, SavesAndLoadsAllItKnows) {
  auto trust = fitted();
  models::TrustFusion again(trust->config());
  again.load_state_dict(trust->state_dict());
  TrustData test = gaussian_classes(20, 12);
  models::Evidence e = trust->gather(test.clean(), at::ones({20, 3}), test.present);
  models::Evidence f = again.gather(test.clean(), at::ones({20, 3}), test.present);
  EXPECT_TRUE(trust->fuse(e).log_probabilities.equal(again.fuse(f).log_probabilities));
}

TEST(Trust, SameSeedSameModel) {
  TrustData data = gaussian_classes(120, 1);
  TrustOptions options = quick();
  options.expert_epochs = 3;
  options.gate_epochs = 2;
  auto a = fit_trust(data, {"a", "b", "c"}, kClasses, options).trust->state_dict();
  auto b = fit_trust(data, {"a", "b", "c"}, kClasses, options).trust->state_dict();
  for (const auto& [name, tensor] : a) EXPECT_TRUE(tensor.equal(b.at(name))) << name;
}

TEST(Trust, CopiesOfAnItemAreHeldOutTogether) {
  // Every item twice, with classes that nothing tells of but the copy.
  TrustData once = gaussian_classes(150, 3), twice;
  auto generator = at::detail::createCPUGenerator(5);
  once.target = at::randint(0, kClasses, {once.size()}, generator, at::kLong);
  for (const at::Tensor& x : once.clean()) twice.features.push_back({at::cat({x, x})});
  twice.present = at::cat({once.present, once.present});
  twice.target = at::cat({once.target, once.target});
  TrustOptions options = quick();
  options.bank_passes = options.min_bank = options.gate_epochs = 1;
  auto seen = [&] {
    TrustFit fit = fit_trust(twice, {"a", "b", "c"}, kClasses, options);
    return accuracy(fit.clean.log_probabilities.mean(1), fit.clean_target);
  };
  const double apart = seen();
  twice.group = at::arange(once.size()).repeat({2});
  const double together = seen();
  EXPECT_GT(apart, together + 0.15);
  EXPECT_LT(together, 1.0 / kClasses + 0.15);

  twice.group = at::zeros({twice.size()}, at::kLong);
  EXPECT_THROW(seen(), Error) << "one group alone cannot be cut into folds";
  twice.group = at::zeros({3}, at::kLong);
  EXPECT_THROW(seen(), Error);
}

TEST(Trust, RefusesWhatItCannotLearnFrom) {
  TrustData data = gaussian_classes(50, 1);
  TrustData wrong = data;
  wrong.target = data.target.clone();
  wrong.target[3] = kClasses;
  EXPECT_THROW(fit_trust(wrong, {"a", "b", "c"}, kClasses, quick()), Error);
  wrong = data;
  wrong.features[1][0] = data.features[1][0].clone();
  wrong.features[1][0][2][0] = NAN;
  EXPECT_THROW(fit_trust(wrong, {"a", "b", "c"}, kClasses, quick()), Error);
}

TEST(DamageBank, KeepsAStreamOfEveryItemAndTouchesOnlyAShare) {
  TrustData data = gaussian_classes(4000, 1);
  std::vector<at::Tensor> mean, deviation;
  for (const auto& variants : data.features) {
    mean.push_back(variants[0].mean(0));
    deviation.push_back(variants[0].std(0));
  }
  BankOptions options;
  options.drift = 0;
  BankItems bank = draw_bank(data, mean, deviation, 5, options);
  EXPECT_TRUE(bank.present.any(1).all().item<bool>());
  EXPECT_EQ((bank.quality * at::logical_not(bank.present)).abs().sum().item<double>(), 0);
  for (size_t m = 0; m < 3; ++m) {
    double changed =
        bank.features[m].ne(data.features[m][0]).any(1).to(at::kFloat).mean().item<double>();
    EXPECT_NEAR(changed, 0.7 * 0.5, 0.03) << m;
    EXPECT_TRUE(bank.features[m].isfinite().all().item<bool>());
  }
  EXPECT_TRUE(bank.features[0].equal(draw_bank(data, mean, deviation, 5, options).features[0]));
}

TEST(DamageBank, HitsFewerFeaturesBesideDamagedCopies) {
  TrustData data = gaussian_classes(100, 1);
  const BankOptions alone = bank_options_for(data);
  data.features[1].push_back(data.features[1][0] + 1);
  const BankOptions beside = bank_options_for(data);
  EXPECT_LT(beside.most_hit, alone.most_hit);
  EXPECT_GT(beside.clean_items, alone.clean_items);
}

TEST(DamageBank, ADriftMovesAllStreamsOfAnItemAlike) {
  TrustData data = gaussian_classes(500, 1);
  std::vector<at::Tensor> mean, deviation;
  for (const auto& variants : data.features) {
    mean.push_back(variants[0].mean(0));
    deviation.push_back(variants[0].std(0));
  }
  BankOptions options;
  options.drift = 0.4, options.clean_items = 1;
  BankItems bank = draw_bank(data, mean, deviation, 5, options);
  at::Tensor moved = bank.features[0].ne(data.features[0][0]).any(1);
  EXPECT_NEAR(moved.to(at::kFloat).mean().item<double>(), 0.4, 0.07);
  for (size_t m = 0; m < 3; ++m) {
    at::Tensor offset = bank.features[m] - data.features[m][0];
    EXPECT_TRUE(offset.ne(0).any(1).equal(moved)) << m;
    // One direction, however far.
    at::Tensor direction = at::nan_to_num(offset / offset.norm(2, {1}, true));
    direction = direction.index_select(0, moved.nonzero().squeeze(1));
    EXPECT_TRUE(direction.allclose(direction[0].expand_as(direction), 1e-2, 1e-3)) << m;
  }
}

}  // namespace
}  // namespace plait::train
