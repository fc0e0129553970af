#include "plait/models/decoders/hifi_gan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "plait/core/error.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "hifi_gan";
constexpr int64_t kEndKernel = 7;
/// Before the last convolution the slope is torch's default, whatever the config says.
constexpr double kLastSlope = 0.01;

std::shared_ptr<Conv> make_conv(int64_t in, int64_t out, int64_t kernel, int64_t dilation,
                                bool bias = true) {
  return std::make_shared<Conv>(in, out,
                                ConvOptions{.kernel = {kernel},
                                            .padding = {(kernel - 1) * dilation / 2},
                                            .dilation = {dilation},
                                            .bias = bias});
}

}  // namespace

void HifiGan::Config::visit(ConfigVisitor& v) {
  v.field("model_in_dim", model_in_dim, "Bands of the spectrogram", {.min = 1, .max = 4096});
  v.field("upsample_initial_channel", upsample_initial_channel, "Channels before upsampling",
          {.min = 2, .max = 8192});
  v.field("upsample_rates", upsample_rates, "Stride of each transposed convolution",
          {.min = 1, .max = 64});
  v.field("upsample_kernel_sizes", upsample_kernel_sizes, "Its kernel", {.min = 1, .max = 128});
  v.field("resblock_kernel_sizes", resblock_kernel_sizes, "Kernels of the residual blocks",
          {.min = 1, .max = 63});
  v.field("resblock_dilation_sizes", resblock_dilation_sizes, "For each kernel its dilations");
  v.field("resblock", resblock, "Kind of residual block: two convolutions a dilation, or one",
          {.one_of = {"1", "2"}});
  v.field("leaky_relu_slope", leaky_relu_slope, "Slope below zero", {.min = 0, .max = 1});
  v.field("normalize_before", normalize_before, "Take mean and scale from the spectrogram first");
  v.field("last_bias", last_bias, "The last convolution has a bias");
  v.field("speaker_embedding_size", speaker_embedding_size, "Width of a speaker's vector; 0: none",
          {.min = 0, .max = 4096});
}

HifiGan::Config HifiGan::Config::tiny() {
  Config c;
  c.model_in_dim = 6;
  c.upsample_initial_channel = 8;
  c.upsample_rates = {4, 2};
  c.upsample_kernel_sizes = {8, 4};
  c.resblock_kernel_sizes = {3, 5};
  c.resblock_dilation_sizes = Json::parse("[[1, 3], [1, 2]]");
  return c;
}

std::vector<std::vector<int64_t>> HifiGan::Config::dilations() const {
  std::vector<std::vector<int64_t>> out(resblock_kernel_sizes.size(), {1, 3, 5});
  if (resblock_dilation_sizes.is_null()) return out;
  out.clear();
  for (const Json& row : resblock_dilation_sizes.items()) out.push_back(row.as_ints());
  return out;
}

void HifiGan::Config::validate() const {
  const size_t stages = upsample_rates.size();
  require(stages >= 1 && stages <= 16 && stages == upsample_kernel_sizes.size(), kUnit,
          "expected one to sixteen upsample_rates and as many upsample_kernel_sizes");
  require(upsample_initial_channel % (int64_t{1} << stages) == 0, kUnit,
          "expected upsample_initial_channel to be halved by every stage");
  for (size_t i = 0; i < stages; ++i) {
    int64_t excess = upsample_kernel_sizes[i] - upsample_rates[i];
    require(excess >= 0 && excess % 2 == 0, kUnit,
            "expected upsample_kernel_sizes above upsample_rates by an even number");
  }
  require(!resblock_kernel_sizes.empty() && resblock_kernel_sizes.size() <= 16, kUnit,
          "expected one to sixteen resblock_kernel_sizes");
  for (int64_t kernel : resblock_kernel_sizes)
    require(kernel % 2 == 1, kUnit, "expected odd resblock_kernel_sizes");
  auto lists = dilations();
  require(lists.size() == resblock_kernel_sizes.size(), kUnit,
          "expected a list of resblock_dilation_sizes for each kernel");
  for (const auto& list : lists) {
    require(!list.empty() && list.size() <= 16, kUnit, "expected one to sixteen dilations");
    for (int64_t dilation : list)
      require(dilation >= 1 && dilation <= 1024, kUnit, "expected dilations of 1 to 1024");
  }
}

/// torch.nn.ConvTranspose1d: weight [in, out, kernel]; the result is `rate` times as long.
class TransposedConv : public Module {
 public:
  TransposedConv(int64_t in, int64_t out, int64_t kernel, int64_t rate)
      : rate_(rate), padding_((kernel - rate) / 2) {
    weight_ = add_parameter("weight", at::zeros({in, out, kernel}));
    bias_ = add_parameter("bias", at::zeros({out}));
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return at::conv_transpose1d(x, weight_, bias_, {rate_}, {padding_});
  }
  void reset_parameters(at::Generator& generator) override {
    weight_.normal_(0, 0.01, generator);
    bias_.zero_();
  }

