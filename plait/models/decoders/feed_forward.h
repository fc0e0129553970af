#pragma once
#include <memory>

#include "plait/models/decoders/causal_lm.h"

namespace plait::models {

/// down(act(gate(x)) · up(x)), or down(act(up(x))) without a gate. x [..., D] → [..., D].
class FeedForward : public Module {
 public:
  FeedForward(const CausalLm::Config& config, int64_t width);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  std::string act_;
  std::shared_ptr<Linear> gate_, up_, down_;
};

/// A router and its experts (Qwen2-MoE, Qwen3-MoE): each token goes to the num_experts_per_tok
/// experts of highest probability; a shared expert, if there is one, takes all of them.
class SparseFeedForward : public Module {
 public:
  explicit SparseFeedForward(const CausalLm::Config& config);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  int64_t chosen_;
  bool normalize_;
  std::shared_ptr<Linear> router_;
  std::shared_ptr<ModuleList<FeedForward>> experts_;
  std::shared_ptr<FeedForward> shared_;
  std::shared_ptr<Linear> shared_gate_;
};

}  // namespace plait::models
