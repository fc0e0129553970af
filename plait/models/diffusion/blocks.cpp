#include "plait/models/diffusion/blocks.h"

#include <ATen/ATen.h>

#include "plait/models/encoders/image_input.h"

namespace plait::models {
namespace {

ConvOptions square(int64_t kernel, int64_t stride = 1) {
  return {.kernel = {kernel, kernel}, .stride = {stride}, .padding = {kernel / 2}};
}

/// Tokens [B, H·W, D] → the map [B, D, H, W].
at::Tensor tokens_to_map(const at::Tensor& tokens, const at::Tensor& like) {
  return tokens.transpose(1, 2).reshape({like.size(0), -1, like.size(2), like.size(3)});
}

}  // namespace

ResidualBlock::ResidualBlock(const ResidualOptions& o) : act_(o.act) {
  norm1_ = add<GroupNorm>("norm1", o.groups, o.in, o.eps);
  conv1_ = add<Conv>("conv1", o.in, o.out, square(3));
  if (o.time_width > 0) time_ = add<Linear>("time_emb_proj", o.time_width, o.out);
  norm2_ = add<GroupNorm>("norm2", o.groups, o.out, o.eps);
  dropout_ = add<Dropout>("dropout", o.dropout);
  conv2_ = add<Conv>("conv2", o.out, o.out, square(3));
  if (o.in != o.out) shortcut_ = add<Conv>("conv_shortcut", o.in, o.out, square(1));
}

at::Tensor ResidualBlock::operator()(const at::Tensor& input, const at::Tensor& time) const {
  at::Tensor x = (*conv1_)(activate(act_, (*norm1_)(input)));
  if (time_) x = x + (*time_)(time).unsqueeze(-1).unsqueeze(-1);
  x = (*conv2_)((*dropout_)(activate(act_, (*norm2_)(x))));
  return (shortcut_ ? (*shortcut_)(input) : input) + x;
}

Downsample::Downsample(int64_t channels, int64_t padding) : pad_end_(padding == 0) {
  conv_ = add<Conv>("conv", channels, channels,
                    ConvOptions{.kernel = {3, 3}, .stride = {2}, .padding = {padding}});
}

at::Tensor Downsample::operator()(const at::Tensor& x) const {
  return (*conv_)(pad_end_ ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x);
}

Upsample::Upsample(int64_t channels) { conv_ = add<Conv>("conv", channels, channels, square(3)); }

at::Tensor Upsample::operator()(const at::Tensor& x, int64_t height, int64_t width) const {
  if (height == 0) height = 2 * x.size(2);
  if (width == 0) width = 2 * x.size(3);
  return (*conv_)(at::upsample_nearest2d(x, {height, width}));
}

CrossAttention::CrossAttention(int64_t width, int64_t state_width, int64_t heads, bool bias)
    : heads_(heads) {
  q_ = add<Linear>("to_q", width, width, bias);
  k_ = add<Linear>("to_k", state_width, width, bias);
  v_ = add<Linear>("to_v", state_width, width, bias);
  out_ = add<ModuleList<Linear>>("to_out");
  out_->append(width, width);
}

at::Tensor CrossAttention::operator()(const at::Tensor& x, const at::Tensor& states,
                                      const at::Tensor& mask) const {
  const at::Tensor& from = states.defined() ? states : x;
  return (*out_)[0](attention((*q_)(x), (*k_)(from), (*v_)(from), heads_, mask));
}

MapAttention::MapAttention(int64_t channels, int64_t groups, double eps) {
  norm_ = add<GroupNorm>("group_norm", groups, channels, eps);
  q_ = add<Linear>("to_q", channels, channels);
  k_ = add<Linear>("to_k", channels, channels);
  v_ = add<Linear>("to_v", channels, channels);
  out_ = add<ModuleList<Linear>>("to_out");
  out_->append(channels, channels);
}

at::Tensor MapAttention::operator()(const at::Tensor& x) const {
  at::Tensor tokens = map_to_tokens((*norm_)(x));
  tokens = attention((*q_)(tokens), (*k_)(tokens), (*v_)(tokens), /*heads=*/1);
  return x + tokens_to_map((*out_)[0](tokens), x);
}

namespace {

/// proj gives values and gates side by side; the gates pass a GELU.
struct GatedLinear : Module {
  GatedLinear(int64_t in, int64_t out) : proj(add<Linear>("proj", in, 2 * out)) {}
  at::Tensor operator()(const at::Tensor& x) const {
    auto halves = (*proj)(x).chunk(2, -1);
    return halves[0] * at::gelu(halves[1]);
  }
  std::shared_ptr<Linear> proj;
};

/// The checkpoint numbers the parts of "net" 0 (gated), 1 (dropout, no weights) and 2.
struct GatedFeedForward : Module {
  struct Net : Module {
    Net(int64_t width, double dropout)
        : in(add<GatedLinear>("0", width, 4 * width)),
          drop(add<Dropout>("1", dropout)),
          out(add<Linear>("2", 4 * width, width)) {}
    std::shared_ptr<GatedLinear> in;
    std::shared_ptr<Dropout> drop;
    std::shared_ptr<Linear> out;
  };
  GatedFeedForward(int64_t width, double dropout) : net(add<Net>("net", width, dropout)) {}
  at::Tensor operator()(const at::Tensor& x) const {
    return (*net->out)((*net->drop)((*net->in)(x)));
  }
  std::shared_ptr<Net> net;
};

}  // namespace

class SpatialTransformerLayer : public Module {
 public:
  explicit SpatialTransformerLayer(const TransformerOptions& o) {
    norm1_ = add<LayerNorm>("norm1", o.channels);
    self_ = add<CrossAttention>("attn1", o.channels, o.channels, o.heads);
    norm2_ = add<LayerNorm>("norm2", o.channels);
    cross_ = add<CrossAttention>("attn2", o.channels, o.state_width, o.heads);
    norm3_ = add<LayerNorm>("norm3", o.channels);
    feed_forward_ = add<GatedFeedForward>("ff", o.channels, o.dropout);
    dropout_ = add<Dropout>("dropout", o.dropout);
  }
  at::Tensor operator()(at::Tensor x, const at::Tensor& states, const at::Tensor& mask) const {
    x = x + (*dropout_)((*self_)((*norm1_)(x)));
    x = x + (*dropout_)((*cross_)((*norm2_)(x), states, mask));
    return x + (*feed_forward_)((*norm3_)(x));
  }

