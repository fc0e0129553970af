// What a training run keeps: checkpoints, from which it goes on, and the best weights so far.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <filesystem>
#include <utility>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/train/training_run.h"

namespace plait::train {
namespace {

/// A figure that was not finite was written as null and is left out.
Scalars scalars_from(const Json& json) {
  Scalars out;
  for (const auto& [name, value] : json.members()) {
    if (value.is_number()) out[name] = value.as_double();
  }
  return out;
}

}  // namespace

void TrainingRun::make_output_dir() {
  std::error_code error;
  std::filesystem::create_directories(args_.output_dir, error);
  if (error)
    fail(ErrorCode::kIo, "train", "cannot make " + args_.output_dir + ": " + error.message());
}

void TrainingRun::resume() {
  if (args_.resume == "none") return start_anew();
  if (args_.resume != "auto") return restore(load_checkpoint(args_.resume), args_.resume);
  for (const std::string& dir : list_checkpoints(args_.output_dir)) {
    Checkpoint checkpoint;
    try {
      checkpoint = load_checkpoint(dir);
    } catch (const Error& e) {
      warn(std::string("skipping a damaged checkpoint: ") + e.what());
      continue;
    }
    return restore(checkpoint, dir);
  }
}

void TrainingRun::start_anew() {
  if (args_.output_dir.empty()) return;
  auto old = list_checkpoints(args_.output_dir);
  if (old.empty()) return;
  if (!args_.overwrite_output_dir) {
    fail(ErrorCode::kInvalidArgument, "train",
         args_.output_dir +
             " holds checkpoints of an earlier run: expected resume \"auto\" to continue it, "
             "overwrite_output_dir to discard it, or another output_dir");
  }
  remove_checkpoints(args_.output_dir);
}

void TrainingRun::restore(const Checkpoint& checkpoint, const std::string& where) {
  const Json& s = checkpoint.state;
  auto same = [&](const char* key, int64_t own) {
    int64_t theirs = s.at(key).as_int();
    if (theirs == own) return;
    fail(ErrorCode::kInvalidArgument, "train",
         where + ": expected " + key + " " + std::to_string(theirs) +
             " as in the checkpoint, got " + std::to_string(own));
  };
  same("seed", args_.seed);
  same("items", items_);
  same("batch_size", args_.per_device_train_batch_size);
  same("accumulation", args_.gradient_accumulation_steps);
  for (auto& [name, parameter] : trained_) {
    if (!checkpoint.weights.count(name)) {
      fail(ErrorCode::kCorruptData, "train",
           where + ": the checkpoint lacks the trained weight \"" + name + "\"");
    }
  }
  at::NoGradGuard no_grad;
  module_.load_state_dict(checkpoint.weights, /*strict=*/false);
  optimizer_.load_state(checkpoint.optimizer);
  step_ = saved_step_ = s.at("step").as_int();
  bad_evaluations_ = s.get("bad_evaluations", 0);
  stopped_ = s.get("stopped", false);
  result_.early_stopped = stopped_;
  result_.skipped_steps = s.get("skipped_steps", 0);
  result_.resumed_from = step_;
  if (const Json* metrics = s.find("metrics")) {
    result_.metrics = scalars_from(*metrics);
  }
  int64_t best = s.get("best_step", -1);
  if (best < 0) return;
  try {
    std::string beside = std::filesystem::path(where).lexically_normal().parent_path().string();
    TensorMap weights;
    for (auto& [name, tensor] :
         load_safetensors(best_weights_path(beside.empty() ? "." : beside, best))) {
      weights[name] = tensor.clone();
    }
    best_weights_ = std::move(weights);
    result_.best_step = best;
    result_.best_metric = s.at("best_metric").as_double();
    best_metrics_ = scalars_from(s.at("best_metrics"));
  } catch (const Error& e) {
    warn(std::string("the best weights so far are lost: ") + e.what());
  }
}

void TrainingRun::evaluate(Progress& progress) {
  Scalars metrics = evaluate_with(trainable_, args_, *eval_);
  auto it = metrics.find(args_.metric_for_best_model);
  if (it == metrics.end()) {
    std::string known;
    for (const auto& [name, value] : metrics) known += (known.empty() ? "" : ", ") + name;
    fail(ErrorCode::kInvalidArgument, "train",
         "expected metric_for_best_model to be one of: " + known + "; got \"" +
             args_.metric_for_best_model + "\"");
  }
  double value = it->second;
  bool better = std::isfinite(value) &&
                (result_.best_step < 0 ||
                 (args_.maximize() ? value > result_.best_metric : value < result_.best_metric));
  result_.metrics = metrics;
  progress.metrics = metrics;
  if (better) {
    int64_t previous = std::exchange(result_.best_step, step_);
    result_.best_metric = value;
    best_metrics_ = metrics;
    bad_evaluations_ = 0;
    best_weights_.clear();
    for (auto& [name, tensor] : trained_weights())
      best_weights_[name] = tensor.to(at::kCPU, /*non_blocking=*/false, /*copy=*/true);
    try {
      if (!args_.output_dir.empty()) {
        save_safetensors(best_weights_path(args_.output_dir, step_), best_weights_);
        std::error_code ignored;
        if (args_.save_steps < 0)
          std::filesystem::remove(best_weights_path(args_.output_dir, previous), ignored);
      }
    } catch (const Error& e) {
      warn(std::string("the best weights are kept in memory only: ") + e.what());
    }
  } else {
    ++bad_evaluations_;
    stopped_ =
        args_.early_stopping_patience > 0 && bad_evaluations_ >= args_.early_stopping_patience;
    result_.early_stopped = stopped_;
  }
  write_log(Json::object(
      {{"step", step_}, {"epoch", epoch_of(step_)}, {"eval", to_json(metrics)}, {"best", better}}));
}

TensorMap TrainingRun::trained_weights() const {
  TensorMap out;
  for (const auto& [name, parameter] : trained_) out[name] = parameter.detach();
  for (const auto& [name, buffer] : module_.named_buffers(/*persistent_only=*/true))
    out[name] = buffer.detach();
  return out;
}

Json TrainingRun::state() const {
  return Json::object({{"format_version", 1},
                       {"step", step_},
                       {"epoch", epoch_of(step_)},
                       {"total_steps", total_},
                       {"seed", args_.seed},
                       {"items", items_},
                       {"batch_size", args_.per_device_train_batch_size},
                       {"accumulation", args_.gradient_accumulation_steps},
                       {"bad_evaluations", bad_evaluations_},
                       {"stopped", stopped_},
                       {"skipped_steps", result_.skipped_steps},
                       {"metrics", to_json(result_.metrics)},
                       {"best_step", result_.best_step},
                       {"best_metric", result_.best_metric},
                       {"best_metrics", to_json(best_metrics_)},
                       {"arguments", write_config(args_)}});
}

void TrainingRun::save() {
  if (args_.output_dir.empty()) return;
  try {
    save_checkpoint(args_.output_dir, step_, {trained_weights(), optimizer_.state(), state()},
                    args_.save_total_limit);
    saved_step_ = step_;
  } catch (const Error& e) {
    // Training goes on: the older checkpoints are whole, and the space may be back at the next one.
    warn(std::string("no checkpoint at step ") + std::to_string(step_) + ": " + e.what());
  }
}

}  // namespace plait::train
