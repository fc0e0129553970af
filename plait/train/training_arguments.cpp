#include "plait/train/training_arguments.h"

#include <cmath>

#include "plait/core/error.h"

namespace plait::train {
namespace {

constexpr const char* kLowerIsBetter[] = {"loss", "nll",  "ece", "brier", "aurc",
                                          "mse",  "rmse", "mae", "error", "risk"};

void check_probability(const Json& value, const std::string& where) {
  if (value.is_number() && value.as_double() >= 0 && value.as_double() < 1) return;
  fail(ErrorCode::kInvalidArgument, "train",
       where + ": expected a probability from 0 to below 1, got " + value.dump());
}

}  // namespace

void TrainingArguments::visit(ConfigVisitor& v) {
  v.field("output_dir", output_dir,
          "Folder for checkpoints and the log; empty: nothing is written");
  v.field("overwrite_output_dir", overwrite_output_dir,
          "Discard the checkpoints of an earlier run in output_dir");
  v.field("learning_rate", learning_rate, "Peak learning rate", {.min = 0, .max = 100});
  v.field("num_train_epochs", num_train_epochs, "Passes over the training items",
          {.min = 0, .max = 1e6});
  v.field("max_steps", max_steps, "Optimizer steps; 0: as num_train_epochs says",
          {.min = 0, .max = 1e12});
  v.field("per_device_train_batch_size", per_device_train_batch_size, "Items per forward pass",
          {.min = 1, .max = 1e6});
  v.field("per_device_eval_batch_size", per_device_eval_batch_size,
          "Items per forward pass in evaluation", {.min = 1, .max = 1e6});
  v.field("gradient_accumulation_steps", gradient_accumulation_steps,
          "Forward passes per optimizer step", {.min = 1, .max = 1e6});
  v.field("max_grad_norm", max_grad_norm,
          "Joint 2-norm to which gradients are clipped; 0: no clipping", {.min = 0});
  v.field("warmup_ratio", warmup_ratio, "Share of the steps with rising learning rate",
          {.min = 0, .max = 1});
  v.field("warmup_steps", warmup_steps, "The same in steps; wins over warmup_ratio when above 0",
          {.min = 0, .max = 1e12});
  v.field("lr_scheduler", lr_scheduler, "Course of the learning rate after the warm-up",
          {.one_of = {"cosine", "linear", "constant"}});
  v.field("weight_decay", weight_decay, "Decoupled decay; not on biases, norms and other vectors",
          {.min = 0, .max = 100});
  v.field("adam_beta1", adam_beta1, "Decay of the gradient's mean", {.min = 0, .max = 0.999999});
  v.field("adam_beta2", adam_beta2, "Decay of the squared gradient's mean",
          {.min = 0, .max = 0.99999999});
  v.field("adam_epsilon", adam_epsilon, "Added to the denominator", {.min = 0, .max = 1});
  v.field("parameter_groups", parameter_groups,
          "Learning rate multipliers by prefix of the parameter's name, e.g. "
          "{\"streams.text.encoder\": 0.1}; "
          "the longest prefix wins, 0 freezes");
  v.field("seed", seed, "Seed of the order of items, dropout and modality dropout", {.min = 0});
  v.field("bf16", bf16,
          "Forward passes in bfloat16 where that is safe (autocast); parameters stay float32");
  v.field("modality_dropout", modality_dropout,
          "Probability of hiding a stream of an item: a number, or an object by stream; one stream "
          "always remains");
  v.field("modality_ratio", modality_ratio,
          "Balanced sampling: how often each stream is shown against the others, an object by "
          "stream (those without have 1), whatever the items have; null: as they come; \"default\" "
          "(in recipes): 1, and 0.5 for sound");
  v.field("logging_steps", logging_steps, "Steps between lines of log.jsonl; 0: none",
          {.min = 0, .max = 1e12});
  v.field("eval_steps", eval_steps, "Steps between evaluations; 0: after each epoch",
          {.min = 0, .max = 1e12});
  v.field("save_steps", save_steps, "Steps between checkpoints; 0: after each epoch; -1: none",
          {.min = -1, .max = 1e12});
  v.field("save_total_limit", save_total_limit, "Checkpoints to keep", {.min = 1, .max = 1e6});
  v.field("early_stopping_patience", early_stopping_patience,
          "Evaluations in a row without a better metric after which training stops; 0: never",
          {.min = 0, .max = 1e9});
  v.field("metric_for_best_model", metric_for_best_model, "Which figure of the evaluation decides");
  v.field("greater_is_better", greater_is_better, "Direction of that figure; auto: by its name",
          {.one_of = {"auto", "true", "false"}});
  v.field("load_best_model_at_end", load_best_model_at_end,
          "End with the weights of the best evaluation");
  v.field(
      "resume", resume,
      "\"none\", \"auto\" (the newest checkpoint of output_dir, if any) or a checkpoint's folder");
  v.field("max_skipped_steps", max_skipped_steps,
          "Steps with a loss or gradient that is not finite to skip before failing",
          {.min = 0, .max = 1e9});
}

TrainingArguments TrainingArguments::tiny() {
  TrainingArguments args;
  args.learning_rate = 1e-2;
  args.num_train_epochs = 1;
  args.per_device_train_batch_size = 4;
  return args;
}

void TrainingArguments::validate() const {
  require(num_train_epochs > 0 || max_steps > 0, "train",
          "expected num_train_epochs or max_steps above 0");
  require(!resume.empty(), "train", "expected resume to be \"none\", \"auto\" or a folder");
  require(resume != "auto" || !output_dir.empty(), "train",
          "expected an output_dir for resume \"auto\"");
  if (modality_dropout.is_object()) {
    for (const auto& [stream, p] : modality_dropout.members())
      check_probability(p, "modality_dropout." + stream);
  } else if (!modality_dropout.is_null()) {
    check_probability(modality_dropout, "modality_dropout");
  }
  if (!modality_ratio.is_null()) {
    require(modality_ratio.is_object(), "train",
            "expected modality_ratio to be an object by stream");
    for (const auto& [stream, value] : modality_ratio.members()) {
      if (value.is_number() && value.as_double() > 0 && std::isfinite(value.as_double())) continue;
      fail(ErrorCode::kInvalidArgument, "train",
           "modality_ratio." + stream + ": expected a number above 0, got " + value.dump());
    }
  }
  require(parameter_groups.is_null() || parameter_groups.is_object(), "train",
          "expected parameter_groups to be an object");
  for (const auto& [prefix, factor] :
       parameter_groups.is_object() ? parameter_groups.members() : Json::Object{}) {
    if (factor.is_number() && factor.as_double() >= 0 && std::isfinite(factor.as_double()))
      continue;
    fail(ErrorCode::kInvalidArgument, "train",
         "parameter_groups." + prefix + ": expected a factor of at least 0, got " + factor.dump());
  }
}

bool TrainingArguments::maximize() const {
  if (greater_is_better != "auto") return greater_is_better == "true";
  for (const char* name : kLowerIsBetter) {
    if (metric_for_best_model.find(name) != std::string::npos) return false;
  }
  return true;
}

std::map<std::string, double> TrainingArguments::ratio() const {
  std::map<std::string, double> out;
  if (!modality_ratio.is_object()) return out;
  for (const auto& [stream, value] : modality_ratio.members()) out[stream] = value.as_double();
  return out;
}

double TrainingArguments::ratio_of(const std::string& stream) const {
  return modality_ratio.is_object() ? modality_ratio.get(stream, 1.0) : 1.0;
}

double TrainingArguments::dropout_of(const std::string& stream) const {
  if (modality_dropout.is_number()) return modality_dropout.as_double();
  return modality_dropout.is_object() ? modality_dropout.get(stream, 0.0) : 0.0;
}

}  // namespace plait::train
