#include "plait/api/fused_trainable.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <numeric>

#include "plait/core/log.h"
#include "plait/train/metrics.h"

namespace plait::api {
namespace {

constexpr double kCollapsed = 0.97;  ///< Mean weight of one stream

/// Rows of several batches, joined; scalars (such as a learned scale) are kept as they are.
at::Tensor join(const std::vector<at::Tensor>& parts) {
  if (parts.front().dim() == 0) return parts.front();
  return at::cat(parts, 0);
}

}  // namespace

train::LossOutput FusedTrainable::loss(const Batch& batch) {
  models::FusedOutput output = network_->forward(batch);
  train::LossOutput out;
  out.loss = network_->loss(batch, output);
  at::Tensor mean = output.weights.detach().mean(0);
  for (size_t m = 0; m < network_->stream_names().size(); ++m) {
    out.scalars["weight/" + network_->stream_names()[m]] = mean[static_cast<int64_t>(m)];
  }
  return out;
}

train::Scalars FusedTrainable::evaluate(train::BatchSource& source, int64_t batch_size) {
  train::Scalars out = train::Trainable::evaluate(source, batch_size);
  Answers answers = answer_all(*network_, source, batch_size);
  watch_weights(answers, out);
  bool first = true;
  for (const std::string& task : network_->task_names()) {
    auto target = answers.targets.find(task);
    auto logits = answers.tasks.at(task).find("logits");
    if (target == answers.targets.end() || logits == answers.tasks.at(task).end()) continue;
    for (const auto& [name, value] : train::classification_metrics(
             at::softmax(logits->second.to(at::kDouble), -1), target->second)) {
      out[(first ? "" : task + "/") + name] = value;
    }
    first = false;
  }
  return out;
}

void FusedTrainable::watch_weights(const Answers& answers, train::Scalars& out) {
  const auto& names = network_->stream_names();
  if (!answers.weights.defined() || names.size() < 2) return;
  // Of items that leave the fusion a choice.
  at::Tensor rows = (answers.present.sum(1) >= 2).nonzero().squeeze(1);
  if (rows.size(0) == 0) return;
  at::Tensor mean = answers.weights.index_select(0, rows).to(at::kDouble).mean(0);
  at::Tensor entropy = -(mean * mean.clamp_min(1e-12).log()).sum();
  out["weight_entropy"] = entropy.item<double>() / std::log(static_cast<double>(names.size()));
  auto [most, which] = mean.max(0);
  if (most.item<double>() < kCollapsed || warned_) return;
  warned_ = true;
  log_warning("train",
              "the fusion has collapsed onto the stream \"" +
                  names[static_cast<size_t>(which.item<int64_t>())] +
                  "\": it has nearly all of the weight; raise modality_dropout, or give the "
                  "other streams more to learn from");
}

Answers answer_all(models::FusedNetwork& network, train::BatchSource& source, int64_t batch_size) {
  at::NoGradGuard no_grad;
  const bool was_training = network.training();
  network.train_mode(false);
  std::map<std::string, std::map<std::string, std::vector<at::Tensor>>> tasks;
  std::map<std::string, std::vector<at::Tensor>> experts, targets, pooled;
  std::vector<at::Tensor> weights, present, quality, rows;
  auto keep = [](const at::Tensor& t) { return t.detach().to(at::kCPU, at::kFloat); };
  for (int64_t begin = 0; begin < source.size(); begin += batch_size) {
    std::vector<int64_t> indices(static_cast<size_t>(std::min(batch_size, source.size() - begin)));
    std::iota(indices.begin(), indices.end(), begin);
    Batch batch = source.batch(indices, train::kEvaluationSeed);
    at::Tensor answerable = batch.presence(network.stream_names()).to(at::kCPU).any(1);
    if (!answerable.all().item<bool>()) {
      std::vector<int64_t> rest;
      for (size_t i = 0; i < indices.size(); ++i) {
        if (answerable[static_cast<int64_t>(i)].item<bool>()) rest.push_back(indices[i]);
      }
      if (rest.empty()) continue;
      batch = source.batch(rest, train::kEvaluationSeed);
      indices = std::move(rest);
    }
    rows.push_back(at::tensor(indices, at::kLong));
    models::FusedOutput output = network.forward(batch);
    for (const auto& [task, values] : output.tasks) {
      for (const auto& [name, value] : values) tasks[task][name].push_back(keep(value));
    }
    for (const auto& [task, value] : output.experts) experts[task].push_back(keep(value));
    for (const auto& [task, value] : batch.targets) targets[task].push_back(value);
    for (const std::string& name : network.stream_names()) {
      auto given = output.pooled.find(name);
      pooled[name].push_back(given == output.pooled.end()
                                 ? at::zeros({batch.size, network.encoder(name).width()})
                                 : keep(given->second));
    }
    weights.push_back(keep(output.weights));
    present.push_back(output.present.to(at::kCPU));
    quality.push_back(keep(output.quality));
  }
  network.train_mode(was_training);
  Answers out;
  if (weights.empty()) return out;
  for (const auto& [task, values] : tasks) {
    for (const auto& [name, parts] : values) out.tasks[task][name] = join(parts);
  }
  for (const auto& [task, parts] : experts) out.experts[task] = join(parts);
  for (const auto& [task, parts] : targets) out.targets[task] = join(parts);
  for (const auto& [name, parts] : pooled) out.pooled[name] = join(parts);
  out.weights = join(weights);
  out.rows = join(rows);
  out.present = join(present);
  out.quality = join(quality);
  return out;
}

}  // namespace plait::api
