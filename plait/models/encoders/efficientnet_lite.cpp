#include "plait/models/encoders/efficientnet_lite.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/encoders/image_input.h"

namespace plait::models {

void EfficientNetLite::Config::visit(ConfigVisitor& v) {
  v.field("width_coefficient", width_coefficient, "Scale of the channels",
          {.min = 0.01, .max = 16});
  v.field("depth_coefficient", depth_coefficient, "Scale of the repeats", {.min = 0.01, .max = 16});
  v.field("fix_head_stem", fix_head_stem,
          "Leave stem, head and the repeats of the outer stages unscaled");
  v.field("num_channels", num_channels, "Channels of the picture", {.min = 1, .max = 1024});
  v.field("stem_channels", stem_channels, "Channels after the stem", {.min = 1, .max = 8192});
  v.field("head_channels", head_channels, "Channels of the final feature map",
          {.min = 1, .max = 65536});
  v.field("channels", channels, "Channels of each stage", {.min = 1, .max = 8192});
  v.field("repeats", repeats, "Blocks of each stage", {.min = 1, .max = 100});
  v.field("kernels", kernels, "Depthwise kernel of each stage", {.min = 1, .max = 31});
  v.field("strides", strides, "Stride of each stage", {.min = 1, .max = 4});
  v.field("expansions", expansions, "Expansion of the blocks of each stage", {.min = 1, .max = 32});
  v.field("num_classes", num_classes, "Classes of the classifier; 0 leaves it out",
          {.min = 0, .max = 1e6});
  v.field("dropout", dropout, "Dropout before the classifier", {.min = 0, .max = 0.99});
  v.field("drop_path", drop_path, "Stochastic depth of the last block", {.min = 0, .max = 0.99});
  v.field("batch_norm_eps", batch_norm_eps, "Epsilon of batch normalisation", {.min = 0, .max = 1});
  v.field("batch_norm_momentum", batch_norm_momentum, "Momentum of the running statistics",
          {.min = 0, .max = 1});
}

void EfficientNetLite::Config::validate() const {
  size_t n = channels.size();
  if (n == 0 || repeats.size() != n || kernels.size() != n || strides.size() != n ||
      expansions.size() != n) {
    fail(ErrorCode::kInvalidArgument, "efficientnet_lite",
         "expected channels, repeats, kernels, strides and expansions of one length");
  }
}

EfficientNetLite::Config EfficientNetLite::Config::tiny() {
  Config c;
  c.width_coefficient = 0.1;
  c.fix_head_stem = false;
  c.channels = {160, 80, 120};
  c.repeats = {1, 2, 1};
  c.kernels = {3, 5, 3};
  c.strides = {1, 2, 2};
  c.expansions = {1, 6, 6};
  c.num_classes = 5;
  return c;
}

EfficientNetLite::Config EfficientNetLite::Config::lite(int variant) {
  static constexpr double kScales[][3] = {
      {1.0, 1.0, 0.2}, {1.0, 1.1, 0.2}, {1.1, 1.2, 0.3}, {1.2, 1.4, 0.3}, {1.4, 1.8, 0.3}};
  require(variant >= 0 && variant <= 4, "efficientnet_lite", "expected a variant from 0 to 4");
  Config c;
  c.width_coefficient = kScales[variant][0];
  c.depth_coefficient = kScales[variant][1];
  c.dropout = kScales[variant][2];
  return c;
}

namespace {

/// Scales channels and rounds them to a multiple of 8, never down by more than a tenth.
int64_t scale_channels(int64_t channels, double coefficient) {
  double scaled = static_cast<double>(channels) * coefficient;
  int64_t rounded = std::max<int64_t>(8, static_cast<int64_t>(scaled + 4) / 8 * 8);
  return static_cast<double>(rounded) < 0.9 * scaled ? rounded + 8 : rounded;
}

/// TensorFlow's "SAME" padding: the output has ⌈size / stride⌉ places, an odd remainder goes below
/// and to the right.
at::Tensor pad_same(const at::Tensor& x, int64_t kernel, int64_t stride) {
  auto total = [&](int64_t size) {
    int64_t out = (size + stride - 1) / stride;
    return std::max<int64_t>((out - 1) * stride + kernel - size, 0);
  };
  int64_t h = total(x.size(2)), w = total(x.size(3));
  if (h == 0 && w == 0) return x;
  return at::constant_pad_nd(x, {w / 2, w - w / 2, h / 2, h - h / 2});
}

}  // namespace

/// Inverted bottleneck: expand, depthwise, project, with a skip connection where the shape allows
/// it.
class EfficientNetLite::Block : public Module {
 public:
  Block(const Config& c, int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t expansion,
        double drop)
      : kernel_(kernel), stride_(stride), skip_(stride == 1 && in == out), drop_(drop) {
    int64_t wide = in * expansion;
    double eps = c.batch_norm_eps, momentum = c.batch_norm_momentum;
    if (expansion != 1) {
      expand_conv_ =
          add<Conv>("_expand_conv", in, wide, ConvOptions{.kernel = {1, 1}, .bias = false});
      bn0_ = add<BatchNorm>("_bn0", wide, eps, momentum);
    }
    // With stride 1 and an odd kernel "SAME" is symmetric, so the convolution pads by itself.
    int64_t pad = symmetric() ? kernel / 2 : 0;
    depthwise_conv_ = add<Conv>("_depthwise_conv", wide, wide,
                                ConvOptions{.kernel = {kernel, kernel},
                                            .stride = {stride},
                                            .padding = {pad},
                                            .groups = wide,
                                            .bias = false});
    bn1_ = add<BatchNorm>("_bn1", wide, eps, momentum);
    project_conv_ =
        add<Conv>("_project_conv", wide, out, ConvOptions{.kernel = {1, 1}, .bias = false});
    bn2_ = add<BatchNorm>("_bn2", out, eps, momentum);
  }

