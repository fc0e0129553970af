#include "plait/api/trust_fitting.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>

#include "plait/api/fused_trainable.h"
#include "plait/api/task_targets.h"
#include "plait/core/error.h"
#include "plait/core/log.h"
#include "plait/models/trust/evidence.h"
#include "plait/train/trust/trust_sets.h"
#include "plait/train/trust/trust_values.h"

namespace plait::api {
namespace {

constexpr int64_t kItemsPerClassAndFold = 8;
constexpr int64_t kLeastItems = 40;  ///< With labels or values
constexpr int64_t kValueBank = 5000;
constexpr int64_t kValidation = int64_t{1} << 32;  ///< Sets their items apart from training items

int64_t most_variants(const models::FusedNetwork& network, const train::FeatureDataset& data) {
  int64_t out = 1;
  for (const std::string& stream : network.stream_names())
    out = std::max(out, data.variants(stream));
  return out;
}

/// Every stream that has it shown as `variant`.
std::shared_ptr<train::FeatureDataset> all_as(const models::FusedNetwork& network,
                                              const train::FeatureDataset& data, int64_t variant,
                                              const std::vector<std::string>& only = {}) {
  std::map<std::string, int64_t> which;
  for (const std::string& stream : network.stream_names()) {
    if (variant < data.variants(stream)) which[stream] = variant;
  }
  return data.fix(which, {}, only);
}

/// What the network and the experts say of the validation items: of every subset of the streams,
/// clean and with each stream damaged in turn.
train::TrustItems validation_items(models::FusedNetwork& network, const std::string& task,
                                   const models::TrustModel& trust,
                                   const train::FeatureDataset& validation) {
  const auto& names = network.stream_names();
  std::vector<train::TrustItems> parts;
  const bool exact = static_cast<int64_t>(names.size()) <= models::TrustModel::kMaxExactStreams;
  const int64_t subsets = int64_t{1} << names.size();
  for (int64_t subset = exact ? 1 : subsets - 1; subset < subsets; ++subset) {
    std::vector<std::string> only;
    for (size_t m = 0; m < names.size(); ++m) {
      if (subset >> m & 1) only.push_back(names[m]);
    }
    std::vector<std::map<std::string, int64_t>> damages = {{}};
    for (const std::string& s : only) {
      for (int64_t v = 1; v < validation.variants(s); ++v) damages.push_back({{s, v}});
    }
    for (const auto& damage : damages) {
      Answers answers = answer_all(network, *validation.fix(damage, {}, only));
      if (!answers.weights.defined()) continue;
      train::TrustItems part;
      part.evidence =
          gather_evidence(trust, names, answers.pooled, answers.quality, answers.present);
      at::Tensor target = get(answers.targets, task, "trust");
      part.target = fusion_target(trust.fusion(), target);
      part.item = answers.rows + kValidation;
      const auto kind = damage.empty() ? train::ItemKind::kClean : train::ItemKind::kCopy;
      part.kind = at::full_like(part.item, static_cast<int64_t>(kind));
      part.joint = joint_scores(trust.fusion(), answers.tasks.at(task));
      parts.push_back(train::select(part, is_known(target).nonzero().squeeze(1)));
    }
  }
  require(!parts.empty(), "trust", "expected validation items");
  train::TrustItems out = parts.front();
  for (size_t i = 1; i < parts.size(); ++i) out = train::stack(out, parts[i]);
  return out;
}

/// Out-of-fold items with what the network itself says of the clean ones, for every subset of the
/// streams; `rows` [N] says which item of `data` an item of the fit is.
train::TrustItems with_joint(models::FusedNetwork& network, const std::string& task,
                             const models::TrustFusion& fusion, const train::FeatureDataset& data,
                             const at::Tensor& rows, const train::TrustItems& items) {
  const auto& names = network.stream_names();
  train::TrustItems out = items;
  at::Tensor bits = models::TrustFusion::subset_of(items.evidence.present);
  out.joint = at::full({items.target.size(0), items.evidence.log_probabilities.size(2)},
                       std::numeric_limits<float>::quiet_NaN());
  at::Tensor seen = std::get<0>(at::_unique(bits));
  for (int64_t i = 0; i < seen.size(0); ++i) {
    const auto subset = seen[i].item<int64_t>();
    std::vector<std::string> only;
    for (size_t m = 0; m < names.size(); ++m) {
      if (subset >> m & 1) only.push_back(names[m]);
    }
    Answers answers = answer_all(network, *data.fix({}, {}, only));
    if (!answers.weights.defined()) continue;
    at::Tensor table =
        at::full({data.size(), out.joint.size(1)}, std::numeric_limits<float>::quiet_NaN());
    table.index_copy_(0, answers.rows, joint_scores(fusion, answers.tasks.at(task)));
    at::Tensor here = at::logical_and(bits == seen[i],
                                      items.kind == static_cast<int64_t>(train::ItemKind::kClean))
                          .nonzero()
                          .squeeze(1);
    at::Tensor source = rows.index_select(0, items.item.index_select(0, here));
    out.joint.index_copy_(0, here, table.index_select(0, source));
  }
  return out;
}

/// [N, R] values of items: of the fit's own (`fitted` [n, R]) and of the validation set.
at::Tensor values_of(const train::TrustItems& items, const at::Tensor& fitted,
                     const at::Tensor& validation) {
  at::Tensor own = items.item < kValidation;
  at::Tensor rows = items.item.clamp_max(fitted.size(0) - 1);
  at::Tensor others = (items.item - kValidation).clamp(0, validation.size(0) - 1);
  return at::where(own.unsqueeze(1), fitted.index_select(0, rows),
                   validation.index_select(0, others));
}

}  // namespace

bool all_frozen(const models::FusedNetwork& network) {
  for (const std::string& stream : network.stream_names()) {
    if (!network.config().at("streams").at(stream).get("frozen", false)) return false;
  }
  return true;
}

TrustDataset trust_data(models::FusedNetwork& network, const std::string& task,
                        const train::FeatureDataset& data) {
  const auto& names = network.stream_names();
  TrustDataset all;
  train::TrustData& out = all.items;
  out.features.resize(names.size());
  out.quality.resize(names.size());
  at::Tensor labelled;
  for (int64_t v = 0; v < most_variants(network, data); ++v) {
    Answers answers = answer_all(network, *all_as(network, data, v));
    require(answers.weights.defined(), "trust", "expected items with at least one stream");
    if (v == 0) {
      at::Tensor target = get(answers.targets, task, "trust");
      labelled = is_known(target).nonzero().squeeze(1);
      out.target = target.index_select(0, labelled);
      out.present = answers.present.index_select(0, labelled);
      all.rows = answers.rows.index_select(0, labelled);
      out.group = data.groups().index_select(0, all.rows);
    }
    for (size_t m = 0; m < names.size(); ++m) {
      out.features[m].push_back(answers.pooled.at(names[m]).index_select(0, labelled));
      out.quality[m].push_back(
          answers.quality.select(1, static_cast<int64_t>(m)).index_select(0, labelled));
    }
  }
  return all;
}

std::vector<at::Tensor> in_order(const std::vector<std::string>& streams,
                                 const std::map<std::string, at::Tensor>& pooled) {
  std::vector<at::Tensor> out;
  for (const std::string& stream : streams) {
    auto given = pooled.find(stream);
    out.push_back(given == pooled.end() ? at::Tensor() : given->second);
  }
  return out;
}

models::Evidence gather_evidence(const models::TrustModel& trust,
                                 const std::vector<std::string>& streams,
                                 const std::map<std::string, at::Tensor>& pooled,
                                 const at::Tensor& quality, const at::Tensor& present) {
  std::vector<at::Tensor> features = in_order(streams, pooled);
  for (at::Tensor& x : features) {
    if (x.defined()) x = x.to(at::kCPU, at::kFloat);
  }
  return trust.fusion().gather(features, quality.to(at::kCPU, at::kFloat),
                               present.to(at::kCPU, at::kBool));
}

std::shared_ptr<models::TrustModel> fit_trust_model(models::FusedNetwork& network,
                                                    const std::string& task,
                                                    const train::FeatureDataset& train,
                                                    const train::FeatureDataset& validation,
                                                    const TrustFitting& options) {
  at::NoGradGuard no_grad;
  const bool frozen = all_frozen(network);
  const Json& config = network.task_config(task);
  const TaskKind kind = kind_of(config);
  require(kind != TaskKind::kOther, "trust", "expected a task of classes, labels or values");
  const auto classes =
      kind == TaskKind::kClasses ? static_cast<int64_t>(config.at("labels").size()) : int64_t{2};
  const train::FeatureDataset& source = frozen ? train : validation;
  auto [data, rows] = trust_data(network, task, source);
  const int64_t least = kind == TaskKind::kClasses ? kItemsPerClassAndFold * classes : kLeastItems;
  if (data.size() < least) {
    log_warning("trust", "too few items to fit the trust fusion: expected at least " +
                             std::to_string(least) + ", got " + std::to_string(data.size()));
    return nullptr;
  }
  const at::Tensor target = data.target;
  train::TrustOptions fitting = options.fit;
  // A density says more of an item than a class: gates need fewer of them, which cost more each.
  if (kind == TaskKind::kValues) fitting.min_bank = std::min(fitting.min_bank, kValueBank);
  if (kind == TaskKind::kLabels && target.size(1) == 1) data.target = target.squeeze(1);
  train::TrustFit fit = kind == TaskKind::kValues
                            ? train::fit_trust_values(data, target, network.stream_names(), fitting)
                            : train::fit_trust(data, network.stream_names(), classes, fitting);
  auto model = std::make_shared<models::TrustModel>(fit.trust);
  train::TrustItems items = train::every_subset(
      train::out_of_fold_items(fit, options.calibration.seed), options.calibration.seed);
  // In the second case the experts were fitted on the validation items: only what they said of
  // them out of fold counts.
  items = frozen ? train::stack(items, validation_items(network, task, *model, validation))
                 : with_joint(network, task, model->fusion(), source, rows, items);
  train::calibrate_trust(*model, items, options.calibration);
  if (kind == TaskKind::kLabels) train::fit_label_sets(*model, items);
  if (kind == TaskKind::kValues) {
    at::Tensor others = get(validation.targets(), task, "trust");
    train::fit_intervals(*model, items, values_of(items, target, others));
  }
  return model;
}

}  // namespace plait::api
