#include "plait/models/layers/layers.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/layers/draw_kept.h"
#include "plait/models/layers/lora.h"

namespace plait::models {
namespace {

/// torch.nn's default for linear and convolution layers: uniform in ±1/√fan_in.
void uniform_fan_in(at::Tensor weight, at::Tensor bias, at::Generator& generator) {
  double bound =
      1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(weight.numel() / weight.size(0), 1)));
  weight.uniform_(-bound, bound, generator);
  if (bias.defined()) bias.uniform_(-bound, bound, generator);
}

std::vector<int64_t> widen(std::vector<int64_t> list, size_t n) {
  while (list.size() < n) list.push_back(list.back());
  return list;
}

}  // namespace

Linear::Linear(int64_t in, int64_t out, bool with_bias) {
  weight = add_parameter("weight", at::zeros({out, in}));
  if (with_bias) bias = add_parameter("bias", at::zeros({out}));
}
at::Tensor Linear::operator()(const at::Tensor& x) const {
  at::Tensor y = at::linear(x, weight, bias);
  return low_rank_ && !low_rank_->before.defined() ? y + (*low_rank_)(x) : y;
}
at::Tensor Linear::whole_weight() const {
  return low_rank_ && !low_rank_->before.defined() ? weight + low_rank_->delta() : weight;
}
void Linear::set_low_rank(std::shared_ptr<LowRank> low_rank) {
  for (const char* name : {"lora_A", "lora_B", "lora_dropout"}) remove_child(name);
  low_rank_ = std::move(low_rank);
  if (!low_rank_) return;
  add_child("lora_A", low_rank_->a);
  add_child("lora_B", low_rank_->b);
  add_child("lora_dropout", low_rank_->dropout);
  for (Module* child : std::initializer_list<Module*>{low_rank_->a.get(), low_rank_->b.get(),
                                                      low_rank_->dropout.get()}) {
    child->train(training());
    if (generator()) child->set_generator(*generator());
  }
}
void Linear::reset_parameters(at::Generator& generator) { uniform_fan_in(weight, bias, generator); }

Embedding::Embedding(int64_t count, int64_t width, int64_t padding) : padding_index(padding) {
  weight = add_parameter("weight", at::zeros({count, width}));
}
at::Tensor Embedding::operator()(const at::Tensor& ids) const {
  return at::embedding(weight, ids, padding_index);
}
void Embedding::reset_parameters(at::Generator& generator) {
  weight.normal_(0, 0.02, generator);
  if (padding_index >= 0) weight.select(0, padding_index).zero_();
}

LayerNorm::LayerNorm(int64_t width, double epsilon, bool with_bias) : eps(epsilon) {
  weight = add_parameter("weight", at::ones({width}));
  if (with_bias) bias = add_parameter("bias", at::zeros({width}));
}
at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, {weight.size(0)}, weight, bias, eps);
}

GroupNorm::GroupNorm(int64_t group_count, int64_t channels, double epsilon)
    : groups(group_count), eps(epsilon) {
  weight = add_parameter("weight", at::ones({channels}));
  bias = add_parameter("bias", at::zeros({channels}));
}
at::Tensor GroupNorm::operator()(const at::Tensor& x) const {
  return at::group_norm(x, groups, weight, bias, eps);
}

BatchNorm::BatchNorm(int64_t channels, double epsilon, double m) : eps(epsilon), momentum(m) {
  weight = add_parameter("weight", at::ones({channels}));
  bias = add_parameter("bias", at::zeros({channels}));
  running_mean = add_buffer("running_mean", at::zeros({channels}));
  running_var = add_buffer("running_var", at::ones({channels}));
  num_batches_tracked = add_buffer("num_batches_tracked", at::zeros({}, at::kLong));
}
at::Tensor BatchNorm::operator()(const at::Tensor& x) const {
  if (training()) const_cast<at::Tensor&>(num_batches_tracked).add_(1);
  return at::batch_norm(x, weight, bias, running_mean, running_var, training(), momentum, eps,
                        at::globalContext().userEnabledCuDNN());
}

