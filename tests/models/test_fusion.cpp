// Properties of every fusion layer in the registry, and the formulas of fusion/functional.h.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <limits>

#include "plait/models/fusion/decisions.h"
#include "plait/models/fusion/functional.h"
#include "plait/models/fusion/fusion.h"
#include "plait/models/registry.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

using tests::close;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kWidth = 8, kClasses = 5;

std::vector<std::string> fusions() {
  std::vector<std::string> names;
  for (const std::string& name : registry().names()) {
    if (registry().at(name).kind == "fusion") names.push_back(name);
  }
  return names;
}

class FusionTest : public testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<Fusion> make(int64_t streams) const {
    Json config = registry().at(GetParam()).tiny;
    config["type"] = GetParam();
    config["streams"] = streams;
    auto fusion = create_as<Fusion>(config, "test");
    fusion->initialize(5);
    return fusion;
  }
};

/// Two tokens per stream besides the pooled features. `present` decides what is absent.
FusionInput inputs(const at::Tensor& present) {
  at::manual_seed(11);
  int64_t b = present.size(0), m = present.size(1);
  FusionInput in;
  in.present = present;
  in.features = at::randn({b, m, kWidth});
  in.quality = at::rand({b, m}) * 0.9 + 0.1;
  in.tokens = at::randn({b, 2 * m, kWidth});
  in.token_stream = at::arange(m).repeat_interleave(2);
  in.token_mask = present.index_select(1, in.token_stream).clone();
  in.logits = at::randn({b, m, kClasses});
  return in;
}

/// Every non-empty subset of m streams; for many streams a seeded choice of them.
at::Tensor subsets(int64_t m) {
  std::vector<at::Tensor> rows;
  int64_t all = (int64_t{1} << m) - 1, step = std::max<int64_t>(all / 40, 1);
  for (int64_t bits = 1; bits <= all; bits += step) {
    at::Tensor row = at::zeros({m}, at::kBool);
    for (int64_t i = 0; i < m; ++i) {
      if (bits >> i & 1) row[i] = true;
    }
    rows.push_back(row);
  }
  rows.push_back(at::ones({m}, at::kBool));
  return at::stack(rows);
}

at::Tensor answer(const FusionOutput& out) { return out.fused.defined() ? out.fused : out.logits; }

FusionInput row(const FusionInput& in, int64_t i) {
  FusionInput one = in;
  for (at::Tensor* t :
       {&one.features, &one.present, &one.quality, &one.tokens, &one.token_mask, &one.logits}) {
    *t = t->narrow(0, i, 1);
  }
  return one;
}

TEST_P(FusionTest, AnySubsetOfOneToTwelveStreams) {
  at::NoGradGuard no_grad;
  for (int64_t m : {1, 2, 3, 5, 12}) {
    auto fusion = make(m);
    FusionInput in = inputs(subsets(m));
    FusionOutput out = fusion->fuse(in);
    EXPECT_TRUE(at::isfinite(answer(out)).all().item<bool>());
    EXPECT_TRUE(close(out.weights.sum(1), at::ones({in.present.size(0)}), {1e-5, 0})) << m;
    EXPECT_EQ(out.weights.masked_select(at::logical_not(in.present)).abs().sum().item<double>(), 0);
    EXPECT_GE(out.weights.min().item<double>(), 0);
    for (int64_t i = 0; i < in.present.size(0); ++i) {
      FusionOutput one = fusion->fuse(row(in, i));
      EXPECT_TRUE(close(answer(one), answer(out).narrow(0, i, 1), {1e-5, 0}))
          << m << " streams, item " << i;
      EXPECT_TRUE(close(one.weights, out.weights.narrow(0, i, 1), {1e-5, 0}))
          << m << " streams, item " << i;
    }
  }
}

TEST_P(FusionTest, OneStreamHasAllTheWeight) {
  at::NoGradGuard no_grad;
  FusionInput in = inputs(at::eye(4).to(at::kBool));
  EXPECT_TRUE(close(make(4)->fuse(in).weights, at::eye(4), {1e-6, 0}));
}

