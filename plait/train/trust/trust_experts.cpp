#include "plait/train/trust/trust_experts.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/models/trust/questions.h"
#include "plait/train/calibrate.h"
#include "plait/train/optimizer.h"
#include "plait/train/schedule.h"
#include "plait/train/trust/trust_joint.h"

namespace plait::train {
namespace {

using models::RadialRegression;
using models::StreamExpert;
using models::TrustFusion;

constexpr int64_t kShapeItems = 600;  ///< That kernels and ridges are chosen on

/// Trains one expert on the items that have the stream.
void train_expert(StreamExpert& expert, const std::vector<at::Tensor>& variants,
                  const at::Tensor& target, const TrustOptions& options, uint64_t seed,
                  bool learns) {
  at::AutoGradMode grad(true);
  expert.fit_scale(variants[0]);
  expert.initialize(seed);
  if (!learns) return expert.requires_grad_(false);
  expert.train(true);
  auto generator = at::detail::createCPUGenerator(mix_seed(seed, 1));
  expert.set_generator(generator);
  ParameterGroup group{expert.named_parameters(), 1.0, options.weight_decay};
  for (auto& [name, tensor] : group.parameters) tensor.requires_grad_(true);
  AdamW optimizer({group}, {});
  const int64_t n = target.size(0), batch = std::min(options.batch_size, n);
  const int64_t steps = options.expert_epochs * ((n + batch - 1) / batch);
  int64_t step = 0;
  for (int64_t epoch = 0; epoch < options.expert_epochs; ++epoch) {
    at::Tensor x = draw_copies(variants, generator);
    for (const at::Tensor& rows : at::randperm(n, generator).split(batch)) {
      const auto [logits, answers] = models::by_question(expert.network(x.index_select(0, rows)),
                                                         target.index_select(0, rows));
      at::Tensor loss = at::cross_entropy_loss(logits, answers, {}, at::Reduction::Mean, -1,
                                               options.label_smoothing);
      optimizer.zero_grad();
      loss.backward();
      optimizer.step(options.expert_lr *
                     learning_rate_factor("cosine", step++, /*warmup=*/0, steps));
    }
  }
  expert.train(false);
  expert.requires_grad_(false);
}

/// NLL of logits at the temperature that is best for them.
double tempered_loss(const at::Tensor& all_logits, const at::Tensor& all_targets) {
  const auto [logits, target] = models::by_question(all_logits, all_targets);
  return at::nll_loss(at::log_softmax(logits / fit_temperature(logits, target), -1), target)
      .item<double>();
}

/// The radial basis functions of an expert that knows its scale.
RadialRegression::Shape choose_shape(const StreamExpert& expert, const at::Tensor& x,
                                     const at::Tensor& target, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  at::Tensor some =
      at::randperm(x.size(0), generator).narrow(0, 0, std::min<int64_t>(x.size(0), kShapeItems));
  at::Tensor labels = target.index_select(0, some);
  return expert.choose_radial(x.index_select(0, some), labels, [&](const at::Tensor& scores) {
    return tempered_loss(scores, labels);
  });
}

/// The same for an expert that has no classes: what tells most of the other streams.
RadialRegression::Shape choose_shape_for(const StreamExpert& expert, const at::Tensor& x,
                                         const at::Tensor& aims, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  at::Tensor some =
      at::randperm(x.size(0), generator).narrow(0, 0, std::min<int64_t>(x.size(0), kShapeItems));
  at::Tensor told = aims.index_select(0, some);
  return expert.choose_radial(x.index_select(0, some), told, [&](const at::Tensor& left) {
    return (left - told).square().mean().item<double>();
  });
}

/// Fits the radial parts to the classes and to the coordinates of all streams, and the consistency
/// to what they tell of items left out. Shapes that `shapes` does not hold yet are chosen.
void fit_radial(TrustFusion& trust, const TrustData& data,
                std::vector<RadialRegression::Shape>& shapes, uint64_t seed) {
  const size_t streams = data.features.size();
  std::vector<at::Tensor> coordinates, known;
  for (size_t m = 0; m < streams; ++m) {
    at::Tensor z = trust.coordinates_of(trust.features_of(data.clean(), data.present, m), m);
    at::Tensor mean = z.index_select(0, rows_with(data, m)).mean(0);
    at::Tensor here = data.present.select(1, static_cast<int64_t>(m)).unsqueeze(1);
    coordinates.push_back(z);
    known.push_back(at::where(here, z, mean));
  }
  at::Tensor all = at::cat(known, 1);
  std::vector<at::Tensor> told;
  for (size_t m = 0; m < streams; ++m) {
    StreamExpert& expert = trust.expert(m);
    at::Tensor rows = rows_with(data, m);
    std::vector<at::Tensor> variants;
    for (const at::Tensor& x : data.features[m])
      variants.push_back(x.to(at::kFloat).index_select(0, rows));
    at::Tensor x = variants[0], labels = data.target.index_select(0, rows);
    at::Tensor aim = all.index_select(0, rows);
    if (shapes.size() <= m) {
      shapes.push_back(trust.config().candidates
                           ? choose_shape_for(expert, x, aim, mix_seed(seed, m, 3))
                           : choose_shape(expert, x, labels, mix_seed(seed, m, 3)));
    }
    if (variants.size() > 1) {
      auto generator = at::detail::createCPUGenerator(mix_seed(seed, m, 4));
      x = at::cat({x, draw_copies(variants, generator)});
      labels = at::cat({labels, labels});
      aim = aim.repeat({2, 1});
    }
    at::Tensor left = expert.fit_radial(
        x, labels, aim, shapes[m], mix_seed(seed, m, 5), [&](const at::Tensor& logits) {
          const auto [scores, answers] = models::by_question(logits, labels);
          return fit_temperature(scores, answers);
        });
    told.push_back(at::zeros_like(all).index_copy(0, rows, left.narrow(0, 0, rows.size(0))));
  }
  trust.consistency().fit(told, coordinates, data.present);
}

}  // namespace

TrustData rows_of(const TrustData& data, const at::Tensor& rows) {
  TrustData out;
  auto pick = [&](const std::vector<std::vector<at::Tensor>>& from) {
    std::vector<std::vector<at::Tensor>> to;
    for (const auto& variants : from) {
      to.emplace_back();
      for (const at::Tensor& x : variants) to.back().push_back(x.index_select(0, rows));
    }
    return to;
  };
  out.features = pick(data.features);
  out.quality = pick(data.quality);
  out.present = data.present.index_select(0, rows);
  out.target = data.target.index_select(0, rows);
  if (data.group.defined()) out.group = data.group.index_select(0, rows);
  return out;
}

at::Tensor rows_with(const TrustData& data, size_t m) {
  return data.present.select(1, static_cast<int64_t>(m)).nonzero().squeeze(1);
}

std::shared_ptr<TrustFusion> train_experts(const TrustData& data, const TrustFusion::Config& config,
                                           const TrustOptions& options,
                                           std::vector<RadialRegression::Shape>& shapes,
                                           uint64_t seed) {
  auto trust = std::make_shared<TrustFusion>(config);
  if (options.grid) trust->set_grid(*options.grid);
  for (size_t m = 0; m < data.features.size(); ++m) {
    at::Tensor rows = rows_with(data, m);
    require(rows.size(0) >= 2, "trust",
            ("expected at least two training items with the stream " + config.streams[m]).c_str());
    std::vector<at::Tensor> variants;
    for (const at::Tensor& x : data.features[m])
      variants.push_back(x.to(at::kFloat).index_select(0, rows));
    at::Tensor target = data.target.index_select(0, rows);
    StreamExpert& expert = trust->expert(m);
    train_expert(expert, variants, target, options, mix_seed(seed, m), !config.candidates);
    expert.density().fit(expert.standardise(variants[0]), expert.density_target(target));
  }
  if (config.landmarks > 0) fit_radial(*trust, data, shapes, seed);
  train_joint(*trust, data, options, mix_seed(seed, 99));
  return trust;
}

void choose_shares(TrustFusion& trust, const std::vector<Fold>& folds) {
  for (size_t m = 0; m < trust.config().streams.size(); ++m) {
    if (!trust.expert(m).has_radial() || trust.config().candidates) continue;
    std::vector<at::Tensor> network, radial, target;
    for (const Fold& fold : folds) {
      at::Tensor rows = rows_with(fold.held_out, m);
      StreamExpert::Says says =
          fold.without->expert(m).says(fold.held_out.features[m][0].index_select(0, rows));
      network.push_back(says.network);
      radial.push_back(says.radial);
      target.push_back(fold.held_out.target.index_select(0, rows));
    }
    at::Tensor a = at::cat(network), b = at::cat(radial), y = at::cat(target);
    double least = std::numeric_limits<double>::infinity(), best = 0.5;
    for (double share : {0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0}) {
      const double now = tempered_loss(share * a + (1 - share) * b, y);
      if (now < least) least = now, best = share;
    }
    trust.expert(m).set_share(best);
    for (const Fold& fold : folds) fold.without->expert(m).set_share(best);
  }
}

}  // namespace plait::train
