#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_dynamic.h"

namespace plait::train {
namespace {

constexpr double kSmall = 1e-7;

at::Tensor memberships(const at::Tensor& logits, double norm) {
  at::Tensor length = logits.abs().clamp_min(1e-12).pow(norm).sum(-1, true).pow(1 / norm);
  return at::relu(logits / length);
}

/// [B, K] of [B, M, K]; `credible` [B, M, K] says how far each view is to be trusted.
at::Tensor fused_membership(const at::Tensor& membership, const at::Tensor& credible,
                            const at::Tensor& present) {
  at::Tensor trust = (1 - fuzzy_uncertainty(credible)) * (1 - view_conflict(membership, present));
  // −1e9 and not −∞: an item may have no view at all.
  at::Tensor weight = at::softmax(trust.masked_fill(present.logical_not(), -1e9), 1);
  return (membership * (weight * present.to(at::kFloat)).unsqueeze(2)).sum(1);
}

/// [...] of credibility [..., K]: the yes-or-no cross entropies of all classes.
at::Tensor credibility_loss(const at::Tensor& credible, const at::Tensor& truth) {
  at::Tensor right = credible.clamp_min(kSmall).log(),
             wrong = (1 - credible).clamp_min(kSmall).log();
  return -(truth * right + (1 - truth) * wrong).sum(-1);
}

class Fuml : public ViewClassifier {
 public:
  Fuml(const TrustData& train, int64_t classes, const FumlOptions& options)
      : networks(train, classes, options), norm(options.norm) {
    widths_ = train.widths();
  }
  ViewNetworks networks;
  const double norm;

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    at::Tensor membership = memberships(networks.logits(items), norm);
    at::Tensor answer =
        credibility(fused_membership(membership, credibility(membership), items.present))
            .clamp_min(kSmall);
    return (answer / answer.sum(1, true)).log();
  }
};

}  // namespace

at::Tensor credibility(const at::Tensor& membership, const at::Tensor& target) {
  const int64_t classes = membership.size(-1);
  if (classes == 1) return membership;
  if (!target.defined()) {
    auto [top, where] = membership.topk(2, -1);
    at::Tensor first = at::one_hot(where.select(-1, 0), classes).to(at::kBool);
    at::Tensor other = at::where(first, top.slice(-1, 1, 2), top.slice(-1, 0, 1));
    return (membership + 1 - other) / 2;
  }
  at::Tensor truth = at::one_hot(target, classes).to(at::kBool);
  while (truth.dim() < membership.dim()) truth = truth.unsqueeze(1);
  at::Tensor none = at::zeros({}, membership.options());
  at::Tensor of_truth = at::where(truth, membership, none).amax(-1, true);
  at::Tensor of_others = at::where(truth, none, membership).amax(-1, true);
  return (membership + 1 - at::where(truth, of_others, of_truth)) / 2;
}

at::Tensor fuzzy_uncertainty(const at::Tensor& credibility) {
  at::Tensor no = 1 - credibility;
  at::Tensor entropy =
      -(credibility * credibility.clamp_min(kSmall).log() + no * no.clamp_min(kSmall).log());
  return entropy.mean(-1) / std::log(2.0);
}

at::Tensor view_conflict(const at::Tensor& membership, const at::Tensor& present) {
  at::Tensor here = present.to(membership.dtype());
  // The norm's slope at 0 is not finite, so an epsilon stands under the root.
  at::Tensor unit = membership / (membership.square().sum(-1, true) + 1e-12).sqrt();
  at::Tensor conflict = 1 - at::matmul(unit, unit.transpose(1, 2));  // [B, M, M]
  at::Tensor self = at::eye(here.size(1), conflict.options());
  at::Tensor pairs = here.unsqueeze(1) * here.unsqueeze(2) * (1 - self);
  return (conflict * pairs).sum(2) / pairs.sum(2).clamp_min(1);
}

std::shared_ptr<ViewClassifier> fit_fuml(const TrustData& train, const TrustData& validation,
                                         int64_t classes, const FumlOptions& options) {
  check_baseline(train, validation, classes);
  require(options.norm >= 1, "baselines", "expected a norm of at least 1");
  auto model = std::make_shared<Fuml>(train, classes, options);
  train_baseline(model->networks, *model, train, validation, options, [&](const ViewBatch& batch) {
    at::Tensor membership = memberships(model->networks.logits(batch), options.norm);
    at::Tensor credible = credibility(membership, batch.target);
    at::Tensor fused =
        credibility(fused_membership(membership, credible, batch.present), batch.target);
    at::Tensor truth = at::one_hot(batch.target, classes).to(at::kFloat);
    return credibility_loss(fused, truth).mean() +
           mean_of_present(credibility_loss(credible, truth.unsqueeze(1)), batch.present);
  });
  return model;
}

}  // namespace plait::train
