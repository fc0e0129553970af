#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plait/train/checkpoint.h"
#include "plait/train/optimizer.h"
#include "plait/train/run_log.h"
#include "plait/train/trainer.h"

/// The inside of Trainer.
namespace plait::train {

at::Device device_of(models::Module& module);
Json to_json(const Scalars& scalars);

/// Runs one evaluation and leaves the model in the mode it was in.
Scalars evaluate_with(Trainable& trainable, const TrainingArguments& args, BatchSource& source);

/// One call of Trainer::train.
class TrainingRun {
 public:
  TrainingRun(Trainable& trainable, const TrainingArguments& args, BatchSource& train,
              BatchSource* eval, const ProgressCallback& callback);
  TrainResult operator()();

 private:
  // training_run.cpp
  std::vector<ParameterGroup> make_groups();
  void one_step();
  double accumulate(const std::vector<int64_t>& items, int64_t epoch, TensorMap* scalars);
  Scalars shown() const;
  void finish();
  void warn(const std::string& message);
  void write_log(const Json& line) { warn(log_->write(line)); }
  // training_run_state.cpp
  void make_output_dir();
  void resume();
  void start_anew();
  void restore(const Checkpoint& checkpoint, const std::string& where);
  void evaluate(Progress& progress);
  TensorMap trained_weights() const;
  Json state() const;
  void save();
  double epoch_of(int64_t step) const {
    return static_cast<double>(step) / static_cast<double>(steps_per_epoch_);
  }

  Trainable& trainable_;
  const TrainingArguments& args_;
  BatchSource& train_;
  BatchSource* eval_;
  const ProgressCallback& callback_;
  models::Module& module_;
  at::Device device_;
  at::Generator generator_;
  NamedTensors trained_;
  AdamW optimizer_;
  std::unique_ptr<RunLog> log_;

  int64_t items_ = 0, steps_per_epoch_ = 0, total_ = 0, warmup_ = 0;
  bool drop_ = false;
  std::map<std::string, double> balance_;  ///< Probability of hiding each stream; empty: not asked
  std::map<std::string, int64_t> shows_;
  int64_t step_ = 0, first_step_ = 0, saved_step_ = -1;
  int64_t bad_evaluations_ = 0;
  bool stopped_ = false;
  int64_t order_epoch_ = -1;
  std::vector<int64_t> order_;
  TensorMap best_weights_;
  Scalars best_metrics_;
  double loss_sum_ = 0, logged_loss_ = 0;
  int64_t logged_steps_ = 0, seen_items_ = 0;
  std::string pending_warning_;
  std::chrono::steady_clock::time_point start_;
  TrainResult result_;
};

}  // namespace plait::train
