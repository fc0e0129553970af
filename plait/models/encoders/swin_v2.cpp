#include "plait/models/encoders/swin_v2.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/encoders/image_input.h"

namespace plait::models {

void SwinV2::Config::visit(ConfigVisitor& v) {
  v.field("image_size", image_size, "Side of the pictures it was trained on; sets the windows",
          {.min = 1, .max = 65536});
  v.field("patch_size", patch_size, "Side of a patch", {.min = 1, .max = 1024});
  v.field("num_channels", num_channels, "Channels of the picture", {.min = 1, .max = 1024});
  v.field("embed_dim", embed_dim, "Width of the first stage; each further stage doubles it",
          {.min = 1, .max = 8192});
  v.field("depths", depths, "Blocks of each stage", {.min = 1, .max = 200});
  v.field("num_heads", num_heads, "Attention heads of each stage", {.min = 1, .max = 1024});
  v.field("window_size", window_size, "Side of a window in patches", {.min = 1, .max = 256});
  v.field("pretrained_window_sizes", pretrained_window_sizes,
          "Windows before fine-tuning; 0: the same", {.min = 0, .max = 256});
  v.field("mlp_ratio", mlp_ratio, "Width of the feed-forward layers over the stage's",
          {.min = 0.01, .max = 64});
  v.field("qkv_bias", qkv_bias, "Biases of query and value");
  v.field("hidden_dropout_prob", hidden_dropout_prob, "Dropout while training",
          {.min = 0, .max = 0.99});
  v.field("drop_path_rate", drop_path_rate, "Stochastic depth of the last block",
          {.min = 0, .max = 0.99});
  v.field("hidden_act", hidden_act, "Activation of the feed-forward layers");
  v.field("layer_norm_eps", layer_norm_eps, "Epsilon of the normalisation", {.min = 0, .max = 1});
}

void SwinV2::Config::validate() const {
  size_t n = depths.size();
  if (n == 0 || n > 12 || num_heads.size() != n || pretrained_window_sizes.size() != n) {
    fail(ErrorCode::kInvalidArgument, "swin_v2",
         "expected depths, num_heads and pretrained_window_sizes of one length from 1 to 12");
  }
  for (size_t i = 0; i < n; ++i) {
    require((embed_dim << i) % num_heads[i] == 0, "swin_v2",
            "expected the width of a stage to be a multiple of its heads");
    require(pretrained_window_sizes[i] != 1, "swin_v2",
            "expected pretrained_window_sizes of 0 or at least 2");
  }
  require(image_size / patch_size >> (n - 1) >= 1, "swin_v2",
          "expected image_size to leave a patch in the last stage");
  check_activation(hidden_act);
}

SwinV2::Config SwinV2::Config::tiny() {
  Config c;
  c.image_size = 32;
  c.patch_size = 2;
  c.embed_dim = 8;
  c.depths = {2, 1};
  c.num_heads = {2, 4};
  c.window_size = 4;
  c.pretrained_window_sizes = {0, 3};
  c.mlp_ratio = 2;
  return c;
}

namespace {

/// [B, H, W, D] → [B·windows, w·w, D].
at::Tensor to_windows(const at::Tensor& x, int64_t w) {
  int64_t rows = x.size(1) / w, columns = x.size(2) / w;
  return x.view({x.size(0), rows, w, columns, w, -1})
      .transpose(2, 3)
      .reshape({-1, w * w, x.size(3)});
}

at::Tensor from_windows(const at::Tensor& windows, int64_t w, int64_t height, int64_t width) {
  at::Tensor x = windows.view({-1, height / w, width / w, w, w, windows.size(2)});
  return x.transpose(2, 3).reshape({-1, height, width, windows.size(2)});
}

at::Tensor unit_length(const at::Tensor& x) {
  return x / x.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
}

/// After the shift a window may hold places from opposite edges; they must not see each other.
/// [windows, w·w, w·w].
at::Tensor shift_mask(int64_t height, int64_t width, int64_t window, int64_t shift,
                      const at::TensorOptions& options) {
  auto region = [&](int64_t size) {
    at::Tensor place = at::arange(size, options.dtype(at::kLong));
    return at::ge(place, size - window).to(at::kLong) + at::ge(place, size - shift).to(at::kLong);
  };
  at::Tensor regions = region(height).view({1, -1, 1, 1}) * 3 + region(width).view({1, 1, -1, 1});
  at::Tensor windows = to_windows(regions, window).squeeze(-1);
  at::Tensor apart = at::ne(windows.unsqueeze(1), windows.unsqueeze(2));
  // The reference adds its mask of -100 twice.
  return at::zeros(apart.sizes(), options).masked_fill(apart, -200.0);
}

}  // namespace

class SwinV2::WindowAttention : public Module {
 public:
  WindowAttention(const Config& c, int64_t width, int64_t heads, int64_t window, int64_t pretrained)
      : heads_(heads) {
    self_ = add<Self>("self", c, width, heads, window, pretrained);
    output_ = add<Output>("output", width);
  }

