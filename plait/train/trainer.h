#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/train/trainable.h"
#include "plait/train/training_arguments.h"

namespace plait::train {

/// Where a training run is, given to the callback after every optimizer step.
struct Progress {
  int64_t step = 0;  ///< Optimizer steps done.
  int64_t total_steps = 0;
  double epoch = 0;
  double loss = 0;  ///< Of the last step.
  double learning_rate = 0;
  double grad_norm = 0;
  double items_per_second = 0;
  double elapsed_seconds = 0;
  double eta_seconds = 0;
  Scalars scalars;      ///< Figures of the step, when a log line was due.
  Scalars metrics;      ///< Figures of the evaluation, when one was due.
  std::string warning;  ///< E.g. a checkpoint that could not be written.
};

/// Called from the training thread; returning false cancels: a checkpoint is written and train()
/// returns.
using ProgressCallback = std::function<bool(const Progress&)>;

struct TrainResult {
  int64_t steps = 0;
  double epochs = 0;
  double train_loss = 0;  ///< Mean over the steps of this call.
  int64_t best_step = -1;
  double best_metric = 0;
  Scalars metrics;  ///< Of the last evaluation; of the best one when its weights were restored.
  bool cancelled = false;
  bool early_stopped = false;
  int64_t resumed_from = -1;  ///< Step of the checkpoint, -1 for a fresh start.
  int64_t skipped_steps = 0;
  /// How often each stream was shown by this call, against the one that was shown most; with
  /// balanced sampling or modality dropout.
  Scalars shown;
  double seconds = 0;
  double items_per_second = 0;
  std::vector<std::string> warnings;
  Json to_json() const;
};

/// Trains the parameters that require a gradient (all of them when none does). Writes to output_dir
/// (nothing when that is empty): log.jsonl; checkpoint-<step>/ with model.safetensors,
/// optimizer.safetensors and trainer_state.json, each folder complete or absent;
/// best-<step>.safetensors. A run that was killed and resumed ends with the weights of an
/// uninterrupted one, bit for bit on CPU with the same number of threads: the order of items,
/// dropout and modality dropout follow from (seed, epoch, step, index) alone.
class Trainer {
 public:
  Trainer(std::shared_ptr<Trainable> trainable, TrainingArguments args,
          std::shared_ptr<BatchSource> train_source,
          std::shared_ptr<BatchSource> eval_source = nullptr);

  void set_callback(ProgressCallback callback) { callback_ = std::move(callback); }
  /// @throws Error kInvalidArgument (nothing to train, empty source), kCorruptData (a checkpoint
  /// that does not fit), kInternal naming the step when the loss or gradient is not finite more
  /// than max_skipped_steps times.
  TrainResult train();
  /// The metrics of any source, with the model in eval mode.
  Scalars evaluate(BatchSource& source);

 private:
  std::shared_ptr<Trainable> trainable_;
  TrainingArguments args_;
  std::shared_ptr<BatchSource> train_source_, eval_source_;
  ProgressCallback callback_;
};

}  // namespace plait::train
