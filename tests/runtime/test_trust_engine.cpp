// The trust engine against the tensors that it stands for, on fusions of random weights.
#include "plait/runtime/trust_engine.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "../tolerance.h"
#include "../train/gaussian_views.h"
#include "plait/core/error.h"
#include "plait/models/trust/evidence.h"
#include "plait/runtime/multiply_adds.h"
#include "plait/train/trust/fit_trust.h"

namespace plait::runtime {
namespace {

using models::Decider;
using models::TrustFusion;
using models::TrustModel;

// Shares of next to no evidence are quotients of rounding errors.
constexpr double kShares = 5e-4;

struct Shape {
  int64_t streams = 3, classes = 9, hidden = 16, landmarks = 100;
};

std::ostream& operator<<(std::ostream& out, const Shape& s) {
  return out << s.streams << " streams, " << s.classes << " classes, hidden " << s.hidden << ", "
             << s.landmarks << " landmarks";
}

/// A TrustModel whose every number is drawn, within what fits give.
std::shared_ptr<TrustModel> random_model(const Shape& shape, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  auto normal = [&](at::IntArrayRef sizes) { return at::randn(sizes, generator); };
  auto uniform = [&](at::IntArrayRef sizes, double low, double high) {
    return low + (high - low) * at::rand(sizes, generator);
  };
  TrustFusion::Config config;
  for (int64_t m = 0; m < shape.streams; ++m) {
    config.streams.push_back("s" + std::to_string(m));
    config.widths.push_back(3 + 11 * m);
  }
  config.classes = shape.classes;
  config.hidden = shape.hidden;
  config.landmarks = shape.landmarks;
  auto fusion = std::make_shared<TrustFusion>(config);
  TensorMap weights = fusion->state_dict();
  auto ends_with = [](const std::string& name, const std::string& end) {
    return name.size() >= end.size() &&
           name.compare(name.size() - end.size(), end.size(), end) == 0;
  };
  for (auto& [name, tensor] : weights) {
    const auto sizes = tensor.sizes().vec();
    at::Tensor value;
    auto is = [&](const char* end) { return ends_with(name, end); };
    if (is("deviation") || is("density.scale") || is("density.limit") || is("temperature")) {
      value = uniform(sizes, 0.6, 2.5);
    } else if (is("density.reference")) {
      value = std::get<0>(uniform(sizes, 1, 9).sort());
    } else if (is("whitening")) {
      value = at::eye(sizes[0]) + 0.2 * normal(sizes);
    } else if (is("density.components")) {
      value = normal(sizes) / std::sqrt(static_cast<double>(sizes[0]));
    } else if (is("radial.gamma")) {
      value = at::full({}, 0.1);
    } else if (is("radial.weight")) {
      value = 0.1 * normal(sizes);
      // As after a fit to fewer items than landmarks.
      value.narrow(0, sizes[0] - sizes[0] / 4, sizes[0] / 4).zero_();
    } else if (is("frequency")) {
      value = at::softmax(normal(sizes), 0);
    } else if (is("log_prior")) {
      value = at::log_softmax(0.5 * normal(sizes), 0);
    } else if (is("share") || is("strength")) {
      value = uniform(sizes, 0.1, 0.9);
    } else if (is("fitted")) {
      value = uniform(sizes, 0, 1).gt(0.2).to(at::kFloat);
    } else if (name == "scale") {
      value = uniform(sizes, 0.3, 1.2);
    } else if (is("weight")) {
      value = normal(sizes) / std::sqrt(static_cast<double>(sizes.back()));
    } else {
      value = 0.5 * normal(sizes);
    }
    tensor = value;
  }
  fusion->load_state_dict(weights);
  fusion->train(false);

  auto model = std::make_shared<TrustModel>(fusion);
  std::vector<int64_t> ranking(static_cast<size_t>(shape.streams));
  at::Tensor order = at::randperm(shape.streams, generator);
  for (size_t m = 0; m < ranking.size(); ++m)
    ranking[m] = order[static_cast<int64_t>(m)].item<int64_t>();
  model->set_ranking(ranking);
  const std::vector<Decider> deciders{Decider::kTrust,   Decider::kJoint, Decider::kRobustProduct,
                                      Decider::kProduct, Decider::kMean,  Decider::kBestSingle};
  const int64_t groups = shape.streams <= TrustModel::kMaxExactStreams
                             ? (int64_t{1} << shape.streams) - 1
                             : shape.streams;
  // One group keeps the standard choice.
  for (int64_t g = 1; g < groups; ++g) {
    TrustModel::Choice choice;
    choice.decider = deciders[(static_cast<size_t>(g) + seed) % deciders.size()];
    choice.temperature = uniform({}, 0.6, 2).item<double>();
    choice.slope = uniform({}, -0.5, 2).item<double>();
    model->set_choice(g, choice);
  }
  model->set_suspicion_bins({0.3, 0.6});
  constexpr int64_t kItems = 900;
  at::Tensor said = at::log_softmax(2 * normal({kItems, shape.classes}), 1);
  at::Tensor target = at::randint(shape.classes, {kItems}, generator, at::kLong);
  at::Tensor group = at::randint(3 * (groups + 1), {kItems}, generator, at::kLong);
  model->set_sets(models::ConformalSets::fit(said, target, group));
  return model;
}

struct Items {
  std::vector<at::Tensor> pooled;
  at::Tensor quality, present, joint;

