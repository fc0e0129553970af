#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/train/trust/baselines.h"

/// The papers' formulas on cases computed by hand.
namespace plait::train {
namespace {

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