 private:
  int64_t rate_, padding_;
  at::Tensor weight_, bias_;
};

class HifiGanBlock : public Module {
 public:
  HifiGanBlock(int64_t channels, int64_t kernel, const std::vector<int64_t>& dilations, bool paired,
               double slope)
      : slope_(slope) {
    first_ = add<ModuleList<Conv>>(paired ? "convs1" : "convs");
    if (paired) second_ = add<ModuleList<Conv>>("convs2");
    for (int64_t dilation : dilations) {
      first_->append_module(make_conv(channels, channels, kernel, dilation));
      if (paired) second_->append_module(make_conv(channels, channels, kernel, 1));
    }
  }
  at::Tensor operator()(at::Tensor x) const {
    for (size_t i = 0; i < first_->size(); ++i) {
      at::Tensor y = (*first_)[i](at::leaky_relu(x, slope_));
      if (second_) y = (*second_)[i](at::leaky_relu_(y, slope_));
      // In place: gradients of convolutions do not look at their results.
      x = y.add_(x);
    }
    return x;
  }

 private:
  double slope_;
  std::shared_ptr<ModuleList<Conv>> first_, second_;
};

HifiGan::HifiGan(Config config) : config_(std::move(config)) {
  config_.validate();
  const int64_t width = config_.upsample_initial_channel;
  conv_pre_ = add_child("conv_pre", make_conv(config_.model_in_dim, width, kEndKernel, 1));
  upsampler_ = add<ModuleList<TransposedConv>>("upsampler");
  blocks_ = add<ModuleList<HifiGanBlock>>("resblocks");
  auto dilations = config_.dilations();
  int64_t channels = width;
  for (size_t i = 0; i < config_.upsample_rates.size(); ++i) {
    upsampler_->append(channels, channels / 2, config_.upsample_kernel_sizes[i],
                       config_.upsample_rates[i]);
    channels /= 2;
    for (size_t k = 0; k < dilations.size(); ++k) {
      blocks_->append(channels, config_.resblock_kernel_sizes[k], dilations[k],
                      config_.resblock == "1", config_.leaky_relu_slope);
    }
  }
  conv_post_ = add_child("conv_post", make_conv(channels, 1, kEndKernel, 1, config_.last_bias));
  if (config_.speaker_embedding_size > 0)
    cond_ = add_child("cond", make_conv(config_.speaker_embedding_size, width, 1, 1));
  if (config_.normalize_before) {
    mean_ = add_buffer("mean", at::zeros({config_.model_in_dim}));
    scale_ = add_buffer("scale", at::ones({config_.model_in_dim}));
  }
}

at::Tensor HifiGan::generate(const at::Tensor& frames, const at::Tensor& speaker) const {
  at::Tensor x = (*conv_pre_)(frames);
  if (speaker.defined() && cond_) x = x + (*cond_)(speaker);
  const size_t kinds = config_.resblock_kernel_sizes.size();
  for (size_t i = 0; i < upsampler_->size(); ++i) {
    x = (*upsampler_)[i](at::leaky_relu_(x, config_.leaky_relu_slope));
    at::Tensor sum = (*blocks_)[i * kinds](x);
    for (size_t k = 1; k < kinds; ++k) sum.add_((*blocks_)[i * kinds + k](x));
    x = sum.div_(static_cast<double>(kinds));
  }
  return (*conv_post_)(at::leaky_relu_(x, kLastSlope)).tanh_().squeeze(1);
}

int64_t HifiGan::hop() const {
  return std::accumulate(config_.upsample_rates.begin(), config_.upsample_rates.end(), int64_t{1},
                         std::multiplies<>());
}

int64_t HifiGan::context() const {
  const auto dilations = config_.dilations();
  int64_t widest = 0;  // What the widest block sees on either side of a sample.
  for (size_t k = 0; k < dilations.size(); ++k) {
    int64_t sum = 0;
    for (int64_t dilation : dilations[k]) sum += dilation + (config_.resblock == "1" ? 1 : 0);
    widest = std::max(widest, sum * (config_.resblock_kernel_sizes[k] / 2));
  }
  int64_t reach = kEndKernel / 2;
  for (size_t i = config_.upsample_rates.size(); i-- > 0;) {
    reach += widest + config_.upsample_kernel_sizes[i] - 1;
    reach = (reach + config_.upsample_rates[i] - 1) / config_.upsample_rates[i];
  }
  return reach + kEndKernel / 2;
}

TensorMap HifiGan::forward(const TensorMap& inputs) {
  at::Tensor x = get(inputs, "spectrogram", kUnit);
  if (x.dim() != 3 || x.size(2) != config_.model_in_dim || x.size(1) == 0) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected spectrogram [B, T, " + std::to_string(config_.model_in_dim) + "], got " +
             describe(x));
  }
  if (config_.normalize_before) x = (x - mean_) / scale_;
  return {{"waveform", generate(x.transpose(1, 2))}};
}

}  // namespace plait::models
