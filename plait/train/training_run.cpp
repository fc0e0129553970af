// A training run's loop: groups of parameters, steps, figures.
#include "plait/train/training_run.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/log.h"
#include "plait/train/autocast.h"
#include "plait/train/modality_balance.h"
#include "plait/train/modality_dropout.h"
#include "plait/train/schedule.h"

namespace plait::train {
namespace {

// Separate streams of random numbers from one seed.
constexpr uint64_t kOrderSalt = 1, kItemSalt = 2, kDropoutSalt = 3, kModalitySalt = 4;

at::Generator make_generator(at::Device device) {
  if (device.is_cpu()) return at::detail::createCPUGenerator();
  return at::globalContext()
      .getAcceleratorHooksInterface(device.type())
      .getNewGenerator(device.index());
}

/// The order of the items in one epoch.
std::vector<int64_t> shuffled(int64_t count, uint64_t seed) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = count - 1; i > 0; --i) {
    auto j = static_cast<int64_t>(mix_seed(seed, static_cast<uint64_t>(i)) %
                                  static_cast<uint64_t>(i + 1));
    std::swap(order[i], order[j]);
  }
  return order;
}

Scalars read_scalars(const TensorMap& tensors) {
  Scalars out;
  for (const auto& [name, tensor] : tensors) out[name] = tensor.item<double>();
  return out;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TrainingRun::TrainingRun(Trainable& trainable, const TrainingArguments& args, BatchSource& train,
                         BatchSource* eval, const ProgressCallback& callback)
    : trainable_(trainable),
      args_(args),
      train_(train),
      eval_(eval),
      callback_(callback),
      module_(trainable.module()),
      device_(device_of(module_)),
      generator_(make_generator(device_)),
      optimizer_(make_groups(), {args.adam_beta1, args.adam_beta2, args.adam_epsilon}) {
  int64_t per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps;
  items_ = train.size();
  require(items_ > 0, "train", "expected at least one training item");
  steps_per_epoch_ = (items_ + per_step - 1) / per_step;
  total_ = args.max_steps > 0 ? args.max_steps
                              : static_cast<int64_t>(std::ceil(
                                    args.num_train_epochs * static_cast<double>(steps_per_epoch_)));
  warmup_ = args.warmup_steps > 0
                ? args.warmup_steps
                : static_cast<int64_t>(std::ceil(args.warmup_ratio * static_cast<double>(total_)));
  drop_ = args.modality_dropout.is_object() || args.dropout_of("") > 0;
  if (args.modality_ratio.is_object()) {
    drop_ = true;
    balance_ = balancing_dropout(train.presence(), args.ratio(), [&](const std::string& stream) {
      return args.dropout_of(stream);
    });
  }
}

TrainResult TrainingRun::operator()() {
  if (!args_.output_dir.empty()) make_output_dir();
  resume();
  log_ = std::make_unique<RunLog>(args_.output_dir.empty() ? "" : args_.output_dir + "/log.jsonl",
                                  result_.resumed_from);
  write_log(Json::object({{"event", result_.resumed_from < 0 ? "start" : "resume"},
                          {"step", step_},
                          {"total_steps", total_},
                          {"items", items_},
                          {"parameters", optimizer_.parameter_count()},
                          {"arguments", write_config(args_)}}));
  module_.set_generator(generator_);
  start_ = std::chrono::steady_clock::now();
  first_step_ = step_;
  while (step_ < total_ && !stopped_ && !result_.cancelled) one_step();
  finish();
  return result_;
}

std::vector<ParameterGroup> TrainingRun::make_groups() {
  trainable_.set_training(true);
  auto all = module_.named_parameters();
  auto trains = [](const auto& named) { return named.second.requires_grad(); };
  if (std::none_of(all.begin(), all.end(), trains)) {
    module_.requires_grad_(true);
    trainable_.set_training(true);  // Freezes again what is to stay frozen.
  }
  std::map<std::pair<double, bool>, ParameterGroup> groups;
  for (auto& [name, parameter] : all) {
    if (!parameter.requires_grad()) continue;
    double factor = 1;
    size_t longest = 0;
    for (const auto& [prefix, value] :
         args_.parameter_groups.is_object() ? args_.parameter_groups.members() : Json::Object{}) {
      if (name.rfind(prefix, 0) != 0 || prefix.size() < longest) continue;
      longest = prefix.size();
      factor = value.as_double();
    }
    if (factor == 0) {
      parameter.set_requires_grad(false);
      continue;
    }
    bool decay = parameter.dim() >= 2;  // Biases, norms and gates are vectors or scalars.
    ParameterGroup& group = groups[{factor, decay}];
    group.lr_multiplier = factor;
    group.weight_decay = decay ? args_.weight_decay : 0;
    group.parameters.emplace_back(name, parameter);
    trained_.emplace_back(name, parameter);
  }
  require(!trained_.empty(), "train", "expected at least one parameter to train");
  std::vector<ParameterGroup> out;
  for (auto& [key, group] : groups) out.push_back(std::move(group));
  return out;
}

void TrainingRun::one_step() {
  int64_t epoch = step_ / steps_per_epoch_;
  if (epoch != order_epoch_) {
    order_ = shuffled(items_, mix_seed(args_.seed, kOrderSalt, epoch));
    order_epoch_ = epoch;
  }
  int64_t per_step = args_.per_device_train_batch_size * args_.gradient_accumulation_steps;
  int64_t begin = (step_ % steps_per_epoch_) * per_step;
  std::vector<int64_t> items(order_.begin() + begin,
                             order_.begin() + std::min(begin + per_step, items_));

  bool log_line =
      args_.logging_steps > 0 && ((step_ + 1) % args_.logging_steps == 0 || step_ + 1 == total_);
  Progress p;
  p.total_steps = total_;
  p.learning_rate =
      args_.learning_rate * learning_rate_factor(args_.lr_scheduler, step_, warmup_, total_);
  optimizer_.zero_grad();
  TensorMap scalars;
  p.loss = accumulate(items, epoch, log_line ? &scalars : nullptr);
  p.grad_norm = std::isfinite(p.loss) ? optimizer_.clip_grad_norm(args_.max_grad_norm) : 0;
  if (std::isfinite(p.loss) && std::isfinite(p.grad_norm)) {
    optimizer_.step(p.learning_rate);
    loss_sum_ += p.loss;
    logged_loss_ += p.loss;
    ++logged_steps_;
  } else {
    std::string what = (std::isfinite(p.loss) ? "the gradient" : "the loss") +
                       std::string(" is not finite at step ") + std::to_string(step_) + " (epoch " +
                       std::to_string(epoch) + ")";
    if (++result_.skipped_steps > args_.max_skipped_steps) {
      fail(ErrorCode::kInvalidArgument, "train",
           what + "; lower learning_rate or look for bad inputs");
    }
    warn(what + ": the step is skipped");
  }
  optimizer_.zero_grad();
  ++step_;
  seen_items_ += static_cast<int64_t>(items.size());

  bool epoch_end = step_ % steps_per_epoch_ == 0 || step_ == total_;
  p.step = step_;
  p.epoch = epoch_of(step_);
  p.elapsed_seconds = seconds_since(start_);
  p.items_per_second = static_cast<double>(seen_items_) / std::max(p.elapsed_seconds, 1e-9);
  p.eta_seconds = p.elapsed_seconds / static_cast<double>(step_ - first_step_) *
                  static_cast<double>(total_ - step_);
  if (log_line) {
    p.scalars = read_scalars(scalars);
    for (const auto& [stream, share] : shown()) p.scalars["shown/" + stream] = share;
    write_log(Json::object(
        {{"step", step_},
         {"epoch", p.epoch},
         {"loss", logged_steps_ > 0 ? logged_loss_ / static_cast<double>(logged_steps_) : p.loss},
         {"learning_rate", p.learning_rate},
         {"grad_norm", p.grad_norm},
         {"items_per_second", p.items_per_second},
         {"elapsed_seconds", p.elapsed_seconds},
         {"scalars", to_json(p.scalars)}}));
    logged_loss_ = 0;
    logged_steps_ = 0;
  }
  if (eval_ &&
      (args_.eval_steps > 0 ? step_ % args_.eval_steps == 0 || step_ == total_ : epoch_end))
    evaluate(p);
  bool save_due =
      args_.save_steps > 0 ? step_ % args_.save_steps == 0 || step_ == total_ : epoch_end;
  if (args_.save_steps >= 0 && (save_due || stopped_)) save();
  p.warning = std::exchange(pending_warning_, "");
  if (callback_ && !callback_(p)) {
    result_.cancelled = true;
    if (args_.save_steps >= 0 && saved_step_ != step_) save();
  }
}

Scalars TrainingRun::shown() const {
  int64_t most = 1;
  for (const auto& [stream, count] : shows_) most = std::max(most, count);
  Scalars out;
  for (const auto& [stream, count] : shows_)
    out[stream] = static_cast<double>(count) / static_cast<double>(most);
  return out;
}

double TrainingRun::accumulate(const std::vector<int64_t>& items, int64_t epoch,
                               TensorMap* scalars) {
  auto total = static_cast<double>(items.size());
  double sum = 0;
  uint64_t item_seed = mix_seed(args_.seed, kItemSalt, epoch) | 1;  // Never kEvaluationSeed.
  size_t size = static_cast<size_t>(args_.per_device_train_batch_size);
  for (size_t begin = 0; begin < items.size(); begin += size) {
    std::vector<int64_t> part(
        items.begin() + static_cast<std::ptrdiff_t>(begin),
        items.begin() + static_cast<std::ptrdiff_t>(std::min(begin + size, items.size())));
    Batch batch = train_.batch(part, item_seed);
    if (drop_) {
      auto hidden = [&](const std::string& stream) {
        auto balanced = balance_.find(stream);
        return balanced == balance_.end() ? args_.dropout_of(stream) : balanced->second;
      };
      std::function<double(const std::string&)> staying;
      if (!balance_.empty())
        staying = [&](const std::string& stream) { return args_.ratio_of(stream); };
      drop_modalities(batch, part, mix_seed(args_.seed, kModalitySalt, epoch), hidden, staying);
      for (const auto& [name, stream] : batch.streams)
        shows_[name] += stream.present.sum().item<int64_t>();
    }
    batch = to(batch, device_);
    // Seeding per forward pass makes dropout a function of the step, so a resumed run needs no
    // generator state.
    generator_.set_current_seed(mix_seed(mix_seed(args_.seed, kDropoutSalt), step_, begin));
    LossOutput out;
    {
      AutocastGuard autocast(device_.type(), at::kBFloat16, args_.bf16);
      out = trainable_.loss(batch);
    }
    if (!out.loss.defined() || out.loss.numel() != 1)
      fail(ErrorCode::kInvalidArgument, "train", "expected a scalar loss");
    double share = static_cast<double>(part.size()) / total;
    double value = out.loss.item<double>();
    if (!std::isfinite(value)) return value;
    if (!out.loss.requires_grad()) {
      fail(ErrorCode::kInvalidArgument, "train",
           "expected a loss that depends on a trained parameter");
    }
    (share == 1 ? out.loss : out.loss * share).backward();
    sum += value * share;
    if (scalars) *scalars = out.scalars;
  }
  return sum;
}

void TrainingRun::finish() {
  optimizer_.zero_grad();
  if (!result_.cancelled && args_.load_best_model_at_end && !best_weights_.empty()) {
    at::NoGradGuard no_grad;
    module_.load_state_dict(best_weights_, /*strict=*/false);
    result_.metrics = best_metrics_;
  }
  trainable_.set_training(false);
  result_.steps = step_;
  result_.epochs = epoch_of(step_);
  result_.shown = shown();
  result_.train_loss = loss_sum_ / static_cast<double>(std::max<int64_t>(step_ - first_step_, 1));
  result_.seconds = seconds_since(start_);
  result_.items_per_second = static_cast<double>(seen_items_) / std::max(result_.seconds, 1e-9);
  write_log(Json::object({{"event", result_.cancelled ? "cancelled" : "end"},
                          {"step", step_},
                          {"result", result_.to_json()}}));
}

void TrainingRun::warn(const std::string& message) {
  if (message.empty()) return;
  log_warning("train", message);
  if (result_.warnings.size() < 100) result_.warnings.push_back(message);
  pending_warning_ += (pending_warning_.empty() ? "" : "; ") + message;
}

}  // namespace plait::train
