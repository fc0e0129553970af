#pragma once
#include <map>
#include <string>
#include <vector>

#include "plait/core/config.h"

namespace plait::train {

/// How to train. Names follow transformers.TrainingArguments where the meaning is the same.
struct TrainingArguments {
  std::string output_dir;
  bool overwrite_output_dir = false;
  double learning_rate = 1e-5;
  double num_train_epochs = 3;
  int64_t max_steps = 0;
  int64_t per_device_train_batch_size = 32;
  int64_t per_device_eval_batch_size = 64;
  int64_t gradient_accumulation_steps = 1;
  double max_grad_norm = 1.0;
  double warmup_ratio = 0.0;
  int64_t warmup_steps = 0;
  std::string lr_scheduler = "cosine";
  double weight_decay = 0.01;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  Json parameter_groups = Json::object({});
  int64_t seed = 42;
  bool bf16 = false;
  Json modality_dropout = 0.0;
  Json modality_ratio = Json();
  int64_t logging_steps = 50;
  int64_t eval_steps = 0;
  int64_t save_steps = 0;
  int64_t save_total_limit = 2;
  int64_t early_stopping_patience = 0;
  std::string metric_for_best_model = "loss";
  std::string greater_is_better = "auto";
  bool load_best_model_at_end = true;
  std::string resume = "none";
  int64_t max_skipped_steps = 0;

  void visit(ConfigVisitor& v);
  static TrainingArguments tiny();
  /// @throws Error kInvalidArgument
  void validate() const;

  /// Whether a larger value of `metric_for_best_model` is better; by name when "auto".
  bool maximize() const;
  /// The probability of dropping that stream of an item.
  double dropout_of(const std::string& stream) const;
  /// How often each stream is to be shown against the others; empty: as they come.
  std::map<std::string, double> ratio() const;
  double ratio_of(const std::string& stream) const;
};

}  // namespace plait::train
