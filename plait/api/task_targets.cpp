#include "plait/api/task_targets.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "plait/api/features.h"
#include "plait/core/error.h"

namespace plait::api {
namespace {

/// The sample's label; null where it has none.
const Json* label_of(const Sample& sample, const std::string& task) {
  auto it = sample.labels.find(task);
  return it == sample.labels.end() || it->second.is_null() ? nullptr : &it->second;
}

[[noreturn]] void refuse(const Sample& sample, const std::string& task, const char* expected) {
  fail(ErrorCode::kInvalidArgument, "features",
       sample.id + ": expected " + expected + " for the task \"" + task + "\"");
}

std::vector<std::string> names_of(const Sample& sample, const std::string& task,
                                  const Json& label) {
  if (!label.is_array()) refuse(sample, task, "a list of labels");
  return label.as_strings();
}

std::vector<double> numbers_of(const Sample& sample, const std::string& task, const Json& label) {
  if (!label.is_array() && !label.is_number()) refuse(sample, task, "a number or a list of them");
  return label.is_array() ? label.as_doubles() : std::vector<double>{label.as_double()};
}

at::Tensor label_targets(const std::vector<Sample>& samples, const std::string& name,
                         const std::vector<std::string>& labels) {
  const auto n = static_cast<int64_t>(samples.size()), count = static_cast<int64_t>(labels.size());
  at::Tensor out = at::full({n, count}, -1, at::kLong);
  for (size_t i = 0; i < samples.size(); ++i) {
    const Json* label = label_of(samples[i], name);
    if (!label) continue;
    at::Tensor row = out[static_cast<int64_t>(i)].fill_(0);
    for (const std::string& one : names_of(samples[i], name, *label)) {
      auto found = std::find(labels.begin(), labels.end(), one);
      if (found == labels.end()) refuse(samples[i], name, "labels that the model has");
      row[found - labels.begin()] = 1;
    }
  }
  return out;
}

at::Tensor value_targets(const std::vector<Sample>& samples, const std::string& name,
                         int64_t outputs) {
  at::Tensor out = at::full({static_cast<int64_t>(samples.size()), outputs},
                            std::numeric_limits<double>::quiet_NaN(), at::kDouble);
  for (size_t i = 0; i < samples.size(); ++i) {
    const Json* label = label_of(samples[i], name);
    if (!label) continue;
    const std::vector<double> numbers = numbers_of(samples[i], name, *label);
    if (static_cast<int64_t>(numbers.size()) != outputs)
      refuse(samples[i], name, "as many numbers as the model has outputs");
    out[static_cast<int64_t>(i)].copy_(at::tensor(numbers, at::kDouble));
  }
  return out;
}

void complete_values(Json& task, const std::string& name, const std::vector<Sample>& train) {
  if (!task.contains("outputs")) {
    for (const Sample& sample : train) {
      const Json* label = label_of(sample, name);
      if (!label) continue;
      task["outputs"] = static_cast<int64_t>(numbers_of(sample, name, *label).size());
      break;
    }
  }
  if (task.contains("scale") || !task.contains("outputs")) return;
  at::Tensor y = value_targets(train, name, task.at("outputs").as_int());
  y = y.index_select(0, is_known(y).nonzero().squeeze(1));
  if (y.size(0) < 2) return;
  at::Tensor mean = y.mean(0), scale = y.std(0, /*unbiased=*/false);
  if ((scale <= 1e-12 * (1 + y.abs().amax(0))).any().item<bool>()) {
    fail(ErrorCode::kInvalidArgument, "train",
         "expected values of the task \"" + name + "\" that are not all alike");
  }
  auto list = [](const at::Tensor& x) {
    return Json(
        std::vector<double>(x.const_data_ptr<double>(), x.const_data_ptr<double>() + x.numel()));
  };
  task["location"] = list(mean.contiguous());
  task["scale"] = list(scale.contiguous());
}

}  // namespace

TaskKind kind_of(const Json& task) {
  const std::string type = task.get("type", "");
  return type == "classification" ? TaskKind::kClasses
         : type == "multi_label"  ? TaskKind::kLabels
         : type == "regression"   ? TaskKind::kValues
                                  : TaskKind::kOther;
}

void complete_task(Json& task, const std::string& name, const std::vector<Sample>& train,
                   const std::vector<std::string>& classes) {
  const TaskKind kind = kind_of(task);
  if (kind == TaskKind::kValues) return complete_values(task, name, train);
  if (task.contains("labels")) return;
  if (kind == TaskKind::kClasses) task["labels"] = classes;
  if (kind != TaskKind::kLabels) return;
  std::set<std::string> seen;
  for (const Sample& sample : train) {
    const Json* label = label_of(sample, name);
    if (!label) continue;
    for (const std::string& one : names_of(sample, name, *label)) seen.insert(one);
  }
  task["labels"] = std::vector<std::string>(seen.begin(), seen.end());
}

at::Tensor targets_of(const std::vector<Sample>& samples, const std::string& name,
                      const Json& task) {
  switch (kind_of(task)) {
    case TaskKind::kClasses: return class_targets(samples, name, task.at("labels").as_strings());
    case TaskKind::kLabels: return label_targets(samples, name, task.at("labels").as_strings());
    case TaskKind::kValues: return value_targets(samples, name, task.at("outputs").as_int());
    default: return {};
  }
}

at::Tensor is_known(const at::Tensor& target) {
  at::Tensor known = target.is_floating_point() ? target.isfinite() : target >= 0;
  return known.dim() == 1 ? known : known.all(1);
}

at::Tensor fusion_target(const models::TrustFusion& fusion, const at::Tensor& target) {
  if (fusion.grid()) return fusion.grid()->bins_of(target);
  return target.dim() == 2 && target.size(1) == 1 ? target.squeeze(1) : target;
}

at::Tensor joint_scores(const models::TrustFusion& fusion, const TensorMap& outputs) {
  if (const models::ValueGrid* grid = fusion.grid()) {
    at::Tensor mean = get(outputs, "mean", "trust").to(at::kCPU, at::kFloat);
    at::Tensor log_variance = get(outputs, "log_variance", "trust").to(at::kCPU, at::kFloat);
    return grid->gaussian(grid->standardise(mean), log_variance - 2 * grid->scale().log());
  }
  auto labels = outputs.find("label_logits");
  if (labels == outputs.end()) return get(outputs, "logits", "trust").to(at::kCPU, at::kFloat);
  at::Tensor yes = labels->second.to(at::kCPU, at::kFloat);
  return at::stack({at::zeros_like(yes), yes}, -1).flatten(1);
}

bool answers(const models::TrustFusion& fusion, const Json& task) {
  const auto& config = fusion.config();
  switch (kind_of(task)) {
    case TaskKind::kClasses:
      return !config.values && !config.candidates && config.questions == 1 &&
             config.classes == static_cast<int64_t>(task.at("labels").size());
    case TaskKind::kLabels:
      return !config.values && config.classes == 2 &&
             config.questions == static_cast<int64_t>(task.at("labels").size());
    case TaskKind::kValues: return config.values && config.questions == task.at("outputs").as_int();
    default: return config.candidates && task.get("type", "") == "retrieval";
  }
}

}  // namespace plait::api