TEST_P(FusionTest, AbsentStreamsLeakNeitherForwardNorBackward) {
  auto fusion = make(3);
  fusion->requires_grad_(true);
  at::Tensor present = at::tensor({1, 0, 1, 0, 1, 1, 1, 0, 0}, at::kInt).to(at::kBool).view({3, 3});
  auto run = [&](double filler) {
    FusionInput in = inputs(present);
    at::Tensor absent = at::logical_not(present);
    in.features = in.features.masked_fill(absent.unsqueeze(-1), filler).requires_grad_(true);
    in.logits = in.logits.masked_fill(absent.unsqueeze(-1), filler).requires_grad_(true);
    in.quality = in.quality.masked_fill(absent, filler);
    in.tokens = in.tokens.masked_fill(at::logical_not(in.token_mask).unsqueeze(-1), filler)
                    .requires_grad_(true);
    for (auto& p : fusion->parameters()) p.mutable_grad() = at::Tensor();
    FusionOutput out = fusion->fuse(in);
    at::Tensor loss = answer(out).square().sum() + out.weights.square().sum();
    if (loss.requires_grad()) loss.backward();
    TensorMap seen = {{"answer", answer(out).detach()}, {"weights", out.weights.detach()}};
    for (auto& [name, p] : fusion->named_parameters()) {
      if (p.grad().defined()) seen["gradient of " + name] = p.grad().clone();
    }
    for (auto& [name, x] :
         TensorMap{{"features", in.features}, {"logits", in.logits}, {"tokens", in.tokens}}) {
      if (x.grad().defined()) seen["gradient of " + name] = x.grad().clone();
    }
    if (in.features.grad().defined()) {
      EXPECT_EQ(in.features.grad().masked_select(absent.unsqueeze(-1)).abs().sum().item<double>(),
                0);
      EXPECT_GT(in.features.grad().abs().sum().item<double>(), 0);
    }
    return seen;
  };
  TensorMap with_zeros = run(0), with_nan = run(kNaN);
  ASSERT_EQ(with_zeros.size(), with_nan.size());
  for (const auto& [name, tensor] : with_zeros)
    EXPECT_TRUE(close(with_nan.at(name), tensor, {1e-6, 0})) << name;
}

TEST_P(FusionTest, GradientsReachPresentFeatures) {
  auto fusion = make(3);
  FusionInput in = inputs(at::ones({2, 3}, at::kBool));
  at::Tensor& x = fusion->fuses_decisions() ? in.logits : in.features;
  x.requires_grad_(true);
  answer(fusion->fuse(in)).square().sum().backward();
  EXPECT_GT(x.grad().abs().sum(-1).min().item<double>(), 0);
}

TEST_P(FusionTest, WorksWithoutTokensAndQuality) {
  at::NoGradGuard no_grad;
  FusionInput in = inputs(subsets(3));
  in.tokens = in.token_stream = in.token_mask = in.quality = at::Tensor();
  FusionOutput out = make(3)->fuse(in);
  EXPECT_TRUE(at::isfinite(answer(out)).all().item<bool>());
}

TEST_P(FusionTest, RefusesAnItemWithoutStreams) {
  auto fusion = make(3);
  FusionInput in = inputs(at::ones({2, 3}, at::kBool));
  in.present[1].zero_();
  EXPECT_THROW(fusion->fuse(in), Error);
  in = inputs(at::ones({2, 4}, at::kBool));
  EXPECT_THROW(fusion->fuse(in), Error);
}

INSTANTIATE_TEST_SUITE_P(Fusions, FusionTest, testing::ValuesIn(fusions()),
                         [](const auto& info) { return info.param; });

TEST(FusionFunctions, PermutingStreamsPermutesWeights) {
  at::Tensor present = subsets(4), order = at::tensor({2, 0, 3, 1}, at::kLong);
  FusionInput in = inputs(present);
  Fused a = dynamic_modality_weighting(in.features, in.quality, present);
  Fused b =
      dynamic_modality_weighting(in.features.index_select(1, order),
                                 in.quality.index_select(1, order), present.index_select(1, order));
  EXPECT_TRUE(close(b.weights, a.weights.index_select(1, order), {1e-6, 0}));
  EXPECT_TRUE(close(b.fused, a.fused, {1e-5, 0}));
  for (const char* name : {"mean", "product"}) {
    auto fusion = create_as<Fusion>(Json::object({{"type", name}, {"streams", 4}}), "test");
    FusionInput moved = in;
    moved.logits = in.logits.index_select(1, order);
    moved.present = present.index_select(1, order);
    EXPECT_TRUE(close(fusion->fuse(moved).logits, fusion->fuse(in).logits, {1e-5, 0})) << name;
  }
}

TEST(FusionFunctions, WeightsAreProportionalToQuality) {
  at::Tensor quality = at::tensor({0.9, 0.3, 0.6}).view({1, 3}), features = at::eye(3).unsqueeze(0);
  Fused out = dynamic_modality_weighting(features, quality);
  EXPECT_TRUE(close(out.weights, quality / quality.sum(), {1e-6, 0}));
  EXPECT_TRUE(close(out.fused, out.weights, {1e-6, 0}));
  Fused sharp = dynamic_modality_weighting(features, quality, {}, at::full({}, 0.1));
  EXPECT_GT(sharp.weights[0][0].item<double>(), 0.97);
}

