#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_dynamic.h"

namespace plait::train {
namespace {

using Views = std::vector<int64_t>;

bool is_set_of(const Views& set, int64_t views) {
  return std::adjacent_find(set.begin(), set.end(), std::greater_equal<>()) == set.end() &&
         (set.empty() || (set.front() >= 0 && set.back() < views));
}

/// [M] bool
at::Tensor mask_of(const Views& set, int64_t views) {
  at::Tensor out = at::zeros({views}, at::kBool);
  for (int64_t m : set) out[m] = true;
  return out;
}

/// The networks of each view, those of the sets and that of all views, in this order.
class Branches : public models::Module {
 public:
  Branches(const TrustData& train, int64_t classes, const DynMmOptions& options) {
    const auto views = static_cast<int64_t>(train.features.size());
    single_ = add<ViewNetworks>("single", train, classes, options);
    joint_ = add<models::ModuleList<JointNetwork>>("joint");
    std::vector<at::Tensor> masks = {at::eye(views, at::kBool)};
    std::vector<Views> sets = options.view_sets;
    sets.emplace_back();
    for (const Views& set : sets) {
      const auto count = set.empty() ? views : static_cast<int64_t>(set.size());
      joint_->append<>(train, classes, options.hidden * count, options, set);
      masks.push_back(
          (set.empty() ? at::ones({views}, at::kBool) : mask_of(set, views)).view({1, views}));
    }
    views_ = at::cat(masks, 0);
  }
  /// [B, branches, K]
  at::Tensor logits(const ViewItems& items) const {
    std::vector<at::Tensor> out = {single_->logits(items)};
    for (const auto& network : *joint_) out.push_back((*network)(items).unsqueeze(1));
    return at::cat(out, 1);
  }
  /// Of every branch its own.
  at::Tensor loss(const ViewBatch& batch) const {
    at::Tensor out =
        mean_of_present(view_losses(single_->logits(batch), batch.target), batch.present);
    for (const auto& network : *joint_)
      out = out + at::cross_entropy_loss((*network)(batch), batch.target);
    return out;
  }
  /// [branches, M] bool
  const at::Tensor& views() const { return views_; }

 private:
  std::shared_ptr<ViewNetworks> single_;
  std::shared_ptr<models::ModuleList<JointNetwork>> joint_;
  at::Tensor views_;
};

using Gates = models::ModuleList<JointNetwork>;

class Gated : public DynMm {
 public:
  Gated(const TrustData& train, std::shared_ptr<Branches> branches,
        std::shared_ptr<JointNetwork> gate, const Views& seen)
      : branches_(std::move(branches)), gate_(std::move(gate)) {
    widths_ = train.widths();
    const int64_t views = branches_->views().size(1);
    seen_ = seen.empty() ? at::ones({views}, at::kBool) : mask_of(seen, views);
  }
  /// [B, branches] scores; a branch that lacks a view cannot win, but for that of all views.
  at::Tensor scores(const ViewItems& items) const {
    at::Tensor whole = items.present.unsqueeze(1)
                           .logical_or(branches_->views().logical_not())
                           .all(2)
                           .logical_or(branches_->views().all(1));
    return (*gate_)(items).masked_fill(whole.logical_not(), -1e9);
  }
  at::Tensor used(const std::vector<at::Tensor>& features,
                  const at::Tensor& present) const override {
    at::NoGradGuard no_grad;
    at::Tensor branch = scores(checked(features, present, {})).argmax(1);
    return present.logical_and(branches_->views().index_select(0, branch));
  }
  at::Tensor needed(const std::vector<at::Tensor>& features,
                    const at::Tensor& present) const override {
    return present.logical_and(used(features, present).logical_or(seen_));
  }

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    at::Tensor logits = branches_->logits(items);
    at::Tensor branch = scores(items).argmax(1).view({-1, 1, 1});
    return at::log_softmax(logits.gather(1, branch.expand({-1, 1, logits.size(2)})).squeeze(1), 1);
  }

