// The trust engine's joint expert against the tensors that it stands for.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/runtime/multiply_adds.h"
#include "plait/runtime/packed_joint.h"
#include "plait/runtime/trust_engine.h"
#include "random_trust.h"

namespace plait::runtime {
namespace {

class TrustEngineJoint : public ::testing::TestWithParam<Shape> {};

TEST_P(TrustEngineJoint, SaysWhatTheTensorsSay) {
  const bool few = GetParam().streams < 6;
  int64_t some_deaf = 0, all_but_one_deaf = 0;
  for (uint64_t seed = 0; seed < (few ? 3 : 1); ++seed) {
    auto model = random_model(GetParam(), seed);
    const Items items = random_items(*model, seed + 100, /*most=*/12, /*copies=*/few ? 12 : 1);
    const TrustModel::Verdict expected = by_tensors(*model, items);
    for (const VectorLoops* loops : vector_loops()) {
      SCOPED_TRACE(std::string(loops->name) + ", seed " + std::to_string(seed));
      expect_same(TrustEngine(model, *loops)
                      .decide(items.pooled, items.quality, items.present, items.joint),
                  expected);
    }
    at::Tensor here = items.present.sum(1),
               heard = at::logical_and(items.present, expected.breakage < 0.5).sum(1);
    some_deaf += at::logical_and(heard > 1, heard < here).sum().item<int64_t>();
    all_but_one_deaf += at::logical_and(heard<2, here> 1).sum().item<int64_t>();
  }
  EXPECT_TRUE(some_deaf > 0 || GetParam().streams == 2);
  EXPECT_GT(all_but_one_deaf, 0);
}

TEST_P(TrustEngineJoint, MovesTheAnswer) {
  auto model = random_model(GetParam(), 1);
  Shape without = GetParam();
  without.joint_weight = 0;
  const Items items = random_items(*model, 2);
  EXPECT_FALSE(at::allclose(
      TrustEngine(model).decide(items.pooled, items.quality, items.present).log_probabilities,
      TrustEngine(random_model(without, 1))
          .decide(items.pooled, items.quality, items.present)
          .log_probabilities,
      1e-3, 1e-3));
}

TEST_P(TrustEngineJoint, AnswersAlikeInBatchesAndStepByStep) {
  auto model = random_model(GetParam(), 8);
  const TrustEngine engine(model);
  const Items items = random_items(*model, 9);
  const TrustModel::Verdict all = engine.decide(items.pooled, items.quality, items.present);
  for (int64_t i = 0; i < items.present.size(0); ++i) {
    const Items one = items.row(i);
    const TrustModel::Verdict alone = engine.decide(one.pooled, one.quality, one.present);
    std::vector<TrustEngine::Look> looks(one.pooled.size());
    at::Tensor seen = at::zeros_like(one.present);
    TrustModel::Verdict stepwise;
    for (size_t m = 0; m < looks.size(); ++m) {
      if (!one.present[0][static_cast<int64_t>(m)].item<bool>()) continue;
      looks[m] = engine.look(m, one.pooled[m]);
      seen[0][static_cast<int64_t>(m)] = true;
      stepwise = engine.decide(looks, one.quality);
      EXPECT_TRUE(at::equal(stepwise.log_probabilities,
                            engine.decide(one.pooled, one.quality, seen).log_probabilities));
    }
    for (auto member : {&TrustModel::Verdict::log_probabilities, &TrustModel::Verdict::breakage,
                        &TrustModel::Verdict::support, &TrustModel::Verdict::weights}) {
      EXPECT_TRUE(at::equal((alone.*member)[0], (all.*member)[i]));
      EXPECT_TRUE(at::equal(stepwise.*member, alone.*member));
    }
  }
}

std::vector<Shape> joint_shapes() {
  std::vector<Shape> out;
  for (int64_t streams : {2, 3, 5, 12}) {
    for (double weight : {0.1, 1.0}) {
      out.push_back({.streams = streams, .joint = 64, .joint_weight = weight});
      // A width that fills no block, and more classes than one.
      out.push_back({.streams = streams, .classes = 35, .joint = 20, .joint_weight = weight});
    }
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Shapes, TrustEngineJoint, ::testing::ValuesIn(joint_shapes()),
                         [](const auto& shape) {
                           return std::to_string(shape.param.streams) + "streams" +
                                  std::to_string(shape.param.classes) + "classes" +
                                  (shape.param.joint_weight < 1 ? "mixed" : "alone");
                         });

TEST(TrustEngineWithJoint, CountsItsMultiplyAdds) {
  constexpr int64_t kWidth = 24, kStreams = 3;
  Shape shape{.streams = kStreams, .joint = kWidth, .joint_weight = 0.5};
  auto model = random_model(shape, 1);
  shape.joint_weight = 0;
  const TrustEngine engine(model), without(random_model(shape, 1));
  const Items items = random_items(*model, 2);
  const TrustModel::Verdict verdict =
      engine.decide(items.pooled, items.quality, items.present, items.joint);
  const PackedJoint joint(model->fusion(), model->fusion().state_dict());
  int64_t expected = 0;
  for (int64_t i = 0; i < items.present.size(0); ++i) {
    const int64_t subset = i + 1;
    int64_t heard = 0, tokens = 0;
    for (int64_t m = 0; m < kStreams; ++m) {
      if (!(subset >> m & 1)) continue;
      tokens += joint.multiply_adds_of_token(static_cast<size_t>(m));
      heard += verdict.breakage[i][m].item<float>() < 0.5F;
    }
    expected += without.multiply_adds(subset) + tokens;
    if (heard > 1) expected += joint.multiply_adds(heard);
    const int64_t present = __builtin_popcountll(static_cast<uint64_t>(subset));
    EXPECT_EQ(engine.multiply_adds(subset), without.multiply_adds(subset) + tokens +
                                                (present > 1 ? joint.multiply_adds(present) : 0));
  }
  EXPECT_EQ(count_multiply_adds(
                [&] { engine.decide(items.pooled, items.quality, items.present, items.joint); }),
            expected);
}

TEST(PackedJoint, CountsWhatTheTensorsCount) {
  constexpr int64_t kWidth = 24, kStreams = 3;
  auto model = random_model({.streams = kStreams, .joint = kWidth, .joint_weight = 0.5}, 1);
  const TrustFusion& fusion = model->fusion();
  const PackedJoint joint(fusion, fusion.state_dict());
  std::vector<at::Tensor> features;
  int64_t of_tokens = 0;
  for (size_t m = 0; m < kStreams; ++m) {
    features.push_back(at::zeros({1, fusion.config().widths[m]}));
    of_tokens += joint.multiply_adds_of_token(m);
  }
  at::NoGradGuard no_grad;
  EXPECT_EQ(count_multiply_adds([&] { fusion.joint()->tokens(features); }), of_tokens);
  at::Tensor tokens = fusion.joint()->tokens(features), heard = at::ones({1, kStreams}, at::kBool);
  EXPECT_EQ(count_multiply_adds([&] { fusion.joint()->logits(tokens, heard); }),
            joint.multiply_adds(kStreams));
}

}  // namespace
}  // namespace plait::runtime
