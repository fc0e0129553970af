// The trust engine against the tensors that it stands for, on fusions of random weights.
#include "plait/runtime/trust_engine.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <thread>

#include "../train/gaussian_views.h"
#include "plait/core/error.h"
#include "plait/runtime/multiply_adds.h"
#include "plait/train/trust/fit_trust.h"
#include "random_trust.h"

namespace plait::runtime {
namespace {

class TrustEngineShapes : public ::testing::TestWithParam<Shape> {};

TEST_P(TrustEngineShapes, SaysWhatTheTensorsSay) {
  for (uint64_t seed = 0; seed < 3; ++seed) {
    auto model = random_model(GetParam(), seed);
    const Items items = random_items(*model, seed + 100);
    for (const VectorLoops* loops : vector_loops()) {
      SCOPED_TRACE(std::string(loops->name) + ", seed " + std::to_string(seed));
      const TrustEngine engine(model, *loops);
      expect_same(engine.decide(items.pooled, items.quality, items.present, items.joint),
                  by_tensors(*model, items));
      expect_same(engine.decide(items.pooled, items.quality, items.present),
                  by_tensors(*model, items, /*joint=*/false));
    }
  }
}

TEST_P(TrustEngineShapes, DrawsTheSameSets) {
  auto model = random_model(GetParam(), 5);
  const TrustEngine engine(model);
  const Items items = random_items(*model, 6);
  TrustModel::Verdict verdict =
      engine.decide(items.pooled, items.quality, items.present, items.joint);
  for (double coverage : {0.5, 0.9, 0.999}) {
    for (bool by_class : {false, true}) {
      EXPECT_TRUE(at::equal(engine.prediction_sets(verdict, coverage, by_class),
                            model->prediction_sets(verdict, coverage, by_class)))
          << coverage << by_class;
    }
  }
  EXPECT_THROW(engine.prediction_sets(verdict, 1), Error);
}

TEST_P(TrustEngineShapes, AnswersAlikeInBatchesAndStepByStep) {
  auto model = random_model(GetParam(), 8);
  const TrustEngine engine(model);
  const Items items = random_items(*model, 9);
  TrustModel::Verdict all = engine.decide(items.pooled, items.quality, items.present);
  for (int64_t i = 0; i < items.present.size(0); ++i) {
    const Items one = items.row(i);
    TrustModel::Verdict alone = engine.decide(one.pooled, one.quality, one.present);
    std::vector<TrustEngine::Look> looks(one.pooled.size());
    for (size_t m = 0; m < looks.size(); ++m) {
      if (one.present[0][static_cast<int64_t>(m)].item<bool>())
        looks[m] = engine.look(m, one.pooled[m]);
    }
    TrustModel::Verdict stepwise = engine.decide(looks, one.quality);
    for (auto member : {&TrustModel::Verdict::log_probabilities, &TrustModel::Verdict::breakage,
                        &TrustModel::Verdict::support, &TrustModel::Verdict::weights}) {
      EXPECT_TRUE(at::equal((alone.*member)[0], (all.*member)[i]));
      EXPECT_TRUE(at::equal(stepwise.*member, alone.*member));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, TrustEngineShapes,
                         ::testing::Values(Shape{}, Shape{2, 2}, Shape{1, 3}, Shape{4, 5, 0, 33},
                                           Shape{3, 17, 8, 0}, Shape{5, 100}, Shape{12, 7}),
                         [](const auto& shape) {
                           return std::to_string(shape.param.streams) + "streams" +
                                  std::to_string(shape.param.classes) + "classes";
                         });

TEST(TrustEngine, IsTheSameAfterSavingAndLoading) {
  auto model = random_model({}, 1);
  auto fusion = std::make_shared<TrustFusion>(model->fusion().config());
  fusion->load_state_dict(model->fusion().state_dict());
  auto again = std::make_shared<TrustModel>(fusion);
  again->load_json(Json::parse(model->to_json().dump()));
  const Items items = random_items(*model, 2);
  const TrustEngine before(model), after(again);
  TrustModel::Verdict a = before.decide(items.pooled, items.quality, items.present, items.joint),
                      b = after.decide(items.pooled, items.quality, items.present, items.joint);
  EXPECT_TRUE(at::equal(a.log_probabilities, b.log_probabilities));
  EXPECT_TRUE(at::equal(before.prediction_sets(a, 0.9), after.prediction_sets(b, 0.9)));
}

// The regression of a fit has weights of a thousand and more that all but cancel out: 1e-7 of a
// kernel's value would be 1e-4 of a logarithm.
TEST(TrustEngine, IsExactOnAFit) {
  train::TrustOptions options;
  options.expert_epochs = 10;
  options.gate_epochs = 2;
  options.min_bank = 2000;
  auto fusion =
      train::fit_trust(train::gaussian_classes(240, 1), {"a", "b", "c"}, train::kClasses, options)
          .trust;
  auto model = std::make_shared<TrustModel>(fusion);
  const TrustEngine engine(model);
  const train::TrustData data = train::gaussian_classes(200, 2);
  at::NoGradGuard no_grad;
  const TensorMap weights = fusion->state_dict();
  for (size_t m = 0; m < data.features.size(); ++m) {
    auto exact = [&](const std::string& name) {
      return weights.at("experts." + std::to_string(m) + "." + name).to(at::kDouble);
    };
    const at::Tensor x = data.features[m][0];
    at::Tensor z = ((x - exact("scale.mean")) / exact("scale.deviation")).clamp(-100, 100);
    at::Tensor apart = (z.unsqueeze(1) - exact("radial.landmarks")).square().sum(-1);
    at::Tensor scores = at::matmul((-exact("radial.gamma") * apart).exp(), exact("radial.weight")) +
                        exact("radial.mean");
    at::Tensor frequency = exact("frequency");
    at::Tensor radial = frequency.log() + (scores.narrow(1, 0, train::kClasses) - frequency) /
                                              exact("radial_temperature");
    const auto says = fusion->expert(m).says(x);
    auto tempered = [&](const at::Tensor& logits) {
      return at::log_softmax(logits / fusion->expert(m).temperature(), -1);
    };
    at::Tensor expected = tempered(at::lerp(radial, says.network.to(at::kDouble), exact("share")));
    at::Tensor tensors = tempered(fusion->expert(m).mix(says));
    at::Tensor loops = at::empty_like(tensors);
    for (int64_t i = 0; i < x.size(0); ++i) {
      const TrustEngine::Look look = engine.look(m, x[i]);
      for (int64_t k = 0; k < train::kClasses; ++k)
        loops[i][k] = look.record[static_cast<size_t>(k)];
    }
    const double of_tensors = (tensors - expected).abs().max().item<double>(),
                 of_loops = (loops - expected).abs().max().item<double>();
    EXPECT_LE(of_tensors, 1e-5);
    EXPECT_LE(of_loops, 2e-5);
  }
  at::Tensor quality = at::ones({200, train::kViews});
  TrustModel::Verdict a = engine.decide(data.clean(), quality, data.present),
                      b = model->decide(fusion->gather(data.clean(), quality, data.present));
  EXPECT_LE((a.log_probabilities.exp() - b.log_probabilities.exp()).abs().max().item<double>(),
            2e-5);
  EXPECT_LE((a.breakage - b.breakage).abs().max().item<double>(), 1e-4);
}

TEST(TrustEngine, RefusesWhatItCannotAnswer) {
  auto model = random_model({}, 1);
  const TrustEngine engine(model);
  const Items good = random_items(*model, 2);
  auto decide = [&](const Items& items) {
    return engine.decide(items.pooled, items.quality, items.present, items.joint);
  };
  EXPECT_NO_THROW(decide(good));
  Items bad = good;
  bad.present = at::zeros_like(good.present);
  EXPECT_THROW(decide(bad), Error);
  bad = good, bad.pooled.pop_back();
  EXPECT_THROW(decide(bad), Error);
  bad = good, bad.pooled[0] = bad.pooled[0].narrow(1, 0, 1);
  EXPECT_THROW(decide(bad), Error);
  bad = good, bad.pooled[0] = bad.pooled[0].narrow(0, 0, 1);
  EXPECT_THROW(decide(bad), Error);
  bad = good, bad.pooled[0] = at::Tensor();
  EXPECT_THROW(decide(bad), Error);
  bad = good, bad.joint = bad.joint.narrow(1, 0, 2);
  EXPECT_THROW(decide(bad), Error);
  bad = good, bad.present = at::ones_like(good.present);  // Where it is absent it holds NaN
  EXPECT_THROW(decide(bad), Error);
  EXPECT_THROW(engine.look(7, good.pooled[0]), Error);
  EXPECT_THROW(engine.decide({}, good.quality), Error);
  // A stream that nobody has need not be given.
  Items without = good.row(0);
  without.pooled[1] = without.pooled[2] = at::Tensor();
  EXPECT_NO_THROW(decide(without));
}

TEST(TrustEngine, CoversOneChoiceAmongClasses) {
  TrustFusion::Config config = TrustFusion::Config::tiny();
  auto made = [&] { return std::make_shared<TrustModel>(std::make_shared<TrustFusion>(config)); };
  EXPECT_TRUE(TrustEngine::covers(*made()));
  EXPECT_NO_THROW(TrustEngine{made()});
  config.questions = 2;
  EXPECT_FALSE(TrustEngine::covers(*made()));
  EXPECT_THROW(TrustEngine{made()}, Error);
  config.questions = 1;
  config.joint = 0;
  config.candidates = true;
  EXPECT_FALSE(TrustEngine::covers(*made()));
  config.candidates = false;
  config.values = true;
  config.classes = 8;
  EXPECT_FALSE(TrustEngine::covers(*made()));
}

TEST(TrustEngine, CountsItsMultiplyAdds) {
  auto model = random_model({}, 1);
  const TrustEngine engine(model);
  const Items items = random_items(*model, 2);
  int64_t expected = 0;
  for (int64_t subset = 1; subset < 8; ++subset) expected += engine.multiply_adds(subset);
  EXPECT_EQ(count_multiply_adds(
                [&] { engine.decide(items.pooled, items.quality, items.present, items.joint); }),
            expected);
  EXPECT_GT(engine.multiply_adds(7), engine.multiply_adds(3));
  // Three quarters of the landmarks are in use, each a distance and a row of weights.
  EXPECT_GT(engine.multiply_adds(1), 75 * (3 + 9));
}

TEST(TrustEngine, AnswersManyThreadsAtOnce) {
  auto model = random_model({}, 3);
  const TrustEngine engine(model);
  const Items items = random_items(*model, 4);
  const at::Tensor expected =
      engine.decide(items.pooled, items.quality, items.present).log_probabilities;
  std::vector<int> same(4, 1);
  std::vector<std::thread> threads;
  for (int& own : same) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        own &= at::equal(
            engine.decide(items.pooled, items.quality, items.present).log_probabilities, expected);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int own : same) EXPECT_TRUE(own);
}

TEST(VectorLoops, KernelsAreExponentialsOfDistances) {
  auto generator = at::detail::createCPUGenerator(1);
  const int64_t inputs = 37, columns = 83, items = 6;
  const at::Tensor around = at::randn({inputs, columns}, generator),
                   x = at::randn({items, inputs}, generator);
  const PackedMatrix packed(around);
  for (const VectorLoops* loops : vector_loops()) {
    for (double rate : {0.0, 0.01, 1.0, 30.0}) {
      at::Tensor got = at::empty({items, packed.room()}, at::kDouble),
                 rounded = at::empty({items, packed.room()});
      loops->kernels(packed.panels(), x.const_data_ptr<float>(), inputs, items, rate,
                     got.mutable_data_ptr<double>(), rounded.mutable_data_ptr<float>(),
                     packed.room());
      EXPECT_TRUE(at::equal(rounded, got.to(at::kFloat)));
      at::Tensor apart =
          (x.unsqueeze(2).to(at::kDouble) - around.unsqueeze(0)).square().sum(1) * rate;
      at::Tensor expected = at::where(apart > 87, at::zeros_like(apart), (-apart).exp());
      at::Tensor off = (got.narrow(1, 0, columns) - expected).abs();
      EXPECT_LE(off.max().item<double>(), 1e-7) << loops->name << " " << rate;
    }
  }
}

TEST(VectorLoops, GeluIsThatOfTheTensors) {
  const at::Tensor x = at::cat(
      {at::linspace(-16, 16, 8192),
       at::tensor({0.0, -0.0, 1e-30, -1e-30, 1e4, -1e4, 1e30, -1e30}, at::kFloat), at::zeros({8})});
  ASSERT_EQ(x.scalar_type(), at::kFloat);
  const at::Tensor expected = at::gelu(x.to(at::kDouble));
  for (const VectorLoops* loops : vector_loops()) {
    at::Tensor got = x.clone();
    loops->gelu(got.mutable_data_ptr<float>(), got.size(0));
    at::Tensor off = (got - expected).abs() / x.abs().clamp_min(1);
    EXPECT_LE(off.max().item<double>(), 2e-7) << loops->name;
  }
}

TEST(VectorLoops, MultiplyDoublesKeepsTheirDigits) {
  auto generator = at::detail::createCPUGenerator(2);
  const at::Tensor x = at::randn({5, 143}, generator, at::kDouble),
                   matrix = at::randn({143, 35}, generator);
  const PackedMatrix packed(matrix);
  for (const VectorLoops* loops : vector_loops()) {
    at::Tensor got = at::empty({5, packed.room()}, at::kDouble);
    loops->multiply_doubles(packed.panels(), x.const_data_ptr<double>(), 143, 5,
                            got.mutable_data_ptr<double>(), packed.room());
    at::Tensor off = got.narrow(1, 0, 35) - at::matmul(x, matrix.to(at::kDouble));
    EXPECT_LE(off.abs().max().item<double>(), 1e-12) << loops->name;
  }
}

}  // namespace
}  // namespace plait::runtime