 private:
  std::shared_ptr<LayerNorm> norm1_, norm2_, norm3_;
  std::shared_ptr<CrossAttention> self_, cross_;
  std::shared_ptr<GatedFeedForward> feed_forward_;
  std::shared_ptr<Dropout> dropout_;
};

SpatialTransformer::SpatialTransformer(const TransformerOptions& o) : linear_(o.linear_projection) {
  norm_ = add<GroupNorm>("norm", o.groups, o.channels, 1e-6);
  if (linear_) {
    linear_in_ = add<Linear>("proj_in", o.channels, o.channels);
  } else {
    conv_in_ = add<Conv>("proj_in", o.channels, o.channels, square(1));
  }
  layers_ = add<ModuleList<SpatialTransformerLayer>>("transformer_blocks");
  for (int64_t i = 0; i < o.layers; ++i) layers_->append(o);
  if (linear_) {
    linear_out_ = add<Linear>("proj_out", o.channels, o.channels);
  } else {
    conv_out_ = add<Conv>("proj_out", o.channels, o.channels, square(1));
  }
}

at::Tensor SpatialTransformer::operator()(const at::Tensor& x, const at::Tensor& states,
                                          const at::Tensor& mask) const {
  at::Tensor normed = (*norm_)(x);
  at::Tensor tokens =
      linear_ ? (*linear_in_)(map_to_tokens(normed)) : map_to_tokens((*conv_in_)(normed));
  for (const auto& layer : *layers_) tokens = (*layer)(tokens, states, mask);
  return x + (linear_ ? tokens_to_map((*linear_out_)(tokens), x)
                      : (*conv_out_)(tokens_to_map(tokens, x)));
}

}  // namespace plait::models
