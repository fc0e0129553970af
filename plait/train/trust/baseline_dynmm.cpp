#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_dynamic.h"

namespace plait::train {
namespace {

/// The networks of each view and that of all views.
class Branches : public models::Module {
 public:
  Branches(const TrustData& train, int64_t classes, const DynMmOptions& options) {
    const auto views = static_cast<int64_t>(train.features.size());
    single = add<ViewNetworks>("single", train, classes, options);
    joint = add<JointNetwork>("joint", train, classes, options.hidden * views, options);
  }
  /// [B, M + 1, K]; all views last.
  at::Tensor logits(const ViewItems& items) const {
    return at::cat({single->logits(items), (*joint)(items).unsqueeze(1)}, 1);
  }
  std::shared_ptr<ViewNetworks> single;
  std::shared_ptr<JointNetwork> joint;
};

class Gated : public DynMm {
 public:
  Gated(const TrustData& train, int64_t classes, const DynMmOptions& options)
      : branches(train, classes, options),
        gate(train, static_cast<int64_t>(train.features.size()) + 1, options.hidden, options) {
    widths_ = train.widths();
  }
  /// [B, M + 1] scores of the branches; one that lacks its view cannot win.
  at::Tensor scores(const ViewItems& items) const {
    at::Tensor all = at::ones({items.present.size(0), 1}, at::kBool);
    return gate(items).masked_fill(at::cat({items.present, all}, 1).logical_not(), -1e9);
  }
  at::Tensor used(const std::vector<at::Tensor>& features,
                  const at::Tensor& present) const override {
    at::NoGradGuard no_grad;
    at::Tensor branch = scores(checked(features, present, {})).argmax(1);
    const int64_t views = present.size(1);
    at::Tensor chosen = at::one_hot(branch, views + 1).to(at::kBool);
    return present.logical_and(chosen.slice(1, 0, views).logical_or(chosen.slice(1, views)));
  }
  Branches branches;
  JointNetwork gate;

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    at::Tensor logits = branches.logits(items);
    at::Tensor branch = scores(items).argmax(1).view({-1, 1, 1});
    return at::log_softmax(logits.gather(1, branch.expand({-1, 1, logits.size(2)})).squeeze(1), 1);
  }
};

/// One-hot of the best of the scores [B, N] under Gumbel noise, with the slope of their softmax.
at::Tensor gumbel_choice(const at::Tensor& scores, double temperature, at::Generator& generator) {
  at::Tensor uniform = at::rand(scores.sizes(), generator).clamp(1e-7, 1 - 1e-7);
  at::Tensor soft = at::softmax((scores - (-uniform.log()).log()) / temperature, 1);
  at::Tensor hard = at::one_hot(soft.argmax(1), scores.size(1)).to(soft.dtype());
  return hard - soft.detach() + soft;
}

/// [B, M + 1] what each branch costs, in shares of all views.
at::Tensor branch_costs(const at::Tensor& view_cost, const at::Tensor& present) {
  at::Tensor cost = view_cost / view_cost.sum() * present.to(at::kFloat);
  return at::cat({cost, cost.sum(1, true)}, 1);
}

}  // namespace

std::shared_ptr<DynMm> fit_dynmm(const TrustData& train, const TrustData& validation,
                                 int64_t classes, const DynMmOptions& options) {
  check_baseline(train, validation, classes);
  const size_t views = train.features.size();
  const std::vector<double> cost =
      options.view_cost.empty() ? std::vector<double>(views, 1.0) : options.view_cost;
  require(cost.size() == views && options.cost_weight >= 0 && options.temperature > 0 &&
              std::all_of(cost.begin(), cost.end(), [](double c) { return c > 0; }),
          "baselines", "expected a positive cost of every view, a weight and a temperature");
  auto model = std::make_shared<Gated>(train, classes, options);
  // The gate has learnt nothing yet, so nothing can be asked of the whole.
  DynMmOptions first = options;
  first.keep_best = false;
  first.on_epoch = {};
  train_baseline(model->branches, *model, train, validation, first, [&](const ViewBatch& batch) {
    at::Tensor losses = view_losses(model->branches.single->logits(batch), batch.target);
    return mean_of_present(losses, batch.present) +
           at::cross_entropy_loss((*model->branches.joint)(batch), batch.target);
  });
  const at::Tensor view_cost = at::tensor(cost, at::kFloat);
  at::Generator noise = at::detail::createCPUGenerator(mix_seed(options.seed, 4));
  train_baseline(model->gate, *model, train, validation, options, [&](const ViewBatch& batch) {
    at::Tensor choice = gumbel_choice(model->scores(batch), options.temperature, noise);
    at::Tensor logits = (model->branches.logits(batch) * choice.unsqueeze(2)).sum(1);
    at::Tensor spent = (choice * branch_costs(view_cost, batch.present)).sum(1).mean();
    return at::cross_entropy_loss(logits, batch.target) + options.cost_weight * spent;
  });
  return model;
}

}  // namespace plait::train