  Items row(int64_t i) const {
    Items out{{}, quality.narrow(0, i, 1), present.narrow(0, i, 1), joint.narrow(0, i, 1)};
    for (const at::Tensor& x : pooled) out.pooled.push_back(x.narrow(0, i, 1));
    return out;
  }
};

/// Every subset of up to 6 streams, of more as many drawn ones; usual, loud and broken features.
/// What is absent holds NaN.
Items random_items(const TrustModel& model, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  const auto& config = model.fusion().config();
  const auto streams = static_cast<int64_t>(config.streams.size());
  constexpr int64_t kMost = 64;
  std::vector<int64_t> subsets;
  if (streams <= 6) {
    for (int64_t s = 1; s < int64_t{1} << streams; ++s) subsets.push_back(s);
  } else {
    at::Tensor drawn = at::randint(1, int64_t{1} << streams, {kMost}, generator, at::kLong);
    for (int64_t i = 0; i < kMost; ++i) subsets.push_back(drawn[i].item<int64_t>());
  }
  const auto count = static_cast<int64_t>(subsets.size());
  Items out{{},
            at::rand({count, streams}, generator),
            at::zeros({count, streams}, at::kBool),
            at::randn({count, config.classes}, generator)};
  for (int64_t m = 0; m < streams; ++m) {
    at::Tensor x = at::randn({count, config.widths[static_cast<size_t>(m)]}, generator);
    x = x * at::exp(at::randn({count, 1}, generator));
    for (int64_t i = 0; i < count; ++i) {
      const bool here = subsets[static_cast<size_t>(i)] >> m & 1;
      out.present[i][m] = here;
      if (!here) x[i].fill_(std::numeric_limits<float>::quiet_NaN());
      if (here && i % 11 == 0) x[i].mul_(1e6);
      if (here && i % 13 == 0) x[i][0] = 1e30;
    }
    out.pooled.push_back(x);
  }
  return out;
}

TrustModel::Verdict by_tensors(const TrustModel& model, const Items& items, bool joint = true) {
  at::NoGradGuard no_grad;
  return model.decide(model.fusion().gather(items.pooled, items.quality, items.present),
                      joint ? items.joint : at::Tensor());
}

void expect_near(const at::Tensor& a, const at::Tensor& b) {
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_TRUE(b.isfinite().all().item<bool>());
  const tests::Tolerance allowed = tests::parity(at::kFloat);
  EXPECT_LE((a - b).abs().max().item<double>(),
            allowed.absolute + allowed.relative * b.abs().max().item<double>());
}

void expect_same(const TrustModel::Verdict& engine, const TrustModel::Verdict& tensors) {
  expect_near(engine.log_probabilities, tensors.log_probabilities);
  expect_near(engine.breakage, tensors.breakage);
  expect_near(engine.support, tensors.support);
  EXPECT_LE((engine.weights - tensors.weights).abs().max().item<double>(), kShares);
  EXPECT_TRUE(engine.deciders == tensors.deciders);
  EXPECT_TRUE(at::equal(engine.group, tensors.group));
}

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
