#include "plait/train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "plait/core/error.h"
#include "plait/train/autocast.h"
#include "plait/train/training_run.h"

namespace plait::train {

at::Device device_of(models::Module& module) {
  auto parameters = module.named_parameters();
  return parameters.empty() ? at::Device(at::kCPU) : parameters.front().second.device();
}

Json to_json(const Scalars& scalars) {
  Json out = Json::object({});
  for (const auto& [name, value] : scalars) out[name] = value;
  return out;
}

/// Runs one evaluation and leaves the model in the mode it was in.
Scalars evaluate_with(Trainable& trainable, const TrainingArguments& args, BatchSource& source) {
  at::NoGradGuard no_grad;
  bool training = trainable.module().training();
  trainable.set_training(false);
  AutocastGuard autocast(device_of(trainable.module()).type(), at::kBFloat16, args.bf16);
  Scalars out;
  try {
    out = trainable.evaluate(source, args.per_device_eval_batch_size);
  } catch (...) {
    trainable.set_training(training);
    throw;
  }
  trainable.set_training(training);
  return out;
}

Json TrainResult::to_json() const {
  return Json::object({{"steps", steps},
                       {"epochs", epochs},
                       {"train_loss", train_loss},
                       {"best_step", best_step},
                       {"best_metric", best_metric},
                       {"metrics", plait::train::to_json(metrics)},
                       {"cancelled", cancelled},
                       {"early_stopped", early_stopped},
                       {"resumed_from", resumed_from},
                       {"skipped_steps", skipped_steps},
                       {"shown", plait::train::to_json(shown)},
                       {"seconds", seconds},
                       {"items_per_second", items_per_second},
                       {"warnings", Json(warnings)}});
}

Trainer::Trainer(std::shared_ptr<Trainable> trainable, TrainingArguments args,
                 std::shared_ptr<BatchSource> train_source,
                 std::shared_ptr<BatchSource> eval_source)
    : trainable_(std::move(trainable)),
      args_(std::move(args)),
      train_source_(std::move(train_source)),
      eval_source_(std::move(eval_source)) {
  require(trainable_ && train_source_, "train",
          "expected something to train and a source of items");
  args_ =
      read_config<TrainingArguments>(write_config(args_), "arguments");  // Checks the ranges, too.
}

TrainResult Trainer::train() {
  at::AutoGradMode grad(true);
  return TrainingRun(*trainable_, args_, *train_source_, eval_source_.get(), callback_)();
}

Scalars Trainer::evaluate(BatchSource& source) { return evaluate_with(*trainable_, args_, source); }

}  // namespace plait::train
