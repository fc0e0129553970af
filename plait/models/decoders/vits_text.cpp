#include <ATen/ATen.h>

#include <cmath>

#include "plait/models/decoders/vits_layers.h"

namespace plait::models {

std::shared_ptr<Conv> make_same_conv(int64_t in, int64_t out, int64_t kernel, int64_t dilation,
                                     int64_t groups) {
  return std::make_shared<Conv>(in, out,
                                ConvOptions{.kernel = {kernel},
                                            .padding = {(kernel - 1) * dilation / 2},
                                            .dilation = {dilation},
                                            .groups = groups});
}

namespace {

/// Self-attention that also sees how far apart two places are, up to window_size (Shaw et al. 2018,
/// https://arxiv.org/abs/1803.02155).
class RelativeAttention : public Module {
 public:
  explicit RelativeAttention(const Vits::Config& c)
      : heads_(c.num_attention_heads), window_(c.window_size) {
    const int64_t d = c.hidden_size;
    k_ = add<Linear>("k_proj", d, d, c.use_bias);
    v_ = add<Linear>("v_proj", d, d, c.use_bias);
    q_ = add<Linear>("q_proj", d, d, c.use_bias);
    out_ = add<Linear>("out_proj", d, d, c.use_bias);
    if (window_ > 0) {
      relative_k_ = add_parameter("emb_rel_k", at::zeros({1, 2 * window_ + 1, d / heads_}));
      relative_v_ = add_parameter("emb_rel_v", at::zeros({1, 2 * window_ + 1, d / heads_}));
    }
  }
  /// x [B, T, D], hidden [B, 1, 1, T]: true where a symbol is padding.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& padding) const {
    at::Tensor q = (*q_)(x);
    q = split_heads(q / std::sqrt(static_cast<double>(q.size(2) / heads_)), heads_);
    at::Tensor k = split_heads((*k_)(x), heads_), v = split_heads((*v_)(x), heads_);
    at::Tensor scores = at::matmul(q, k.transpose(-2, -1));
    if (window_ > 0) scores = scores + to_absolute(at::matmul(q, relative_k_[0].t()));
    at::Tensor shares = at::softmax(scores.masked_fill(padding, -1e4), -1);
    at::Tensor y = at::matmul(shares, v);
    if (window_ > 0) y = y + at::matmul(to_relative(shares), relative_v_[0]);
    return (*out_)(join_heads(y));
  }
  void reset_parameters(at::Generator& generator) override {
    if (window_ == 0) return;
    const double deviation = 1 / std::sqrt(static_cast<double>(relative_k_.size(2)));
    relative_k_.normal_(0, deviation, generator);
    relative_v_.normal_(0, deviation, generator);
  }

 private:
  /// For place i and j of T the column of their distance, and whether it is within the window.
  std::pair<at::Tensor, at::Tensor> columns(const at::Tensor& like, int64_t length) const {
    at::Tensor place = at::arange(length, like.options().dtype(at::kLong));
    at::Tensor distance = place.unsqueeze(0) - place.unsqueeze(1);
    return {(distance + window_).clamp(0, 2 * window_), distance.abs() <= window_};
  }
  /// [B, H, T, 2w + 1] by distance → [B, H, T, T] by place.
  at::Tensor to_absolute(const at::Tensor& x) const {
    auto [column, near] = columns(x, x.size(2));
    return x.gather(3, column.expand({x.size(0), x.size(1), -1, -1})) * near;
  }
  /// The other way round.
  at::Tensor to_relative(const at::Tensor& x) const {
    auto [column, near] = columns(x, x.size(2));
    return at::zeros({x.size(0), x.size(1), x.size(2), 2 * window_ + 1}, x.options())
        .scatter_add(3, column.expand({x.size(0), x.size(1), -1, -1}), x * near);
  }

  int64_t heads_, window_;
  std::shared_ptr<Linear> q_, k_, v_, out_;
  at::Tensor relative_k_, relative_v_;
};

class FeedForwardConv : public Module {
 public:
  explicit FeedForwardConv(const Vits::Config& c)
      : activation_(c.hidden_act),
        left_((c.ffn_kernel_size - 1) / 2),
        right_(c.ffn_kernel_size / 2) {
    conv_1_ = add<Conv>("conv_1", c.hidden_size, c.ffn_dim, ConvOptions{{c.ffn_kernel_size}});
    conv_2_ = add<Conv>("conv_2", c.ffn_dim, c.hidden_size, ConvOptions{{c.ffn_kernel_size}});
  }
  /// x [B, T, D], mask [B, 1, T].
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask) const {
    at::Tensor y = activate(activation_, (*conv_1_)(pad(x.transpose(1, 2) * mask)));
    return ((*conv_2_)(pad(y * mask)) * mask).transpose(1, 2);
  }

 private:
  at::Tensor pad(const at::Tensor& x) const { return at::constant_pad_nd(x, {left_, right_}); }
  std::string activation_;
  int64_t left_, right_;
  std::shared_ptr<Conv> conv_1_, conv_2_;
};

}  // namespace

class VitsTextLayer : public Module {
 public:
  explicit VitsTextLayer(const Vits::Config& c) {
    attention_ = add<RelativeAttention>("attention", c);
    norm_ = add<LayerNorm>("layer_norm", c.hidden_size, c.layer_norm_eps);
    feed_forward_ = add<FeedForwardConv>("feed_forward", c);
    final_norm_ = add<LayerNorm>("final_layer_norm", c.hidden_size, c.layer_norm_eps);
  }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask,
                        const at::Tensor& padding) const {
    at::Tensor y = (*norm_)(x + (*attention_)(x, padding));
    return (*final_norm_)(y + (*feed_forward_)(y, mask));
  }

 private:
  std::shared_ptr<RelativeAttention> attention_;
  std::shared_ptr<LayerNorm> norm_, final_norm_;
  std::shared_ptr<FeedForwardConv> feed_forward_;
};

namespace {

class LayerStack : public Module {
 public:
  explicit LayerStack(const Vits::Config& c) {
    layers = add<ModuleList<VitsTextLayer>>("layers");
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers->append(c);
  }
  std::shared_ptr<ModuleList<VitsTextLayer>> layers;
};

}  // namespace

VitsTextEncoder::VitsTextEncoder(const Vits::Config& c)
    : scale_(std::sqrt(static_cast<double>(c.hidden_size))) {
  embed_ = add<Embedding>("embed_tokens", c.vocab_size, c.hidden_size);
  layers_ = add<LayerStack>("encoder", c)->layers;
  project_ = add_child("project", make_same_conv(c.hidden_size, 2 * c.flow_size, 1));
}

VitsPrior VitsTextEncoder::operator()(const at::Tensor& ids, const at::Tensor& mask) const {
  at::Tensor columns = mask.transpose(1, 2);
  at::Tensor x = (*embed_)(ids)*scale_ * columns;
  at::Tensor padding = (mask == 0).unsqueeze(1);
  for (const auto& layer : *layers_) x = (*layer)(x, mask, padding);
  x = (x * columns).transpose(1, 2);
  std::vector<at::Tensor> halves = ((*project_)(x)*mask).chunk(2, 1);
  return {x, halves[0], halves[1]};
}

}  // namespace plait::models
