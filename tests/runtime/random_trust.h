// TrustModels and items with drawn numbers, and what tensors say of them.
#pragma once
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "../tolerance.h"
#include "plait/models/trust/evidence.h"
#include "plait/models/trust/trust_model.h"

namespace plait::runtime {

using models::Decider;
using models::TrustFusion;
using models::TrustModel;

// Shares of next to no evidence are quotients of rounding errors: little evidence gives them less
// exactly, none (nats below kEvidence) not at all.
inline constexpr double kShares = 5e-4, kEvidence = 0.03;

struct Shape {
  int64_t streams = 3, classes = 9, hidden = 16, landmarks = 100;
  int64_t joint = 0;  ///< Width of the joint expert's tokens
  double joint_weight = 0;
};

inline std::ostream& operator<<(std::ostream& out, const Shape& s) {
  return out << s.streams << " streams, " << s.classes << " classes, hidden " << s.hidden << ", "
             << s.landmarks << " landmarks, joint " << s.joint << " of weight " << s.joint_weight;
}

/// A TrustModel whose every number is drawn, within what fits give. With a joint expert the trust
/// fusion answers for most subsets.
inline std::shared_ptr<TrustModel> random_model(const Shape& shape, uint64_t seed) {
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
  config.joint = shape.joint;
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
    if (is("joint_weight")) {
      value = at::full({}, shape.joint_weight);
    } else if (shape.joint > 0 && (is("density.limit") || is("gate.bias2"))) {
      // Streams are heard unless they are loud.
      value = uniform(sizes, 2, 3) * (is("gate.bias2") ? 1 : 8);
    } else if (is("norm.weight") || is("norm1.weight") || is("norm2.weight")) {
      value = uniform(sizes, 0.6, 1.6);
    } else if (is("deviation") || is("density.scale") || is("density.limit") || is("temperature")) {
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
  std::vector<Decider> deciders{Decider::kTrust,   Decider::kJoint, Decider::kRobustProduct,
                                Decider::kProduct, Decider::kMean,  Decider::kBestSingle};
  if (shape.joint > 0) deciders = {Decider::kTrust, Decider::kTrust, Decider::kMean};
  const int64_t groups = shape.streams <= TrustModel::kMaxExactStreams
                             ? (int64_t{1} << shape.streams) - 1
                             : shape.streams;
  // One group keeps the standard choice.
  for (int64_t g = 1; g < groups; ++g) {
    TrustModel::Choice choice;
    choice.decider = deciders[(static_cast<size_t>(g) + seed) % deciders.size()];
    choice.temperature = uniform({}, 0.6, 2).item<double>();
    choice.slope = uniform({}, -0.5, 2).item<double>();
    choice.conflict_slope = uniform({}, -0.5, 2).item<double>();
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

/// Every subset of up to `most` streams `copies` times, of more 64 drawn ones; usual, loud and
/// broken features, in copies of one stream each. What is absent holds NaN.
inline Items random_items(const TrustModel& model, uint64_t seed, int64_t most = 6,
                          int64_t copies = 1) {
  auto generator = at::detail::createCPUGenerator(seed);
  const auto& config = model.fusion().config();
  const auto streams = static_cast<int64_t>(config.streams.size());
  constexpr int64_t kDrawn = 64;
  std::vector<int64_t> subsets;
  if (streams <= most) {
    for (int64_t c = 0; c < copies; ++c) {
      for (int64_t s = 1; s < int64_t{1} << streams; ++s) subsets.push_back(s);
    }
  } else {
    at::Tensor drawn = at::randint(1, int64_t{1} << streams, {kDrawn}, generator, at::kLong);
    for (int64_t i = 0; i < kDrawn; ++i) subsets.push_back(drawn[i].item<int64_t>());
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
      const bool own = copies == 1 || (i / 11) % streams == m;
      if (here && own && i % 11 == 0) x[i].mul_(1e6);
      if (here && own && i % 13 == 0) x[i][0] = 1e30;
    }
    out.pooled.push_back(x);
  }
  return out;
}

inline TrustModel::Verdict by_tensors(const TrustModel& model, const Items& items,
                                      bool joint = true) {
  at::NoGradGuard no_grad;
  return model.decide(model.fusion().gather(items.pooled, items.quality, items.present),
                      joint ? items.joint : at::Tensor());
}

inline void expect_near(const at::Tensor& a, const at::Tensor& b) {
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_TRUE(b.isfinite().all().item<bool>());
  const tests::Tolerance allowed = tests::parity(at::kFloat);
  EXPECT_LE((a - b).abs().max().item<double>(),
            allowed.absolute + allowed.relative * b.abs().max().item<double>());
}

inline void expect_same(const TrustModel::Verdict& engine, const TrustModel::Verdict& tensors) {
  expect_near(engine.log_probabilities, tensors.log_probabilities);
  expect_near(engine.breakage, tensors.breakage);
  expect_near(engine.support, tensors.support);
  at::Tensor known = tensors.support.abs().amax({1, 2}) > kEvidence;
  at::Tensor apart = (engine.weights - tensors.weights).abs().amax(1);
  EXPECT_LE((apart * known).max().item<double>(), kShares);
  EXPECT_LE((engine.weights.sum(1) - 1).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(engine.deciders == tensors.deciders);
  EXPECT_TRUE(at::equal(engine.group, tensors.group));
}

}  // namespace plait::runtime