  at::Tensor operator()(const at::Tensor& input) const {
    at::Tensor x = expand_conv_ ? at::relu6((*bn0_)((*expand_conv_)(input))) : input;
    if (!symmetric()) x = pad_same(x, kernel_, stride_);
    x = at::relu6((*bn1_)((*depthwise_conv_)(x)));
    x = (*bn2_)((*project_conv_)(x));
    if (!skip_) return x;
    return input + (training() ? drop_path(x, drop_, generator()) : x);
  }

 private:
  bool symmetric() const { return stride_ == 1 && kernel_ % 2 == 1; }

  int64_t kernel_, stride_;
  bool skip_;
  double drop_;
  std::shared_ptr<Conv> expand_conv_, depthwise_conv_, project_conv_;
  std::shared_ptr<BatchNorm> bn0_, bn1_, bn2_;
};

EfficientNetLite::EfficientNetLite(const Config& c) : config_(c) {
  c.validate();
  auto scale = [&](int64_t channels) { return scale_channels(channels, c.width_coefficient); };
  int64_t stem = c.fix_head_stem ? c.stem_channels : scale(c.stem_channels);
  width_ = c.fix_head_stem ? c.head_channels : scale(c.head_channels);

  conv_stem_ = add<Conv>("_conv_stem", c.num_channels, stem,
                         ConvOptions{.kernel = {3, 3}, .stride = {2}, .bias = false});
  bn0_ = add<BatchNorm>("_bn0", stem, c.batch_norm_eps, c.batch_norm_momentum);

  size_t stages = c.channels.size();
  std::vector<int64_t> repeats = c.repeats;
  int64_t total = 0;
  for (size_t i = 0; i < stages; ++i) {
    bool fixed = c.fix_head_stem && (i == 0 || i + 1 == stages);
    if (!fixed)
      repeats[i] =
          static_cast<int64_t>(std::ceil(c.depth_coefficient * static_cast<double>(repeats[i])));
    total += repeats[i];
  }
  blocks_ = add<ModuleList<Block>>("_blocks");
  int64_t in = stem;
  for (size_t i = 0; i < stages; ++i) {
    int64_t out = scale(c.channels[i]);
    for (int64_t r = 0; r < repeats[i]; ++r) {
      double drop = c.drop_path * static_cast<double>(blocks_->size()) / static_cast<double>(total);
      blocks_->append(c, in, out, c.kernels[i], r == 0 ? c.strides[i] : 1, c.expansions[i], drop);
      in = out;
    }
  }

  conv_head_ = add<Conv>("_conv_head", in, width_, ConvOptions{.kernel = {1, 1}, .bias = false});
  bn1_ = add<BatchNorm>("_bn1", width_, c.batch_norm_eps, c.batch_norm_momentum);
  dropout_ = add<Dropout>("_dropout", c.dropout);
  if (c.num_classes > 0) fc_ = add<Linear>("_fc", width_, c.num_classes);
}

EfficientNetLite::~EfficientNetLite() = default;

EncoderOutput EfficientNetLite::encode(const TensorMap& inputs) {
  at::Tensor x = pixel_values(inputs, config_.num_channels, 1, "efficientnet_lite");
  x = at::relu6((*bn0_)((*conv_stem_)(pad_same(x, 3, 2))));
  for (const auto& block : *blocks_) x = (*block)(x);
  x = at::relu6((*bn1_)((*conv_head_)(x)));
  EncoderOutput out;
  out.pooled = x.mean({2, 3});
  out.tokens = map_to_tokens(x);
  return out;
}

at::Tensor EfficientNetLite::classify(const at::Tensor& pooled) const {
  require(fc_ != nullptr, "efficientnet_lite",
          "expected a model with a classifier (num_classes > 0)");
  return (*fc_)((*dropout_)(pooled));
}

TensorMap EfficientNetLite::forward(const TensorMap& inputs) {
  EncoderOutput out = encode(inputs);
  TensorMap named = {{"last_hidden_state", out.tokens}, {"pooled", out.pooled}};
  if (fc_) named["logits"] = classify(out.pooled);
  return named;
}

}  // namespace plait::models
