#include "plait/models/encoders/picture_net.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/encoders/image_input.h"

namespace plait::models {

void PictureNet::Config::visit(ConfigVisitor& v) {
  v.field("num_channels", num_channels, "Channels of the picture", {.min = 1, .max = 1024});
  v.field("stem_channels", stem_channels, "Channels after the first convolution",
          {.min = 1, .max = 4096});
  v.field("channels", channels, "Width of each stage; each halves the picture",
          {.min = 1, .max = 8192});
  v.field("depths", depths, "Blocks of each stage", {.min = 0, .max = 100});
  v.field("kernel", kernel, "Depthwise kernel (odd)", {.min = 1, .max = 31});
  v.field("expansion", expansion, "Widening inside a block", {.min = 1, .max = 16});
  v.field("num_attention_heads", num_attention_heads, "Heads of the attention pooling",
          {.min = 1, .max = 256});
  v.field("dropout", dropout, "Dropout of the pooled feature while training",
          {.min = 0, .max = 0.99});
  v.field("drop_path", drop_path, "Stochastic depth of the last block", {.min = 0, .max = 0.99});
}

void PictureNet::Config::validate() const {
  if (channels.empty() || channels.size() > 8 || channels.size() != depths.size()) {
    fail(ErrorCode::kInvalidArgument, "picture_net",
         "expected channels and depths of one length from 1 to 8");
  }
  require(kernel % 2 == 1, "picture_net", "expected an odd kernel");
  require(channels.back() % num_attention_heads == 0, "picture_net",
          "expected the last of channels to be a multiple of num_attention_heads");
}

PictureNet::Config PictureNet::Config::tiny() {
  Config c;
  c.stem_channels = 6;
  c.channels = {8, 12, 16};
  c.depths = {1, 1, 2};
  c.num_attention_heads = 2;
  return c;
}

// Between the convolutions x is [B, H, W, D]: the pointwise layers and normalisation then run on
// contiguous rows, and the same memory seen as [B, D, H, W] is the channels-last layout that the
// convolution kernels like.
namespace {

at::Tensor as_map(const at::Tensor& x) { return x.permute({0, 3, 1, 2}); }
at::Tensor as_rows(const at::Tensor& map) { return map.permute({0, 2, 3, 1}); }

}  // namespace

/// x + W₂ gelu(W₁ norm(depthwise(x)))
class PictureNet::Block : public Module {
 public:
  Block(const Config& c, int64_t width, double drop) : drop_(drop) {
    depthwise_ = add<Conv>(
        "depthwise", width, width,
        ConvOptions{.kernel = {c.kernel, c.kernel}, .padding = {c.kernel / 2}, .groups = width});
    norm_ = add<LayerNorm>("norm", width);
    expand_ = add<Linear>("expand", width, c.expansion * width);
    project_ = add<Linear>("project", c.expansion * width, width);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor y = (*norm_)(as_rows((*depthwise_)(as_map(x))));
    y = (*project_)(at::gelu((*expand_)(y)));
    return x + (training() ? drop_path(y, drop_, generator()) : y);
  }

 private:
  double drop_;
  std::shared_ptr<Conv> depthwise_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> expand_, project_;
};

class PictureNet::Stage : public Module {
 public:
  Stage(const Config& c, size_t i, double first_drop, double drop_step) {
    bool first = i == 0;
    int64_t in = first ? c.stem_channels : c.channels[i - 1];
    norm_ = add<LayerNorm>("norm", in);
    downsample_ = add<Conv>(
        "downsample", in, c.channels[i],
        ConvOptions{
            .kernel = {first ? 3 : 2, first ? 3 : 2}, .stride = {2}, .padding = {first ? 1 : 0}});
    blocks_ = add<ModuleList<Block>>("blocks");
    for (int64_t b = 0; b < c.depths[i]; ++b) {
      blocks_->append(c, c.channels[i], first_drop + drop_step * static_cast<double>(b));
    }
  }
  at::Tensor operator()(at::Tensor x) const {
    x = as_rows((*downsample_)(as_map((*norm_)(x))));
    for (const auto& block : *blocks_) x = (*block)(x);
    return x;
  }

 private:
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Conv> downsample_;
  std::shared_ptr<ModuleList<Block>> blocks_;
};

/// A learned query attends to all tokens; what it finds is added to their mean, so that training
/// starts from the mean.
class PictureNet::AttentionPool : public Module {
 public:
  explicit AttentionPool(const Config& c) : heads_(c.num_attention_heads) {
    int64_t width = c.channels.back();
    query_ = add_parameter("query", at::zeros({1, 1, width}));
    key_ = add<Linear>("key", width, width);
    value_ = add<Linear>("value", width, width);
    out_ = add<Linear>("out", width, width);
    dropout_ = add<Dropout>("dropout", c.dropout);
  }
  at::Tensor operator()(const at::Tensor& tokens) const {
    at::Tensor q = query_.expand({tokens.size(0), 1, -1});
    at::Tensor found =
        attention(q.contiguous(), (*key_)(tokens), (*value_)(tokens), heads_).squeeze(1);
    return (*dropout_)(tokens.mean(1) + (*out_)(found));
  }
  void reset_parameters(at::Generator& generator) override { query_.normal_(0, 1, generator); }

 private:
  int64_t heads_;
  at::Tensor query_;
  std::shared_ptr<Linear> key_, value_, out_;
  std::shared_ptr<Dropout> dropout_;
};

PictureNet::PictureNet(const Config& c) : config_(c) {
  c.validate();
  stem_ = add<Conv>("stem", c.num_channels, c.stem_channels,
                    ConvOptions{.kernel = {3, 3}, .stride = {2}, .padding = {1}});
  stages_ = add<ModuleList<Stage>>("stages");
  int64_t all = 0, before = 0;
  for (int64_t depth : c.depths) all += depth;
  double step = c.drop_path / static_cast<double>(std::max<int64_t>(all - 1, 1));
  for (size_t i = 0; i < c.channels.size(); ++i) {
    stages_->append(c, i, step * static_cast<double>(before), step);
    before += c.depths[i];
  }
  norm_ = add<LayerNorm>("norm", c.channels.back());
  pool_ = add<AttentionPool>("pool", c);
}

PictureNet::~PictureNet() = default;

EncoderOutput PictureNet::encode(const TensorMap& inputs) {
  const at::Tensor& pixels =
      pixel_values(inputs, config_.num_channels, config_.stride(), "picture_net");
  at::Tensor x = as_rows((*stem_)(pixels.contiguous(at::MemoryFormat::ChannelsLast)));
  for (const auto& stage : *stages_) x = (*stage)(x);
  at::Tensor tokens = (*norm_)(x).flatten(1, 2);
  return {.tokens = tokens, .mask = {}, .pooled = (*pool_)(tokens)};
}

}  // namespace plait::models