  /// x [B·windows, w·w, D], mask [windows, w·w, w·w] or undefined.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask) const {
    auto split = [&](const at::Tensor& t) {
      return t.view({t.size(0), t.size(1), heads_, -1}).transpose(1, 2);
    };
    at::Tensor q = unit_length(split((*self_->query)(x))), k = unit_length(split((*self_->key)(x)));
    at::Tensor scale = self_->logit_scale.clamp_max(std::log(100.0)).exp();
    at::Tensor scores = at::matmul(q, k.transpose(-2, -1)) * scale + self_->bias();
    if (mask.defined()) {
      at::Tensor by_window = scores.view({-1, mask.size(0), heads_, x.size(1), x.size(1)});
      scores = (by_window + mask.unsqueeze(1)).view(scores.sizes());
    }
    at::Tensor mixed = at::matmul(at::softmax(scores, -1), split((*self_->value)(x)));
    return (*output_->dense)(mixed.transpose(1, 2).reshape(x.sizes()));
  }

 private:
  struct BiasMlp : Module {
    explicit BiasMlp(int64_t heads)
        : in(add<Linear>("0", 2, 512)), out(add<Linear>("2", 512, heads, false)) {}
    std::shared_ptr<Linear> in, out;
  };

  struct Self : Module {
    Self(const Config& c, int64_t width, int64_t heads, int64_t window, int64_t pretrained)
        : places(window * window) {
      logit_scale = add_parameter("logit_scale", at::full({heads, 1, 1}, std::log(10.0)));
      bias_mlp = add<BiasMlp>("continuous_position_bias_mlp", heads);
      query = add<Linear>("query", width, width, c.qkv_bias);
      key = add<Linear>("key", width, width, false);
      value = add<Linear>("value", width, width, c.qkv_bias);

      // Offsets between two places of a window, log-spaced so that larger windows extrapolate
      // little.
      at::Tensor offset = at::arange(-(window - 1), window, at::kFloat);
      double extent =
          pretrained > 0 ? static_cast<double>(pretrained - 1) : std::max<double>(1, window - 1);
      offset = offset / extent * 8;
      offset = offset.sign() * (offset.abs() + 1).log2() / std::log2(8.0);
      int64_t n = 2 * window - 1;
      at::Tensor table =
          at::stack({offset.view({n, 1}).expand({n, n}), offset.view({1, n}).expand({n, n})}, -1);
      offsets =
          add_buffer("relative_coords_table", table.reshape({n * n, 2}), /*persistent=*/false);
      at::Tensor row = at::arange(window, at::kLong).repeat_interleave(window);
      at::Tensor column = at::arange(window, at::kLong).repeat({window});
      at::Tensor pair = (row.unsqueeze(1) - row.unsqueeze(0) + window - 1) * n +
                        (column.unsqueeze(1) - column.unsqueeze(0) + window - 1);
      index = add_buffer("relative_position_index", pair.flatten(), /*persistent=*/false);
    }
    void reset_parameters(at::Generator&) override { logit_scale.fill_(std::log(10.0)); }

