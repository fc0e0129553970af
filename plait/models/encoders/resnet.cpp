#include "plait/models/encoders/resnet.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/encoders/image_input.h"

namespace plait::models {

void ResNet::Config::visit(ConfigVisitor& v) {
  v.field("num_channels", num_channels, "Channels of the picture", {.min = 1, .max = 1024});
  v.field("embedding_size", embedding_size, "Channels after the stem", {.min = 1, .max = 8192});
  v.field("hidden_sizes", hidden_sizes, "Channels of each stage", {.min = 1, .max = 65536});
  v.field("depths", depths, "Blocks of each stage", {.min = 1, .max = 200});
  v.field("layer_type", layer_type, "Kind of block", {.one_of = {"basic", "bottleneck"}});
  v.field("hidden_act", hidden_act, "Activation");
  v.field("downsample_in_first_stage", downsample_in_first_stage,
          "Stride 2 in the first stage too");
  v.field("downsample_in_bottleneck", downsample_in_bottleneck,
          "Stride in the first 1x1 convolution (v1.0)");
  v.field("num_classes", num_classes, "Classes of the classifier; 0 leaves it out",
          {.min = 0, .max = 1e6});
}

void ResNet::Config::validate() const {
  if (hidden_sizes.empty() || hidden_sizes.size() != depths.size()) {
    fail(ErrorCode::kInvalidArgument, "resnet",
         "expected hidden_sizes and depths of one length, at least 1");
  }
  for (int64_t size : hidden_sizes) {
    require(layer_type == "basic" || size >= 4, "resnet",
            "expected hidden_sizes of at least 4 for bottleneck blocks");
  }
  check_activation(hidden_act);
}

ResNet::Config ResNet::Config::tiny() {
  Config c;
  c.embedding_size = 8;
  c.hidden_sizes = {16, 24};
  c.depths = {1, 2};
  c.num_classes = 5;
  return c;
}

ResNet::Config ResNet::Config::of_depth(int depth) {
  Config c;
  if (depth == 18 || depth == 34) {
    c.layer_type = "basic";
    c.hidden_sizes = {64, 128, 256, 512};
    c.depths = depth == 18 ? std::vector<int64_t>{2, 2, 2, 2} : std::vector<int64_t>{3, 4, 6, 3};
  } else if (depth == 101) {
    c.depths = {3, 4, 23, 3};
  } else if (depth == 152) {
    c.depths = {3, 8, 36, 3};
  } else if (depth != 50) {
    fail(ErrorCode::kInvalidArgument, "resnet",
         "expected a depth of 18, 34, 50, 101 or 152, got " + std::to_string(depth));
  }
  return c;
}

/// Convolution and normalisation.
class ResNet::ConvLayer : public Module {
 public:
  ConvLayer(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
    convolution_ = add<Conv>("convolution", in, out,
                             ConvOptions{.kernel = {kernel, kernel},
                                         .stride = {stride},
                                         .padding = {kernel / 2},
                                         .bias = false});
    normalization_ = add<BatchNorm>("normalization", out);
  }
  at::Tensor operator()(const at::Tensor& x) const { return (*normalization_)((*convolution_)(x)); }

 private:
  std::shared_ptr<Conv> convolution_;
  std::shared_ptr<BatchNorm> normalization_;
};

class ResNet::Block : public Module {
 public:
  Block(const Config& c, int64_t in, int64_t out, int64_t stride) : act_(c.hidden_act) {
    if (in != out || stride != 1) shortcut_ = add<ConvLayer>("shortcut", in, out, 1, stride);
    layer_ = add<ModuleList<ConvLayer>>("layer");
    if (c.layer_type == "basic") {
      layer_->append(in, out, 3, stride);
      layer_->append(out, out, 3, 1);
    } else {
      int64_t narrow = out / 4;
      layer_->append(in, narrow, 1, c.downsample_in_bottleneck ? stride : 1);
      layer_->append(narrow, narrow, 3, c.downsample_in_bottleneck ? 1 : stride);
      layer_->append(narrow, out, 1, 1);
    }
  }
  at::Tensor operator()(const at::Tensor& input) const {
    at::Tensor x = input;
    for (size_t i = 0; i < layer_->size(); ++i) {
      x = (*layer_)[i](x);
      if (i + 1 < layer_->size()) x = activate(act_, x);
    }
    return activate(act_, x + (shortcut_ ? (*shortcut_)(input) : input));
  }

 private:
  std::string act_;
  std::shared_ptr<ConvLayer> shortcut_;
  std::shared_ptr<ModuleList<ConvLayer>> layer_;
};

class ResNet::Stage : public Module {
 public:
  Stage(const Config& c, int64_t in, int64_t out, int64_t stride, int64_t depth) {
    layers_ = add<ModuleList<Block>>("layers");
    for (int64_t i = 0; i < depth; ++i)
      layers_->append(c, i == 0 ? in : out, out, i == 0 ? stride : 1);
  }
  at::Tensor operator()(at::Tensor x) const {
    for (const auto& block : *layers_) x = (*block)(x);
    return x;
  }

 private:
  std::shared_ptr<ModuleList<Block>> layers_;
};

struct ResNet::Embedder : Module {
  explicit Embedder(const Config& c)
      : embedder(add<ConvLayer>("embedder", c.num_channels, c.embedding_size, 7, 2)) {}
  std::shared_ptr<ConvLayer> embedder;
};

struct ResNet::Stages : Module {
  explicit Stages(const Config& c) : stages(add<ModuleList<Stage>>("stages")) {
    int64_t in = c.embedding_size;
    for (size_t i = 0; i < c.depths.size(); ++i) {
      stages->append(c, in, c.hidden_sizes[i], i == 0 && !c.downsample_in_first_stage ? 1 : 2,
                     c.depths[i]);
      in = c.hidden_sizes[i];
    }
  }
  std::shared_ptr<ModuleList<Stage>> stages;
};

ResNet::ResNet(const Config& c) : config_(c) {
  c.validate();
  embedder_ = add<Embedder>("embedder", c);
  encoder_ = add<Stages>("encoder", c);
  if (c.num_classes > 0)
    classifier_ = add<Linear>("classifier", c.hidden_sizes.back(), c.num_classes);
}

ResNet::~ResNet() = default;

EncoderOutput ResNet::encode(const TensorMap& inputs) {
  at::Tensor x = pixel_values(inputs, config_.num_channels, 1, "resnet");
  x = activate(config_.hidden_act, (*embedder_->embedder)(x));
  x = at::max_pool2d(x, 3, 2, 1);
  for (const auto& stage : *encoder_->stages) x = (*stage)(x);
  return {.tokens = map_to_tokens(x), .mask = {}, .pooled = x.mean({2, 3})};
}

TensorMap ResNet::forward(const TensorMap& inputs) {
  EncoderOutput out = encode(inputs);
  TensorMap named = {{"last_hidden_state", out.tokens}, {"pooled", out.pooled}};
  if (classifier_) named["logits"] = (*classifier_)(out.pooled);
  return named;
}

}  // namespace plait::models