Conv::Conv(int64_t in, int64_t out, ConvOptions options) : options_(std::move(options)) {
  size_t n = options_.kernel.size();
  require(n >= 1 && n <= 3, "conv", "expected a kernel of one to three extents");
  options_.stride = widen(options_.stride, n);
  options_.padding = widen(options_.padding, n);
  options_.dilation = widen(options_.dilation, n);
  std::vector<int64_t> shape = {out, in / options_.groups};
  shape.insert(shape.end(), options_.kernel.begin(), options_.kernel.end());
  weight = add_parameter("weight", at::zeros(shape));
  if (options_.bias) bias = add_parameter("bias", at::zeros({out}));
}
at::Tensor Conv::operator()(const at::Tensor& x) const {
  std::vector<int64_t> no_output_padding(options_.kernel.size(), 0);
  return at::convolution(x, weight, bias, options_.stride, options_.padding, options_.dilation,
                         false, no_output_padding, options_.groups);
}
void Conv::reset_parameters(at::Generator& generator) { uniform_fan_in(weight, bias, generator); }

at::Tensor Dropout::draw(const at::Tensor& like) const {
  at::Tensor scale = at::empty_like(like, like.options().requires_grad(false));
  const bool plain = like.is_cpu() && like.scalar_type() == at::kFloat && scale.is_contiguous();
  if (!plain || !generator()) return scale.bernoulli_(1 - p_, generator()).div_(1 - p_);
  draw_kept(*generator(), 1 - p_, static_cast<float>(1 / (1 - p_)), scale.mutable_data_ptr<float>(),
            scale.numel());
  return scale;
}
at::Tensor Dropout::operator()(const at::Tensor& x) const { return idle() ? x : x * draw(x); }
at::Tensor Dropout::first(const at::Tensor& x, int64_t tokens) const {
  if (idle()) return x;
  return x * draw(at::empty({x.size(0), tokens, x.size(2)}, x.options())).slice(1, 0, 1);
}

at::Tensor activate(const std::string& name, const at::Tensor& x) {
  if (name == "gelu") return at::gelu(x);
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return at::gelu(x, "tanh");
  if (name == "quick_gelu") return x * at::sigmoid(1.702 * x);
  if (name == "relu") return at::relu(x);
  if (name == "relu6") return at::hardtanh(x, 0, 6);
  if (name == "silu" || name == "swish") return at::silu(x);
  if (name == "tanh") return at::tanh(x);
  if (name == "sigmoid") return at::sigmoid(x);
  if (name == "identity" || name == "linear") return x;
  fail(ErrorCode::kInvalidArgument, "activation",
       "expected one of: gelu, gelu_new, quick_gelu, relu, relu6, silu, swish, tanh, sigmoid, "
       "identity; got \"" +
           name + "\"");
}

void check_activation(const std::string& name) { activate(name, at::zeros({1})); }

at::Tensor split_heads(const at::Tensor& x, int64_t heads) {
  return x.reshape({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
}

at::Tensor join_heads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), -1});
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads,
                     const at::Tensor& mask, std::optional<double> scale) {
  std::optional<at::Tensor> m;
  if (mask.defined()) m = mask.scalar_type() == at::kBool ? mask : mask.to(q.scalar_type());
  return join_heads(at::scaled_dot_product_attention(split_heads(q, heads), split_heads(k, heads),
                                                     split_heads(v, heads), m, 0.0, false, scale));
}

SelfAttention::SelfAttention(int64_t width, int64_t heads) : heads(heads) {
  k = add<Linear>("k_proj", width, width);
  v = add<Linear>("v_proj", width, width);
  q = add<Linear>("q_proj", width, width);
  out = add<Linear>("out_proj", width, width);
}

at::Tensor SelfAttention::operator()(const at::Tensor& x, const at::Tensor& mask) const {
  return (*out)(attention((*q)(x), (*k)(x), (*v)(x), heads, mask));
}

at::Tensor key_mask(const at::Tensor& token_mask) {
  if (!token_mask.defined()) return {};
  at::Tensor real = token_mask.to(at::kBool);
  at::Tensor empty = at::logical_not(real.any(1, /*keepdim=*/true));
  return at::logical_or(real, empty).unsqueeze(1).unsqueeze(1);
}

at::Tensor masked_mean(const at::Tensor& x, const at::Tensor& mask) {
  if (!mask.defined()) return x.mean(1);
  at::Tensor weight = mask.to(x.scalar_type()).unsqueeze(-1);
  return (x * weight).sum(1) / weight.sum(1).clamp_min(1);
}

}  // namespace plait::models