TEST(FusionFunctions, ModalityAwareAttentionEqualsTheWrittenFormula) {
  at::manual_seed(3);
  int64_t b = 2, t = 5, s = 7, heads = 2, d = 4;
  at::Tensor q = at::randn({b, t, heads * d}), k = at::randn({b, s, heads * d}),
             v = at::randn({b, s, heads * d});
  at::Tensor qs = at::tensor({0, 0, 1, 2, -1}, at::kLong),
             ks = at::tensor({0, 1, 1, 2, 0, 2, 1}, at::kLong);
  at::Tensor beta = at::tensor({0.7, 1.9}), reliability = at::rand({b, s}) + 0.05;
  at::Tensor mask = at::ones({b, s}, at::kBool);
  mask[1][2] = false;
  k[1][2] = kNaN;
  v[1][2] = kNaN;
  at::Tensor got = modality_aware_attention(q, k, v, qs, ks, beta, reliability, mask, heads);
  at::Tensor want = at::zeros({b, t, heads * d});
  for (int64_t i = 0; i < b; ++i) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t x = 0; x < t; ++x) {
        std::vector<double> e(s);
        double total = 0;
        for (int64_t y = 0; y < s; ++y) {
          if (!mask[i][y].item<bool>()) continue;
          double dot = 0;
          for (int64_t c = 0; c < d; ++c)
            dot += (q[i][x][h * d + c] * k[i][y][h * d + c]).item<double>();
          bool cross = qs[x].item<int64_t>() >= 0 && qs[x].item<int64_t>() != ks[y].item<int64_t>();
          e[y] = std::exp(dot / std::sqrt(double(d)) - (cross ? beta[h].item<double>() : 0)) *
                 reliability[i][y].item<double>();
          total += e[y];
        }
        for (int64_t y = 0; y < s; ++y) {
          if (!mask[i][y].item<bool>()) continue;
          for (int64_t c = 0; c < d; ++c)
            want[i][x][h * d + c] += e[y] / total * v[i][y][h * d + c];
        }
      }
    }
  }
  EXPECT_TRUE(close(got, want, {1e-5, 0}));
  EXPECT_THROW(modality_aware_attention(q, k, v, qs, ks, beta, reliability, mask, 3), Error);
}

TEST(FusionFunctions, PenaltyAndStrengthAreLearned) {
  at::Tensor beta = at::full({1}, 0.5).requires_grad_(true),
             quality = at::rand({1, 4}).requires_grad_(true);
  at::Tensor x = at::randn({1, 4, 4}), ids = at::tensor({0, 0, 1, 1}, at::kLong);
  modality_aware_attention(x, x, x, ids, ids, beta, quality).square().sum().backward();
  EXPECT_GT(beta.grad().abs().item<double>(), 0);
  EXPECT_GT(quality.grad().abs().max().item<double>(), 0);
}

TEST(FusionFunctions, ImportanceIsAShare) {
  at::Tensor scores = at::tensor({0.5, 0.5, kNaN, 0.2, 0.6, 0.2}).view({2, 3});
  at::Tensor present = at::tensor({1, 1, 0, 1, 1, 1}, at::kInt).to(at::kBool).view({2, 3});
  EXPECT_TRUE(
      close(modality_importance(scores, present), at::tensor({0.35, 0.55, 0.1}), {1e-6, 0}));
  EXPECT_TRUE(close(modality_importance(at::zeros({1, 2})), at::tensor({0.5, 0.5}), {1e-6, 0}));
}

TEST(FusionFunctions, ProductCorrectsForThePrior) {
  // Two experts that say no more than the prior must give the prior back, not its square.
  ProductOfExperts::Config config;
  config.streams = 2;
  config.pooling = "sum";
  config.classes = 3;
  ProductOfExperts product(config);
  at::Tensor prior = at::tensor({0.6, 0.3, 0.1});
  product.set_prior(prior * 50);
  FusionInput in;
  in.present = at::ones({1, 2}, at::kBool);
  in.logits = prior.log().expand({1, 2, 3});
  EXPECT_TRUE(close(product.fuse(in).logits.exp(), prior.unsqueeze(0), {1e-6, 0}));
  EXPECT_THROW(product.set_prior(at::zeros({3})), Error);
}

}  // namespace
}  // namespace plait::models
