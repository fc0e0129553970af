#include "plait/models/fusion/cross_modal_attention.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {

void CrossModalAttention::Config::visit(ConfigVisitor& v) {
  v.field("text_dim", text_dim, "Width of the text tokens", {.min = 1, .max = 65536});
  v.field("image_dim", image_dim, "Width of the image tokens", {.min = 1, .max = 65536});
  v.field("embed_dim", embed_dim, "Width of the attention and of the output",
          {.min = 1, .max = 65536});
  v.field("num_heads", num_heads, "Attention heads", {.min = 1, .max = 256});
}

CrossModalAttention::Config CrossModalAttention::Config::tiny() {
  Config c;
  c.text_dim = 6;
  c.image_dim = 10;
  c.embed_dim = 8;
  c.num_heads = 2;
  return c;
}

void CrossModalAttention::Config::validate() const {
  require(embed_dim % num_heads == 0, "cross_modal_attention",
          "expected embed_dim to be a multiple of num_heads");
}

CrossModalAttention::CrossModalAttention(const Config& config) : config_(config) {
  q_proj_ = add<Linear>("q_proj", config.text_dim, config.embed_dim);
  k_proj_ = add<Linear>("k_proj", config.image_dim, config.embed_dim);
  v_proj_ = add<Linear>("v_proj", config.image_dim, config.embed_dim);
  out_proj_ = add<Linear>("out_proj", config.embed_dim, config.embed_dim);
}

at::Tensor CrossModalAttention::operator()(const at::Tensor& text, const at::Tensor& image,
                                           const at::Tensor& image_mask) const {
  if (text.dim() != 3 || image.dim() != 3 || text.size(0) != image.size(0) ||
      text.size(2) != config_.text_dim || image.size(2) != config_.image_dim) {
    fail(ErrorCode::kInvalidArgument, "cross_modal_attention",
         "expected text [B, T, " + std::to_string(config_.text_dim) + "] and image [B, N, " +
             std::to_string(config_.image_dim) + "], got " + describe(text) + " and " +
             describe(image));
  }
  at::Tensor keys = image, real;
  if (image_mask.defined()) {
    if (image_mask.dim() != 2 || image_mask.size(0) != image.size(0) ||
        image_mask.size(1) != image.size(1)) {
      fail(ErrorCode::kInvalidArgument, "cross_modal_attention",
           "expected image_mask [B, N] for image " + describe(image) + ", got " +
               describe(image_mask));
    }
    real = image_mask.to(at::kBool);
    keys = at::where(real.unsqueeze(-1), image, at::zeros_like(image));
  }
  at::Tensor out = (*out_proj_)(attention((*q_proj_)(text), (*k_proj_)(keys), (*v_proj_)(keys),
                                          config_.num_heads, key_mask(image_mask)));
  if (!real.defined()) return out;
  return at::where(real.any(1).unsqueeze(-1).unsqueeze(-1), out, at::zeros_like(out));
}

TensorMap CrossModalAttention::forward(const TensorMap& inputs) {
  return {{"output", (*this)(get(inputs, "text", "cross_modal_attention"),
                             get(inputs, "image", "cross_modal_attention"),
                             get_or_undefined(inputs, "image_mask"))}};
}

}  // namespace plait::models
