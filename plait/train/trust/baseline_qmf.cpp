#include <ATen/ATen.h>

#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_dynamic.h"

namespace plait::train {
namespace {

class Qmf : public ViewClassifier {
 public:
  explicit Qmf(const TrustData& train, int64_t classes, const QmfOptions& options)
      : networks(std::make_shared<ViewNetworks>(train, classes, options)) {
    widths_ = train.widths();
  }
  const std::shared_ptr<ViewNetworks> networks;

  static at::Tensor combine(const at::Tensor& logits, const at::Tensor& weight,
                            const at::Tensor& present) {
    return (logits * (weight * present.to(at::kFloat)).unsqueeze(2)).sum(1);
  }

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    at::Tensor logits = networks->logits(items);
    return at::log_softmax(combine(logits, energy_weight(logits), items.present), 1);
  }
};

/// [B, M] penalty of each item against its neighbour in the batch (the last against the first).
at::Tensor rank_penalty(const at::Tensor& weight, const at::Tensor& history) {
  at::Tensor gap = history - at::roll(history, -1, 0);
  return (at::sign(gap) * (weight - at::roll(weight, -1, 0)) + gap.abs()).clamp_min(0);
}

}  // namespace

at::Tensor energy_weight(const at::Tensor& logits) { return at::logsumexp(logits, -1) / 10; }

std::shared_ptr<ViewClassifier> fit_qmf(const TrustData& train, const TrustData& validation,
                                        int64_t classes, const QmfOptions& options) {
  check_baseline(train, validation, classes);
  auto model = std::make_shared<Qmf>(train, classes, options);
  at::Tensor history = at::zeros(train.present.sizes());
  train_baseline(*model->networks, *model, train, validation, options, [&](const ViewBatch& batch) {
    at::Tensor logits = model->networks->logits(batch);
    at::Tensor weight = energy_weight(logits);
    at::Tensor losses = view_losses(logits, batch.target);
    // The fused loss shall not raise the weights: only the ranking teaches them.
    at::Tensor fused = Qmf::combine(logits, weight.detach(), batch.present);
    history.index_add_(0, batch.rows, losses.detach() * batch.present);
    at::Tensor low = history.amin(0), span = (history.amax(0) - low).clamp_min(1e-12);
    at::Tensor kappa = (history.index_select(0, batch.rows) - low) / span;
    at::Tensor pairs = batch.present.logical_and(at::roll(batch.present, -1, 0));
    return at::cross_entropy_loss(fused, batch.target) + mean_of_present(losses, batch.present) +
           options.rank_weight * mean_of_present(rank_penalty(weight, kappa), pairs);
  });
  return model;
}

}  // namespace plait::train
