#include "plait/models/segmentation/unet.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"

namespace plait::models {

namespace {

constexpr const char* kUnit = "unet";

std::vector<int64_t> cube(int64_t dims, int64_t side) {
  return std::vector<int64_t>(static_cast<size_t>(dims), side);
}

/// Normalisation of each item's channel over its places, or of a channel over the batch.
class Norm : public Module {
 public:
  Norm(const std::string& kind, int64_t channels) {
    if (kind == "batch") {
      batch_ = add<BatchNorm>("N", channels);
    } else {
      instance_ = add<GroupNorm>("N", channels, channels);
    }
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return batch_ ? (*batch_)(x) : (*instance_)(x);
  }

 private:
  std::shared_ptr<BatchNorm> batch_;
  std::shared_ptr<GroupNorm> instance_;
};

/// Convolution, normalisation, dropout, activation.
class ConvStep : public Module {
 public:
  ConvStep(const UNet::Config& c, int64_t in, int64_t out) : slope_(c.negative_slope) {
    conv_ =
        add<Conv>("conv", in, out, ConvOptions{.kernel = cube(c.spatial_dims, 3), .padding = {1}});
    norm_ = add<Norm>("adn", c.norm, out);
    dropout_ = add<Dropout>("dropout", c.dropout);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return at::leaky_relu((*dropout_)((*norm_)((*conv_)(x))), slope_);
  }

 private:
  double slope_;
  std::shared_ptr<Conv> conv_;
  std::shared_ptr<Norm> norm_;
  std::shared_ptr<Dropout> dropout_;
};

/// Twice every side, by a transposed convolution of 2×2 and stride 2; weight [in, out, 2, 2].
class Upsample : public Module {
 public:
  Upsample(int64_t dims, int64_t in, int64_t out) : dims_(dims) {
    std::vector<int64_t> shape = {in, out};
    shape.insert(shape.end(), static_cast<size_t>(dims), 2);
    weight_ = add_parameter("weight", at::zeros(shape));
    bias_ = add_parameter("bias", at::zeros({out}));
  }
  void reset_parameters(at::Generator& generator) override {
    // As torch's transposed convolutions start: the fan is counted over the outputs.
    double bound = 1 / std::sqrt(static_cast<double>(weight_[0].numel()));
    weight_.uniform_(-bound, bound, generator);
    bias_.uniform_(-bound, bound, generator);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return at::convolution(x, weight_, bias_, cube(dims_, 2), cube(dims_, 0), cube(dims_, 1),
                           /*transposed=*/true, cube(dims_, 0), 1);
  }

 private:
  int64_t dims_;
  at::Tensor weight_, bias_;
};

struct Deconv : Module {
  Deconv(int64_t dims, int64_t in, int64_t out) : deconv(add<Upsample>("deconv", dims, in, out)) {}
  std::shared_ptr<Upsample> deconv;
};

/// x as large as `like`: an odd side was halved downwards, so its last row is repeated.
at::Tensor fill_up(const at::Tensor& x, const at::Tensor& like) {
  std::vector<int64_t> padding;
  bool any = false;
  for (int64_t d = x.dim() - 1; d >= 2; --d) {
    const int64_t missing = like.size(d) - x.size(d);
    padding.insert(padding.end(), {0, missing});
    any = any || missing != 0;
  }
  if (!any) return x;
  return x.dim() == 4 ? at::replication_pad2d(x, padding) : at::replication_pad3d(x, padding);
}

}  // namespace

void UNet::Config::visit(ConfigVisitor& v) {
  v.field("spatial_dims", spatial_dims, "2: pictures, 3: volumes", {.min = 2, .max = 3});
  v.field("in_channels", in_channels, "Channels of the input", {.min = 1, .max = 1024});
  v.field("num_classes", num_classes, "Classes of a pixel, the background among them",
          {.min = 1, .max = 65536});
  v.field("channels", channels, "Channels of each level, each half as fine as the one before",
          {.min = 1, .max = 8192});
  v.field("last_channels", last_channels, "Channels before the scores", {.min = 1, .max = 8192});
  v.field("norm", norm, "Normalisation", {.one_of = {"instance", "batch"}});
  v.field("negative_slope", negative_slope, "Slope of the activation below 0; 0: ReLU",
          {.min = 0, .max = 1});
  v.field("dropout", dropout, "Dropout after each normalisation", {.min = 0, .max = 0.99});
  v.field("dice_weight", dice_weight, "Weight of the Dice loss beside cross-entropy",
          {.min = 0, .max = 1000});
}

void UNet::Config::validate() const {
  require(channels.size() >= 2 && channels.size() <= 8, kUnit,
          "expected channels of two to eight levels");
  for (size_t i = 1; i < channels.size(); ++i)
    require(channels[i] >= 2 || i == 1, kUnit, "expected at least 2 channels below the top level");
}

UNet::Config UNet::Config::tiny() {
  Config c;
  c.in_channels = 2;
  c.num_classes = 3;
  c.channels = {4, 4, 6, 8, 10};
  c.last_channels = 4;
  return c;
}

class UNet::TwoConv : public Module {
 public:
  TwoConv(const Config& c, int64_t in, int64_t out) {
    first_ = add<ConvStep>("conv_0", c, in, out);
    second_ = add<ConvStep>("conv_1", c, out, out);
  }
  at::Tensor operator()(const at::Tensor& x) const { return (*second_)((*first_)(x)); }

