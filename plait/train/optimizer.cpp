#include "plait/train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <map>

#include "plait/core/error.h"

namespace plait::train {
namespace {

bool fusable(const at::Tensor& t) {
  auto type = t.scalar_type();
  bool known_type =
      type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kHalf;
  return (t.is_cpu() || t.is_cuda()) && known_type && t.is_contiguous();
}

}  // namespace

AdamW::AdamW(std::vector<ParameterGroup> groups, Options options) : options_(options) {
  for (ParameterGroup& group : groups) {
    // The fused kernel wants one device and dtype per call.
    std::map<std::string, Group> split;
    for (auto& [name, parameter] : group.parameters) {
      Slot slot{name, parameter, at::zeros_like(parameter.detach()),
                at::zeros_like(parameter.detach()),
                at::zeros({}, at::TensorOptions(at::kFloat).device(parameter.device()))};
      bool fused = fusable(parameter);
      std::string key =
          parameter.device().str() + c10::toString(parameter.scalar_type()) + (fused ? "f" : "p");
      auto it =
          split.try_emplace(key, Group{{}, group.lr_multiplier, group.weight_decay, fused}).first;
      it->second.slots.push_back(std::move(slot));
    }
    for (auto& [key, made] : split) groups_.push_back(std::move(made));
  }
}

void AdamW::step(double learning_rate) {
  at::NoGradGuard no_grad;
  for (Group& group : groups_) {
    double lr = learning_rate * group.lr_multiplier;
    group.fused ? fused_step(group, lr) : plain_step(group, lr);
  }
}

void AdamW::fused_step(Group& group, double lr) {
  std::vector<at::Tensor> parameters, grads, means, squares, steps;
  for (Slot& slot : group.slots) {
    const at::Tensor& grad = slot.parameter.grad();
    if (!grad.defined()) continue;
    parameters.push_back(slot.parameter);
    grads.push_back(grad.is_contiguous() ? grad : grad.contiguous());
    means.push_back(slot.exp_avg);
    squares.push_back(slot.exp_avg_sq);
    // Many small tensors: an operator each would cost as much as the update.
    if (slot.step.is_cpu())
      *slot.step.mutable_data_ptr<float>() += 1;
    else
      slot.step.add_(1);
    steps.push_back(slot.step);
  }
  if (parameters.empty()) return;
  at::_fused_adamw_(parameters, grads, means, squares, {}, steps, lr, options_.beta1,
                    options_.beta2, group.weight_decay, options_.epsilon, /*amsgrad=*/false,
                    /*maximize=*/false);
}

void AdamW::plain_step(Group& group, double lr) {
  for (Slot& slot : group.slots) {
    const at::Tensor& grad = slot.parameter.grad();
    if (!grad.defined()) continue;
    slot.step.add_(1);
    double t = slot.step.item<double>();
    at::Tensor p = slot.parameter.detach();
    p.mul_(1 - lr * group.weight_decay);
    slot.exp_avg.lerp_(grad, 1 - options_.beta1);
    slot.exp_avg_sq.mul_(options_.beta2).addcmul_(grad, grad, 1 - options_.beta2);
    double correction1 = 1 - std::pow(options_.beta1, t),
           correction2 = 1 - std::pow(options_.beta2, t);
    at::Tensor denominator =
        (slot.exp_avg_sq.sqrt() / std::sqrt(correction2)).add_(options_.epsilon);
    p.addcdiv_(slot.exp_avg, denominator, -lr / correction1);
  }
}

void AdamW::zero_grad() {
  for (Group& group : groups_) {
    for (Slot& slot : group.slots) slot.parameter.mutable_grad() = at::Tensor();
  }
}

double AdamW::clip_grad_norm(double max_norm) {
  at::NoGradGuard no_grad;
  double sum = 0;
  std::vector<at::Tensor> all;
  for (Group& group : groups_) {
    std::vector<at::Tensor> grads;
    for (Slot& slot : group.slots) {
      if (slot.parameter.grad().defined()) grads.push_back(slot.parameter.grad());
    }
    if (grads.empty()) continue;
    // One synchronisation per group, not per tensor.
    at::Tensor norms = at::stack(at::_foreach_norm(grads, 2)).to(at::kDouble);
    sum += norms.square().sum().item<double>();
    all.insert(all.end(), grads.begin(), grads.end());
  }
  double norm = std::sqrt(sum);
  if (std::isfinite(norm) && max_norm > 0 && norm > max_norm)
    at::_foreach_mul_(all, max_norm / norm);
  return norm;
}

TensorMap AdamW::state() const {
  TensorMap out;
  for (const Group& group : groups_) {
    for (const Slot& slot : group.slots) {
      out[slot.name + ".exp_avg"] = slot.exp_avg;
      out[slot.name + ".exp_avg_sq"] = slot.exp_avg_sq;
      out[slot.name + ".step"] = slot.step;
    }
  }
  return out;
}

void AdamW::load_state(const TensorMap& state) {
  TensorMap own = this->state();
  for (auto& [name, tensor] : own) {
    auto it = state.find(name);
    if (it == state.end())
      fail(ErrorCode::kCorruptData, "optimizer", "the checkpoint lacks the state \"" + name + "\"");
    if (it->second.sizes() != tensor.sizes()) {
      fail(ErrorCode::kCorruptData, "optimizer",
           name + ": expected " + describe(tensor) + ", got " + describe(it->second));
    }
  }
  for (auto& [name, tensor] : own) tensor.copy_(state.at(name));
}

int64_t AdamW::parameter_count() const {
  int64_t n = 0;
  for (const Group& group : groups_) {
    for (const Slot& slot : group.slots) n += slot.parameter.numel();
  }
  return n;
}

}  // namespace plait::train
