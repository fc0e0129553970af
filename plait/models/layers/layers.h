#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "plait/models/layers/module.h"

/// Layers shared by the models. Shapes: B batch, T tokens, N samples, D width, C channels.
/// Parameter names and layouts are those of torch.nn, so published checkpoints load without
/// renaming.
namespace plait::models {

struct LowRank;

/// y = x Wᵀ + b; weight [out, in], bias [out].
class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, bool bias = true);
  at::Tensor operator()(const at::Tensor& x) const;
  void reset_parameters(at::Generator& generator) override;
  /// What low-rank adaptation adds to y (lora.h), as the children "lora_A" and "lora_B"; null:
  /// nothing.
  const std::shared_ptr<LowRank>& low_rank() const { return low_rank_; }
  void set_low_rank(std::shared_ptr<LowRank> low_rank);
  /// W with what adaptation adds to it, for callers that multiply by themselves.
  at::Tensor whole_weight() const;
  at::Tensor weight, bias;

 private:
  std::shared_ptr<LowRank> low_rank_;
};

class Embedding : public Module {
 public:
  Embedding(int64_t count, int64_t width, int64_t padding_index = -1);
  at::Tensor operator()(const at::Tensor& ids) const;
  void reset_parameters(at::Generator& generator) override;
  at::Tensor weight;
  int64_t padding_index;
};

class LayerNorm : public Module {
 public:
  explicit LayerNorm(int64_t width, double eps = 1e-5, bool bias = true);
  at::Tensor operator()(const at::Tensor& x) const;
  at::Tensor weight, bias;
  double eps;
};

class GroupNorm : public Module {
 public:
  GroupNorm(int64_t groups, int64_t channels, double eps = 1e-5);
  at::Tensor operator()(const at::Tensor& x) const;
  at::Tensor weight, bias;
  int64_t groups;
  double eps;
};

/// Batch statistics in training, running statistics otherwise; works on [B, C, ...].
class BatchNorm : public Module {
 public:
  explicit BatchNorm(int64_t channels, double eps = 1e-5, double momentum = 0.1);
  at::Tensor operator()(const at::Tensor& x) const;
  at::Tensor weight, bias, running_mean, running_var, num_batches_tracked;
  double eps, momentum;
};

struct ConvOptions {
  std::vector<int64_t> kernel;
  std::vector<int64_t> stride = {1};
  std::vector<int64_t> padding = {0};
  std::vector<int64_t> dilation = {1};
  int64_t groups = 1;
  bool bias = true;
};

/// 1-, 2- or 3-D convolution by the length of `kernel` (shorter stride, padding, dilation lists are
/// repeated); weight [out, in / groups, kernel...].
class Conv : public Module {
 public:
  Conv(int64_t in, int64_t out, ConvOptions options);
  at::Tensor operator()(const at::Tensor& x) const;
  void reset_parameters(at::Generator& generator) override;
  at::Tensor weight, bias;

 private:
  ConvOptions options_;
};

/// Zeroes elements with probability p while training, drawing from the tree's generator (see
/// Module::set_generator).
class Dropout : public Module {
 public:
  explicit Dropout(double p) : p_(p) {}
  at::Tensor operator()(const at::Tensor& x) const;
  /// What the first of `tokens` tokens of [B, tokens, D] would get, of x [B, 1, D]: draws for all.
  at::Tensor first(const at::Tensor& x, int64_t tokens) const;

 private:
  bool idle() const { return !training() || p_ <= 0; }
  /// 0 or 1 / (1 − p), drawn in the order of memory.
  at::Tensor draw(const at::Tensor& like) const;
  double p_;
};

/// "gelu", "gelu_new" (tanh), "quick_gelu", "relu", "relu6", "silu"/"swish", "tanh", "sigmoid",
/// "identity".
/// @throws Error kInvalidArgument that lists them.
at::Tensor activate(const std::string& name, const at::Tensor& x);
void check_activation(const std::string& name);

/// [B, T, H·d] → [B, H, T, d], and back.
at::Tensor split_heads(const at::Tensor& x, int64_t heads);
at::Tensor join_heads(const at::Tensor& x);

/// softmax(QKᵀ·scale + mask)V on the fused kernel. q [B, T, H·d], k and v [B, S, H·d] → [B, T,
/// H·d]. `mask`: bool (true = may attend) or additive float, broadcastable to [B, H, T, S];
/// undefined = none. scale: 1/√d unless given.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads,
                     const at::Tensor& mask = {}, std::optional<double> scale = std::nullopt);

/// Self-attention with the projections q_proj, k_proj, v_proj and out_proj, each with a bias.
struct SelfAttention : Module {
  SelfAttention(int64_t width, int64_t heads);
  /// x [B, T, width], mask as for `attention`.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask) const;
  int64_t heads;
  std::shared_ptr<Linear> k, v, q, out;
};

/// [B, S] (1 or true = real token) → bool [B, 1, 1, S] for `attention`; undefined stays undefined.
/// A row without any real token would give NaN, so such a row attends to everything (its output is
/// masked later).
at::Tensor key_mask(const at::Tensor& token_mask);

/// Mean over real tokens. x [B, T, D], mask [B, T] or undefined → [B, D]; a row without real tokens
/// gives zeros.
at::Tensor masked_mean(const at::Tensor& x, const at::Tensor& mask);

}  // namespace plait::models
