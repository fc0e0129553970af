#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "plait/models/trust/consistency.h"
#include "plait/models/trust/density.h"
#include "plait/models/trust/stream_expert.h"

namespace plait::models {
namespace {

at::Generator seeded(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

at::Tensor wave(const at::Tensor& x) { return x.sin().sum(1, /*keepdim=*/true); }

TEST(RadialRegression, LearnsACurveAndForgetsItFarAway) {
  auto generator = seeded(1);
  at::Tensor x = at::randn({300, 2}, generator), y = wave(x) + 2;
  RadialRegression regression(2, 1, 200);
  regression.fit(x, y, {.gamma = 0.5, .ridge = 0.01}, 1);
  at::Tensor fresh = at::randn({200, 2}, generator);
  EXPECT_LT((regression(fresh) - wave(fresh) - 2).abs().mean().item<double>(), 0.05);
  EXPECT_TRUE(regression(fresh * 1e4 + 1e3).allclose(y.mean().expand({200, 1}), 1e-4, 1e-4));
}

TEST(RadialRegression, LeavesEachRowOutAsIfFittedWithoutIt) {
  auto generator = seeded(2);
  at::Tensor x = at::randn({40, 3}, generator), y = at::randn({40, 2}, generator);
  const RadialRegression::Shape shape{.gamma = 0.2, .ridge = 0.5};
  // As many landmarks as rows: kernel ridge regression, whose solution without a row is known.
  RadialRegression all(3, 2, 40);
  at::Tensor left = all.fit(x, y, shape, 3);
  at::Tensor mean = y.mean(0), k = (at::cdist(x, x).square() * -shape.gamma).exp();
  for (int64_t i : {0, 17, 39}) {
    at::Tensor rest = at::cat({at::arange(i), at::arange(i + 1, 40)});
    at::Tensor gram = k.index_select(0, rest).index_select(1, rest);
    at::Tensor weight =
        at::linalg_solve(gram + shape.ridge * at::eye(39), y.index_select(0, rest) - mean);
    at::Tensor expected = mean + at::matmul(k[i].index_select(0, rest), weight);
    EXPECT_TRUE(left[i].allclose(expected, 1e-3, 1e-3)) << i;
  }
}

TEST(RadialRegression, ChoosesAnotherRidgeForNoiseThanForATruth) {
  auto generator = seeded(3);
  at::Tensor x = at::randn({200, 3}, generator);
  auto ridge_for = [&](const at::Tensor& y) {
    return choose_radial_shape(
               x, y,
               [&](const at::Tensor& left) { return (left - y).square().mean().item<double>(); })
        .ridge;
  };
  EXPECT_GT(ridge_for(at::randn({200, 1}, generator)), ridge_for(wave(x)));
}

StreamExpert::Shape small() {
  return {.width = 4, .classes = 3, .hidden = 8, .components = 3, .landmarks = 64, .told = 5};
}

TEST(StreamExpert, MixesItsTwoClassifiersByTheShare) {
  auto generator = seeded(4);
  StreamExpert expert(small());
  expert.initialize(1);
  expert.train(false);
  at::Tensor x = at::randn({100, 4}, generator), target = at::randint(3, {100}, generator);
  expert.fit_scale(x);
  expert.fit_radial(x, target.to(at::kLong), at::randn({100, 5}, generator),
                    {.gamma = 0.2, .ridge = 0.1}, 1, [](const at::Tensor&) { return 0.5; });
  StreamExpert::Says says = expert.says(x);
  for (double share : {0.0, 0.25, 1.0}) {
    expert.set_share(share);
    EXPECT_TRUE(
        expert.logits(x).allclose(share * says.network + (1 - share) * says.radial, 1e-5, 1e-5));
  }
  // Far from all landmarks the radial part knows the classes' frequencies alone.
  at::Tensor frequency = (at::bincount(target.to(at::kLong), {}, 3).to(at::kFloat) + 1) / 103;
  at::Tensor far = at::softmax(expert.says(x * 1e5).radial, 1);
  EXPECT_TRUE(far.allclose(frequency.expand_as(far), 0.02, 0.02));
}

TEST(CrossConsistency, TellsTheSameItemFromAnother) {
  auto generator = seeded(5);
  // Two streams that share one of their two coordinates; nothing tells their classes apart.
  auto draw = [&](int64_t n) {
    at::Tensor common = at::randn({n, 1}, generator);
    auto with = [&] { return at::cat({common, at::randn({n, 1}, generator)}, 1); };
    return std::vector<at::Tensor>{with(), with()};
  };
  auto tells = [](const at::Tensor& z) {
    return at::cat({z, z * at::tensor({1.0, 0.0})}, 1).to(at::kFloat);
  };
  std::vector<at::Tensor> x = draw(500), fresh = draw(500);
  // Coordinates 0, 1 belong to stream 0, the others to stream 1; what a stream tells of itself is
  // never looked at.
  auto told = [&](const std::vector<at::Tensor>& z) {
    return std::vector<at::Tensor>{
        tells(z[0]), at::cat({z[1] * at::tensor({1.0, 0.0}), z[1]}, 1).to(at::kFloat)};
  };
  CrossConsistency consistency({2, 2});
  consistency.fit(told(x), x, at::ones({500, 2}, at::kBool));
  auto alone = [](const std::vector<at::Tensor>& z) {
    return at::stack({-0.5 * z[0].square().sum(1), -0.5 * z[1].square().sum(1)}, 1);
  };
  at::Tensor same = consistency.ratio(told(fresh), fresh, alone(fresh));
  EXPECT_EQ(same.diagonal(0, 1, 2).abs().max().item<double>(), 0);
  EXPECT_GT(same.select(1, 0).select(1, 1).mean().item<double>(), 1);
  std::vector<at::Tensor> torn = {fresh[0], fresh[1].roll(1, 0)};
  at::Tensor other = consistency.ratio(told(torn), torn, alone(torn));
  EXPECT_LT(other.select(1, 0).select(1, 1).mean().item<double>(), -3);
  EXPECT_LE(other.abs().max().item<double>(), 20);
}

}  // namespace
}  // namespace plait::models
