#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_dynamic.h"

namespace plait::train {
namespace {

/// [..., K] of the views' logits; none where a view is absent, which leaves an opinion without
/// belief, the neutral element of the combination.
std::vector<at::Tensor> evidence_of_views(const ViewNetworks& networks, const ViewItems& items) {
  std::vector<at::Tensor> out;
  for (size_t m = 0; m < items.features.size(); ++m) {
    at::Tensor here = items.present.select(1, static_cast<int64_t>(m)).unsqueeze(1);
    out.push_back(at::softplus(networks(m, items.features[m]).logits) * here);
  }
  return out;
}

at::Tensor combined_evidence(const std::vector<at::Tensor>& evidence) {
  Opinion all = opinion_of(evidence[0]);
  for (size_t m = 1; m < evidence.size(); ++m) all = combine_opinions(all, opinion_of(evidence[m]));
  return evidence_of(all);
}

/// KL(Dir(alpha) ‖ Dir(1)), [B, K] → [B].
at::Tensor divergence_from_even(const at::Tensor& alpha) {
  at::Tensor sum = alpha.sum(1, true);
  at::Tensor log_ratio = at::lgamma(sum).squeeze(1) - at::lgamma(alpha).sum(1) -
                         std::lgamma(static_cast<double>(alpha.size(1)));
  return log_ratio + ((alpha - 1) * (at::digamma(alpha) - at::digamma(sum))).sum(1);
}

/// [B]
at::Tensor evidential_loss(const at::Tensor& evidence, const at::Tensor& target, double annealing) {
  at::Tensor alpha = evidence + 1;
  at::Tensor of_target = alpha.gather(1, target.unsqueeze(1));
  at::Tensor miss = (at::digamma(alpha.sum(1, true)) - at::digamma(of_target)).squeeze(1);
  at::Tensor truth = at::one_hot(target, evidence.size(1)).to(evidence.dtype());
  return miss + annealing * divergence_from_even(evidence * (1 - truth) + 1);
}

class Tmc : public ViewClassifier {
 public:
  Tmc(const TrustData& train, int64_t classes, const TmcOptions& options)
      : networks(std::make_shared<ViewNetworks>(train, classes, options)) {
    widths_ = train.widths();
  }
  const std::shared_ptr<ViewNetworks> networks;

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    at::Tensor alpha = combined_evidence(evidence_of_views(*networks, items)) + 1;
    return alpha.log() - alpha.sum(1, true).log();
  }
};

}  // namespace

Opinion opinion_of(const at::Tensor& evidence) {
  const auto classes = static_cast<double>(evidence.size(-1));
  at::Tensor total = evidence.sum(-1, true) + classes;
  return {evidence / total, classes / total};
}

at::Tensor evidence_of(const Opinion& opinion) {
  return opinion.belief * (static_cast<double>(opinion.belief.size(-1)) / opinion.uncertainty);
}

Opinion combine_opinions(const Opinion& first, const Opinion& second) {
  at::Tensor belief = first.belief * second.belief + first.belief * second.uncertainty +
                      second.belief * first.uncertainty;
  at::Tensor uncertainty = first.uncertainty * second.uncertainty;
  // What is left when conflict is taken away is 1 − C; as a sum it keeps its digits where C is
  // near 1.
  at::Tensor agreed = belief.sum(-1, true) + uncertainty;
  return {belief / agreed, uncertainty / agreed};
}

std::shared_ptr<ViewClassifier> fit_tmc(const TrustData& train, const TrustData& validation,
                                        int64_t classes, const TmcOptions& options) {
  check_baseline(train, validation, classes);
  require(options.annealing_epochs > 0, "baselines", "expected a positive number of epochs");
  auto model = std::make_shared<Tmc>(train, classes, options);
  train_baseline(*model->networks, *model, train, validation, options, [&](const ViewBatch& batch) {
    const double annealing = std::min(1.0, batch.epoch / options.annealing_epochs);
    std::vector<at::Tensor> evidence = evidence_of_views(*model->networks, batch);
    std::vector<at::Tensor> losses;
    for (const at::Tensor& e : evidence)
      losses.push_back(evidential_loss(e, batch.target, annealing));
    return mean_of_present(at::stack(losses, 1), batch.present) +
           evidential_loss(combined_evidence(evidence), batch.target, annealing).mean();
  });
  return model;
}

}  // namespace plait::train
