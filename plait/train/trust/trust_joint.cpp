#include "plait/train/trust/trust_joint.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "plait/core/hash.h"
#include "plait/models/trust/questions.h"
#include "plait/train/calibrate.h"
#include "plait/train/optimizer.h"
#include "plait/train/schedule.h"

namespace plait::train {
namespace {

using models::JointExpert;
using models::TrustFusion;

constexpr int64_t kLeastSteps = 4;  ///< An epoch, where the items are few

/// [M][variants] of [N, D_m], bounded; absent rows hold any finite values.
std::vector<std::vector<at::Tensor>> bounded(const TrustFusion& trust, const TrustData& data) {
  std::vector<std::vector<at::Tensor>> out(data.features.size());
  for (size_t m = 0; m < data.features.size(); ++m) {
    for (const at::Tensor& x : data.features[m])
      out[m].push_back(trust.expert(m).bounded(models::where_present(x, data.present, m)));
  }
  return out;
}

}  // namespace

void train_joint(TrustFusion& trust, const TrustData& data, const TrustOptions& options,
                 uint64_t seed) {
  if (!trust.joint()) return;
  JointExpert& joint = *trust.joint();
  const auto variants = bounded(trust, data);
  at::AutoGradMode grad(true);
  joint.initialize(seed);
  joint.train(true);
  auto generator = at::detail::createCPUGenerator(mix_seed(seed, 1));
  ParameterGroup group{joint.named_parameters(), 1.0, options.weight_decay};
  for (auto& [name, tensor] : group.parameters) tensor.requires_grad_(true);
  AdamW optimizer({group}, {});
  const int64_t n = data.size();
  const int64_t batch =
      std::max<int64_t>(1, std::min(options.joint_batch, (n + kLeastSteps - 1) / kLeastSteps));
  const int64_t steps = options.joint_epochs * ((n + batch - 1) / batch);
  int64_t step = 0;
  for (int64_t epoch = 0; epoch < options.joint_epochs; ++epoch) {
    std::vector<at::Tensor> drawn;
    for (const auto& stream : variants) drawn.push_back(draw_copies(stream, generator));
    for (const at::Tensor& rows : at::randperm(n, generator).split(batch)) {
      at::Tensor heard =
          hide_streams(data.present.index_select(0, rows), options.joint_dropout, generator);
      std::vector<at::Tensor> x;
      for (const at::Tensor& stream : drawn) x.push_back(stream.index_select(0, rows));
      const auto [logits, answers] = models::by_question(joint.logits(joint.tokens(x), heard),
                                                         data.target.index_select(0, rows));
      at::Tensor loss = at::cross_entropy_loss(logits, answers);
      optimizer.zero_grad();
      loss.backward();
      optimizer.step(options.joint_lr *
                     learning_rate_factor("cosine", step++, /*warmup=*/0, steps));
    }
  }
  joint.train(false);
  joint.requires_grad_(false);
}

void set_joint_temperature(TrustFusion& trust, const std::vector<Fold>& folds) {
  if (!trust.joint()) return;
  std::vector<at::Tensor> logits, targets;
  for (const Fold& fold : folds) {
    std::vector<at::Tensor> x;
    for (const auto& stream : bounded(*fold.without, fold.held_out)) x.push_back(stream[0]);
    const JointExpert& joint = *fold.without->joint();
    logits.push_back(joint.logits(joint.tokens(x), fold.held_out.present));
    targets.push_back(fold.held_out.target);
  }
  const auto [scores, answers] = models::by_question(at::cat(logits), at::cat(targets));
  trust.joint()->set_temperature(fit_temperature(scores, answers));
}

}  // namespace plait::train