 private:
  std::shared_ptr<Branches> branches_;
  std::shared_ptr<JointNetwork> gate_;
  at::Tensor seen_;  ///< [M] bool
};

/// One-hot of the best of the scores [B, N] under Gumbel noise, with the slope of their softmax.
at::Tensor gumbel_choice(const at::Tensor& scores, double temperature, at::Generator& generator) {
  at::Tensor uniform = at::rand(scores.sizes(), generator).clamp(1e-7, 1 - 1e-7);
  at::Tensor soft = at::softmax((scores - (-uniform.log()).log()) / temperature, 1);
  at::Tensor hard = at::one_hot(soft.argmax(1), scores.size(1)).to(soft.dtype());
  return hard - soft.detach() + soft;
}

void check_gates(const DynMmOptions& options, const std::vector<DynMmGate>& gates, int64_t views) {
  require(options.temperature > 0 && !gates.empty() && (gates.size() == 1 || !options.keep_best),
          "baselines", "expected a temperature, a gate, and the best epoch of one gate only");
  for (const Views& set : options.view_sets)
    require(set.size() > 1 && is_set_of(set, views), "baselines",
            "expected sets of two views or more, rising");
  for (const DynMmGate& gate : gates)
    require(gate.cost_weight >= 0 && is_set_of(gate.views, views), "baselines",
            "expected a weight of the cost and views of the gate, rising");
}

}  // namespace

std::vector<std::shared_ptr<DynMm>> fit_dynmm_gates(const TrustData& train,
                                                    const TrustData& validation, int64_t classes,
                                                    const DynMmOptions& options,
                                                    const std::vector<DynMmGate>& gates) {
  check_baseline(train, validation, classes);
  const size_t views = train.features.size();
  const std::vector<double> cost =
      options.view_cost.empty() ? std::vector<double>(views, 1.0) : options.view_cost;
  require(
      cost.size() == views && std::all_of(cost.begin(), cost.end(), [](double c) { return c > 0; }),
      "baselines", "expected a positive cost of every view");
  check_gates(options, gates, static_cast<int64_t>(views));

  auto branches = std::make_shared<Branches>(train, classes, options);
  Gates networks;
  std::vector<std::shared_ptr<Gated>> models;
  std::vector<at::Tensor> spent;  // [branches, M] views that each branch costs
  for (const DynMmGate& gate : gates) {
    auto network =
        networks.append<>(train, branches->views().size(0), options.hidden, options, gate.views);
    models.push_back(std::make_shared<Gated>(train, branches, network, gate.views));
    spent.push_back(branches->views().logical_or(mask_of(gate.views, static_cast<int64_t>(views))));
  }
  // The gates have learnt nothing yet, so nothing can be asked of the whole.
  DynMmOptions first = options;
  first.keep_best = false;
  first.on_epoch = {};
  train_baseline(*branches, *models.front(), train, validation, first,
                 [&](const ViewBatch& batch) { return branches->loss(batch); });
  at::Tensor share = at::tensor(cost, at::kFloat);
  share = share / share.sum();
  at::Generator noise = at::detail::createCPUGenerator(mix_seed(options.seed, 4));
  train_baseline(
      networks, *models.front(), train, validation, options, [&](const ViewBatch& batch) {
        const at::Tensor logits = branches->logits(batch);
        const at::Tensor present = share * batch.present.to(at::kFloat);  // [B, M]
        at::Tensor loss;
        for (size_t i = 0; i < models.size(); ++i) {
          at::Tensor choice = gumbel_choice(models[i]->scores(batch), options.temperature, noise);
          at::Tensor costs = at::matmul(present, spent[i].to(at::kFloat).t());
          at::Tensor own =
              at::cross_entropy_loss((logits * choice.unsqueeze(2)).sum(1), batch.target) +
              gates[i].cost_weight * (choice * costs).sum(1).mean();
          loss = loss.defined() ? loss + own : own;
        }
        return loss;
      });
  return {models.begin(), models.end()};
}

std::shared_ptr<DynMm> fit_dynmm(const TrustData& train, const TrustData& validation,
                                 int64_t classes, const DynMmOptions& options) {
  return fit_dynmm_gates(train, validation, classes, options, {{options.cost_weight, {}}}).front();
}

}  // namespace plait::train
