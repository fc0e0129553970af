#include "plait/models/encoders/resnet3d.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {

void ResNet3d::Config::visit(ConfigVisitor& v) {
  v.field("num_channels", num_channels, "Channels of the volume", {.min = 1, .max = 1024});
  v.field("widths", widths, "Channels of each stage (a quarter of its output for bottlenecks)",
          {.min = 1, .max = 65536});
  v.field("depths", depths, "Blocks of each stage", {.min = 1, .max = 200});
  v.field("layer_type", layer_type, "Kind of block", {.one_of = {"basic", "bottleneck"}});
  v.field("stem_kernel", stem_kernel, "Kernel of the first convolution, odd",
          {.min = 1, .max = 15});
  v.field("stem_stride", stem_stride, "Stride of the first convolution", {.min = 1, .max = 8});
  v.field("stem_pool", stem_pool, "Maximum pooling after the stem");
  v.field("bias_downsample", bias_downsample, "Bias in the shortcuts' convolutions");
  v.field("num_classes", num_classes, "Classes of the classifier; 0 leaves it out",
          {.min = 0, .max = 1e6});
}

void ResNet3d::Config::validate() const {
  require(!widths.empty() && widths.size() == depths.size(), "resnet3d",
          "expected widths and depths of one length, at least 1");
  require(stem_kernel % 2 == 1, "resnet3d", "expected an odd stem_kernel");
}

ResNet3d::Config ResNet3d::Config::tiny() {
  Config c;
  c.widths = {4, 6, 8, 10};
  c.depths = {1, 2, 1, 1};
  c.stem_kernel = 5;
  c.num_classes = 3;
  return c;
}

ResNet3d::Config ResNet3d::Config::of_depth(int depth) {
  Config c;
  if (depth == 10) {
    c.depths = {1, 1, 1, 1};
  } else if (depth == 34 || depth == 50) {
    c.depths = {3, 4, 6, 3};
    c.layer_type = depth == 50 ? "bottleneck" : "basic";
  } else if (depth != 18) {
    fail(ErrorCode::kInvalidArgument, "resnet3d",
         "expected a depth of 10, 18, 34 or 50, got " + std::to_string(depth));
  }
  return c;
}

namespace {

ConvOptions cube(int64_t kernel, int64_t stride, bool bias = false) {
  return {.kernel = {kernel, kernel, kernel},
          .stride = {stride},
          .padding = {kernel / 2},
          .bias = bias};
}

int64_t expansion(const ResNet3d::Config& c) { return c.layer_type == "basic" ? 1 : 4; }

}  // namespace

struct ResNet3d::Downsample : Module {
  Downsample(int64_t in, int64_t out, int64_t stride, bool bias) {
    convolution = add<Conv>("0", in, out, cube(1, stride, bias));
    norm = add<BatchNorm>("1", out);
  }
  std::shared_ptr<Conv> convolution;
  std::shared_ptr<BatchNorm> norm;
};

class ResNet3d::Block : public Module {
 public:
  Block(const Config& c, int64_t in, int64_t width, int64_t stride) {
    int64_t out = width * expansion(c);
    bool basic = c.layer_type == "basic";
    // Kernel and stride of each convolution; the stride is the 3×3×3 one's.
    conv(1, in, width, basic ? 3 : 1, basic ? stride : 1);
    conv(2, width, width, 3, basic ? 1 : stride);
    if (!basic) conv(3, width, out, 1, 1);
    if (in != out || stride != 1)
      downsample_ = add<Downsample>("downsample", in, out, stride, c.bias_downsample);
  }

  at::Tensor operator()(const at::Tensor& input) const {
    at::Tensor x = input;
    for (size_t i = 0; i < convolutions_.size(); ++i) {
      x = (*norms_[i])((*convolutions_[i])(x));
      if (i + 1 < convolutions_.size()) x = at::relu(x);
    }
    return at::relu(
        x + (downsample_ ? (*downsample_->norm)((*downsample_->convolution)(input)) : input));
  }

 private:
  void conv(int number, int64_t in, int64_t out, int64_t kernel, int64_t stride) {
    std::string suffix = std::to_string(number);
    convolutions_.push_back(add<Conv>("conv" + suffix, in, out, cube(kernel, stride)));
    norms_.push_back(add<BatchNorm>("bn" + suffix, out));
  }

  std::vector<std::shared_ptr<Conv>> convolutions_;
  std::vector<std::shared_ptr<BatchNorm>> norms_;
  std::shared_ptr<Downsample> downsample_;
};

ResNet3d::ResNet3d(const Config& c) : config_(c) {
  c.validate();
  int64_t in = c.widths[0];
  conv1_ = add<Conv>("conv1", c.num_channels, in, cube(c.stem_kernel, c.stem_stride));
  bn1_ = add<BatchNorm>("bn1", in);
  for (size_t i = 0; i < c.depths.size(); ++i) {
    auto stage = add<ModuleList<Block>>("layer" + std::to_string(i + 1));
    for (int64_t b = 0; b < c.depths[i]; ++b) {
      stage->append(c, in, c.widths[i], i > 0 && b == 0 ? 2 : 1);
      in = c.widths[i] * expansion(c);
    }
    stages_.push_back(std::move(stage));
  }
  if (c.num_classes > 0) fc_ = add<Linear>("fc", in, c.num_classes);
}

ResNet3d::~ResNet3d() = default;

int64_t ResNet3d::width() const { return config_.widths.back() * expansion(config_); }

EncoderOutput ResNet3d::encode(const TensorMap& inputs) {
  const at::Tensor& voxels = get(inputs, "voxel_values", "resnet3d");
  if (voxels.dim() != 5 || voxels.size(1) != config_.num_channels || voxels.numel() == 0 ||
      !voxels.is_floating_point()) {
    fail(ErrorCode::kInvalidArgument, "resnet3d",
         "expected voxel_values [B, " + std::to_string(config_.num_channels) +
             ", D, H, W] floating point, got " + describe(voxels));
  }
  at::Tensor x = at::relu((*bn1_)((*conv1_)(voxels)));
  if (config_.stem_pool) x = at::max_pool3d(x, 3, 2, 1);
  for (const auto& stage : stages_) {
    for (const auto& block : *stage) x = (*block)(x);
  }
  return {.tokens = x.flatten(2).transpose(1, 2), .mask = {}, .pooled = x.mean({2, 3, 4})};
}

TensorMap ResNet3d::forward(const TensorMap& inputs) {
  EncoderOutput out = encode(inputs);
  TensorMap named = {{"last_hidden_state", out.tokens}, {"pooled", out.pooled}};
  if (fc_) named["logits"] = (*fc_)(out.pooled);
  return named;
}

}  // namespace plait::models