    /// [heads, w·w, w·w]
    at::Tensor bias() const {
      at::Tensor table = (*bias_mlp->out)(at::relu((*bias_mlp->in)(offsets)));
      at::Tensor by_pair =
          table.index_select(0, index).view({places, places, -1}).permute({2, 0, 1});
      return 16 * at::sigmoid(by_pair);
    }

    int64_t places;
    at::Tensor logit_scale, offsets, index;
    std::shared_ptr<BiasMlp> bias_mlp;
    std::shared_ptr<Linear> query, key, value;
  };

  struct Output : Module {
    explicit Output(int64_t width) : dense(add<Linear>("dense", width, width)) {}
    std::shared_ptr<Linear> dense;
  };

  int64_t heads_;
  std::shared_ptr<Self> self_;
  std::shared_ptr<Output> output_;
};

class SwinV2::Block : public Module {
 public:
  /// `grid` is the stage's side in patches at image_size: windows are never larger, and are not
  /// shifted when one window covers it.
  Block(const Config& c, int64_t width, int64_t grid, int64_t heads, int64_t pretrained,
        bool shifted, double drop)
      : window_(std::min(grid, c.window_size)),
        shift_(shifted && grid > window_ ? c.window_size / 2 : 0),
        drop_(drop),
        act_(c.hidden_act) {
    attention_ = add<WindowAttention>("attention", c, width, heads, window_, pretrained);
    norm_before_ = add<LayerNorm>("layernorm_before", width, c.layer_norm_eps);
    int64_t wide = static_cast<int64_t>(c.mlp_ratio * static_cast<double>(width));
    intermediate_ = add<Dense>("intermediate", width, wide);
    output_ = add<Dense>("output", wide, width);
    norm_after_ = add<LayerNorm>("layernorm_after", width, c.layer_norm_eps);
    dropout_ = add<Dropout>("dropout", c.hidden_dropout_prob);
  }

  /// x [B, H, W, D]
  at::Tensor operator()(const at::Tensor& input) const {
    int64_t height = input.size(1), width = input.size(2);
    int64_t below = (window_ - height % window_) % window_,
            right = (window_ - width % window_) % window_;
    at::Tensor x = below || right ? at::constant_pad_nd(input, {0, 0, 0, right, 0, below}) : input;
    at::Tensor mask;
    if (shift_ > 0) {
      x = x.roll({-shift_, -shift_}, {1, 2});
      mask = shift_mask(height + below, width + right, window_, shift_,
                        x.options().requires_grad(false));
    }
    x = (*attention_)(to_windows(x.contiguous(), window_), mask);
    x = from_windows(x, window_, height + below, width + right);
    if (shift_ > 0) x = x.roll({shift_, shift_}, {1, 2});
    if (below || right) x = x.slice(1, 0, height).slice(2, 0, width);
    x = input + drop((*norm_before_)(x));
    at::Tensor wide = activate(act_, (*intermediate_->dense)(x));
    return x + drop((*norm_after_)((*dropout_)((*output_->dense)(wide))));
  }

 private:
  struct Dense : Module {
    Dense(int64_t in, int64_t out) : dense(add<Linear>("dense", in, out)) {}
    std::shared_ptr<Linear> dense;
  };
  at::Tensor drop(const at::Tensor& x) const {
    return training() ? drop_path(x, drop_, generator()) : x;
  }

  int64_t window_, shift_;
  double drop_;
  std::string act_;
  std::shared_ptr<WindowAttention> attention_;
  std::shared_ptr<LayerNorm> norm_before_, norm_after_;
  std::shared_ptr<Dense> intermediate_, output_;
  std::shared_ptr<Dropout> dropout_;
};

/// Joins 2×2 neighbours into one place of twice the width.
class SwinV2::PatchMerging : public Module {
 public:
  explicit PatchMerging(int64_t width) {
    reduction_ = add<Linear>("reduction", 4 * width, 2 * width, false);
    norm_ = add<LayerNorm>("norm", 2 * width);
  }
  at::Tensor operator()(at::Tensor x) const {
    int64_t below = x.size(1) % 2, right = x.size(2) % 2;
    if (below || right) x = at::constant_pad_nd(x, {0, 0, 0, right, 0, below});
    auto every = [&](int64_t row, int64_t column) {
      return x.slice(1, row, std::nullopt, 2).slice(2, column, std::nullopt, 2);
    };
    return (*norm_)(
        (*reduction_)(at::cat({every(0, 0), every(1, 0), every(0, 1), every(1, 1)}, -1)));
  }