 private:
  std::shared_ptr<ConvStep> first_, second_;
};

class UNet::Down : public Module {
 public:
  Down(const Config& c, int64_t in, int64_t out) : dims_(c.spatial_dims) {
    convs_ = add<TwoConv>("convs", c, in, out);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    const std::vector<int64_t> two = cube(dims_, 2);
    return (*convs_)(dims_ == 2 ? at::max_pool2d(x, two) : at::max_pool3d(x, two));
  }

 private:
  int64_t dims_;
  std::shared_ptr<TwoConv> convs_;
};

class UNet::Up : public Module {
 public:
  /// `middle` channels come from below, `skip` from beside.
  Up(const Config& c, int64_t in, int64_t middle, int64_t skip, int64_t out) {
    upsample_ = add<Deconv>("upsample", c.spatial_dims, in, middle);
    convs_ = add<TwoConv>("convs", c, skip + middle, out);
  }
  at::Tensor operator()(const at::Tensor& below, const at::Tensor& beside) const {
    return (*convs_)(at::cat({beside, fill_up((*upsample_->deconv)(below), beside)}, 1));
  }

 private:
  std::shared_ptr<Deconv> upsample_;
  std::shared_ptr<TwoConv> convs_;
};

UNet::UNet(const Config& c) : config_(c) {
  c.validate();
  const size_t levels = c.channels.size();
  first_ = add<TwoConv>("conv_0", c, c.in_channels, c.channels[0]);
  for (size_t i = 1; i < levels; ++i)
    down_.push_back(add<Down>("down_" + std::to_string(i), c, c.channels[i - 1], c.channels[i]));
  for (size_t i = levels - 1; i > 0; --i) {
    const int64_t in = c.channels[i], skip = c.channels[i - 1];
    const bool top = i == 1;
    up_.push_back(add<Up>("upcat_" + std::to_string(i), c, in, top ? in : in / 2, skip,
                          top ? c.last_channels : skip));
  }
  last_ = add<Conv>("final_conv", c.last_channels, c.num_classes,
                    ConvOptions{.kernel = cube(c.spatial_dims, 1)});
}

UNet::~UNet() = default;

TensorMap UNet::forward(const TensorMap& inputs) {
  const char* name = config_.spatial_dims == 2 ? "pixel_values" : "voxel_values";
  at::Tensor x = get(inputs, name, kUnit);
  const int64_t least = int64_t{1} << down_.size();
  bool fits = x.dim() == config_.spatial_dims + 2 && x.size(0) > 0 &&
              x.size(1) == config_.in_channels && x.is_floating_point();
  for (int64_t d = 2; fits && d < x.dim(); ++d) fits = x.size(d) >= least;
  if (!fits) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         std::string("expected ") + name + " as floats [B, " + std::to_string(config_.in_channels) +
             ", ...] of " + std::to_string(config_.spatial_dims) + " sides of at least " +
             std::to_string(least) + ", got " + describe(x));
  }
  x = (*first_)(x);
  std::vector<at::Tensor> beside;
  for (const auto& down : down_) {
    beside.push_back(x);
    x = (*down)(x);
  }
  at::Tensor deepest = x;
  for (size_t i = 0; i < up_.size(); ++i) x = (*up_[i])(x, beside[up_.size() - 1 - i]);
  return {{"logits", (*last_)(x)}, {"features", deepest}};
}

at::Tensor UNet::loss(const TensorMap& outputs, const at::Tensor& target) const {
  return segmentation_loss(get(outputs, "logits", kUnit), target, config_.dice_weight);
}

}  // namespace plait::models
