#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "plait/core/tensor_map.h"

namespace plait::train {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Parameters that share a learning rate and decay.
struct ParameterGroup {
  NamedTensors parameters;
  double lr_multiplier = 1.0;
  double weight_decay = 0.0;
};

/// Adam with decoupled weight decay (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101),
/// as torch.optim.AdamW. Runs torch's fused kernel; plain operators where that does not take a
/// tensor. Not thread-safe.
class AdamW {
 public:
  struct Options {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
  };
  AdamW(std::vector<ParameterGroup> groups, Options options);

  /// One update with the gradients that are there; a parameter without one is left alone.
  void step(double learning_rate);
  /// Drops all gradients.
  void zero_grad();
  /// Scales all gradients so that their joint 2-norm is at most `max_norm` (0 or less: only
  /// measures).
  /// @return the norm before; not finite when a gradient is not (then nothing is scaled).
  double clip_grad_norm(double max_norm);

  /// "<parameter>.exp_avg", ".exp_avg_sq", ".step" (shared storage).
  TensorMap state() const;
  /// @throws Error kCorruptData for a missing name or a wrong shape.
  void load_state(const TensorMap& state);
  int64_t parameter_count() const;

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter, exp_avg, exp_avg_sq, step;
  };
  struct Group {
    std::vector<Slot> slots;  ///< All of one device and dtype.
    double lr_multiplier, weight_decay;
    bool fused;
  };
  void fused_step(Group& group, double lr);
  void plain_step(Group& group, double lr);

  std::vector<Group> groups_;
  Options options_;
};

}  // namespace plait::train