 private:
  std::shared_ptr<Linear> reduction_;
  std::shared_ptr<LayerNorm> norm_;
};

class SwinV2::Stage : public Module {
 public:
  Stage(const Config& c, size_t i, int64_t first_block, int64_t all_blocks) {
    blocks_ = add<ModuleList<Block>>("blocks");
    int64_t width = c.embed_dim << i, grid = (c.image_size / c.patch_size) >> i;
    for (int64_t b = 0; b < c.depths[i]; ++b) {
      double place = static_cast<double>(first_block + b) /
                     static_cast<double>(std::max<int64_t>(all_blocks - 1, 1));
      blocks_->append(c, width, grid, c.num_heads[i], c.pretrained_window_sizes[i], b % 2 == 1,
                      c.drop_path_rate * place);
    }
    if (i + 1 < c.depths.size()) downsample_ = add<PatchMerging>("downsample", width);
  }
  at::Tensor operator()(at::Tensor x) const {
    for (const auto& block : *blocks_) x = (*block)(x);
    return downsample_ ? (*downsample_)(x) : x;
  }

 private:
  std::shared_ptr<ModuleList<Block>> blocks_;
  std::shared_ptr<PatchMerging> downsample_;
};

struct SwinV2::Embeddings : Module {
  struct Patches : Module {
    explicit Patches(const Config& c)
        : projection(add<Conv>(
              "projection", c.num_channels, c.embed_dim,
              ConvOptions{.kernel = {c.patch_size, c.patch_size}, .stride = {c.patch_size}})) {}
    std::shared_ptr<Conv> projection;
  };
  explicit Embeddings(const Config& c)
      : patch_embeddings(add<Patches>("patch_embeddings", c)),
        norm(add<LayerNorm>("norm", c.embed_dim)),
        dropout(add<Dropout>("dropout", c.hidden_dropout_prob)) {}
  std::shared_ptr<Patches> patch_embeddings;
  std::shared_ptr<LayerNorm> norm;
  std::shared_ptr<Dropout> dropout;
};

struct SwinV2::Stages : Module {
  explicit Stages(const Config& c) : layers(add<ModuleList<Stage>>("layers")) {
    int64_t all = 0, first = 0;
    for (int64_t depth : c.depths) all += depth;
    for (size_t i = 0; i < c.depths.size(); ++i) {
      layers->append(c, i, first, all);
      first += c.depths[i];
    }
  }
  std::shared_ptr<ModuleList<Stage>> layers;
};

SwinV2::SwinV2(const Config& c) : config_(c) {
  c.validate();
  embeddings_ = add<Embeddings>("embeddings", c);
  encoder_ = add<Stages>("encoder", c);
  layernorm_ = add<LayerNorm>("layernorm", width(), c.layer_norm_eps);
}

SwinV2::~SwinV2() = default;

EncoderOutput SwinV2::encode(const TensorMap& inputs) {
  at::Tensor x = pixel_values(inputs, config_.num_channels, 1, "swin_v2");
  int64_t p = config_.patch_size;
  int64_t below = (p - x.size(2) % p) % p, right = (p - x.size(3) % p) % p;
  if (below || right) x = at::constant_pad_nd(x, {0, right, 0, below});
  x = (*embeddings_->patch_embeddings->projection)(x).permute({0, 2, 3, 1});
  x = (*embeddings_->dropout)((*embeddings_->norm)(x));
  for (const auto& stage : *encoder_->layers) x = (*stage)(x);
  at::Tensor tokens = (*layernorm_)(x.flatten(1, 2));
  return {.tokens = tokens, .mask = {}, .pooled = tokens.mean(1)};
}

}  // namespace plait::models
