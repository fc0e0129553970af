#include "plait/models/diffusion/autoencoder_kl.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/diffusion/blocks.h"
#include "plait/models/encoders/image_input.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "autoencoder_kl";
constexpr double kEps = 1e-6;
constexpr size_t kMostStages = 8;

using Stage = MapStage<MapAttention>;
using Config = AutoencoderKl::Config;

void add_block(Stage& stage, const Config& c, int64_t in, int64_t out) {
  stage.resnets->append(ResidualOptions{
      .in = in, .out = out, .groups = c.norm_num_groups, .eps = kEps, .act = c.act_fn});
}

at::Tensor run(const Stage& stage, at::Tensor x) {
  for (const auto& block : *stage.resnets) x = (*block)(x);
  for (const auto& smaller : *stage.downsamplers) x = (*smaller)(x);
  for (const auto& larger : *stage.upsamplers) x = (*larger)(x);
  return x;
}

/// Two blocks with an attention between them.
struct Middle : Stage {
  explicit Middle(const Config& c) {
    const int64_t channels = c.block_out_channels.back();
    add_block(*this, c, channels, channels);
    if (c.mid_block_add_attention) attentions->append(channels, c.norm_num_groups, kEps);
    add_block(*this, c, channels, channels);
  }
  at::Tensor operator()(at::Tensor x) const {
    x = (*resnets)[0](x);
    for (const auto& attention : *attentions) x = (*attention)(x);
    return (*resnets)[1](x);
  }
};

ConvOptions three() { return {.kernel = {3, 3}, .padding = {1}}; }
ConvOptions one() { return {.kernel = {1, 1}}; }

}  // namespace

void AutoencoderKl::Config::visit(ConfigVisitor& v) {
  v.field("in_channels", in_channels, "Channels of a picture", {.min = 1, .max = 1024});
  v.field("out_channels", out_channels, "Channels of a decoded picture", {.min = 1, .max = 1024});
  v.field("down_block_types", down_block_types, "Kinds of the encoder's stages",
          {.one_of = {"DownEncoderBlock2D"}});
  v.field("up_block_types", up_block_types, "Kinds of the decoder's stages",
          {.one_of = {"UpDecoderBlock2D"}});
  v.field("block_out_channels", block_out_channels, "Channels of each stage",
          {.min = 1, .max = 65536});
  v.field("layers_per_block", layers_per_block, "Residual blocks of an encoder's stage",
          {.min = 1, .max = 64});
  v.field("act_fn", act_fn, "Activation");
  v.field("latent_channels", latent_channels, "Channels of the latents", {.min = 1, .max = 1024});
  v.field("norm_num_groups", norm_num_groups, "Groups of the normalisations",
          {.min = 1, .max = 4096});
  v.field("sample_size", sample_size, "Height and width that it was trained for",
          {.min = 1, .max = 65536});
  v.field("scaling_factor", scaling_factor, "What latents are multiplied by for the U-Net",
          {.min = 1e-6, .max = 1e6});
  v.field("shift_factor", shift_factor, "What is taken from latents before they are scaled");
  v.field("use_quant_conv", use_quant_conv, "A 1x1 convolution behind the encoder");
  v.field("use_post_quant_conv", use_post_quant_conv, "A 1x1 convolution before the decoder");
  v.field("mid_block_add_attention", mid_block_add_attention, "Attention in the middle");
}

AutoencoderKl::Config AutoencoderKl::Config::tiny() {
  Config c;
  c.down_block_types = {"DownEncoderBlock2D", "DownEncoderBlock2D"};
  c.up_block_types = {"UpDecoderBlock2D", "UpDecoderBlock2D"};
  c.block_out_channels = {8, 12};
  c.norm_num_groups = 4;
  c.sample_size = 16;
  return c;
}

void AutoencoderKl::Config::validate() const {
  const size_t stages = block_out_channels.size();
  require(stages >= 1 && stages <= kMostStages && down_block_types.size() == stages &&
              up_block_types.size() == stages,
          kUnit,
          "expected down_block_types, up_block_types and block_out_channels of one length, 1 to 8");
  for (int64_t channels : block_out_channels) {
    require(channels % norm_num_groups == 0, kUnit,
            "expected block_out_channels to be multiples of norm_num_groups");
  }
  check_activation(act_fn);
}

struct AutoencoderKl::Encoder : Module {
  explicit Encoder(const Config& c) : act(c.act_fn) {
    const auto& channels = c.block_out_channels;
    conv_in = add<Conv>("conv_in", c.in_channels, channels[0], three());
    stages = add<ModuleList<Stage>>("down_blocks");
    int64_t before = channels[0];
    for (size_t i = 0; i < channels.size(); ++i) {
      auto stage = stages->append();
      for (int64_t j = 0; j < c.layers_per_block; ++j) {
        add_block(*stage, c, before, channels[i]);
        before = channels[i];
      }
      if (i + 1 < channels.size()) stage->downsamplers->append(before, /*padding=*/0);
    }
    middle = add<Middle>("mid_block", c);
    norm_out = add<GroupNorm>("conv_norm_out", c.norm_num_groups, before, kEps);
    conv_out = add<Conv>("conv_out", before, 2 * c.latent_channels, three());
  }
  at::Tensor operator()(const at::Tensor& pixels) const {
    at::Tensor x = (*conv_in)(pixels);
    for (const auto& stage : *stages) x = run(*stage, x);
    return (*conv_out)(activate(act, (*norm_out)((*middle)(x))));
  }
  std::string act;
  std::shared_ptr<Conv> conv_in, conv_out;
  std::shared_ptr<ModuleList<Stage>> stages;
  std::shared_ptr<Middle> middle;
  std::shared_ptr<GroupNorm> norm_out;
};

struct AutoencoderKl::Decoder : Module {
  explicit Decoder(const Config& c) : act(c.act_fn) {
    const auto& channels = c.block_out_channels;
    int64_t before = channels.back();
    conv_in = add<Conv>("conv_in", c.latent_channels, before, three());
    middle = add<Middle>("mid_block", c);
    stages = add<ModuleList<Stage>>("up_blocks");
    for (size_t i = channels.size(); i-- > 0;) {
      auto stage = stages->append();
      for (int64_t j = 0; j <= c.layers_per_block; ++j) {
        add_block(*stage, c, before, channels[i]);
        before = channels[i];
      }
      if (i > 0) stage->upsamplers->append(before);
    }
    norm_out = add<GroupNorm>("conv_norm_out", c.norm_num_groups, before, kEps);
    conv_out = add<Conv>("conv_out", before, c.out_channels, three());
  }
  at::Tensor operator()(const at::Tensor& latents) const {
    at::Tensor x = (*middle)((*conv_in)(latents));
    for (const auto& stage : *stages) x = run(*stage, x);
    return (*conv_out)(activate(act, (*norm_out)(x)));
  }
  std::string act;
  std::shared_ptr<Conv> conv_in, conv_out;
  std::shared_ptr<ModuleList<Stage>> stages;
  std::shared_ptr<Middle> middle;
  std::shared_ptr<GroupNorm> norm_out;
};

AutoencoderKl::AutoencoderKl(const Config& c) : config_(c) {
  c.validate();
  encoder_ = add<Encoder>("encoder", c);
  decoder_ = add<Decoder>("decoder", c);
  if (c.use_quant_conv)
    quant_ = add<Conv>("quant_conv", 2 * c.latent_channels, 2 * c.latent_channels, one());
  if (c.use_post_quant_conv)
    post_quant_ = add<Conv>("post_quant_conv", c.latent_channels, c.latent_channels, one());
}

AutoencoderKl::~AutoencoderKl() = default;

int64_t AutoencoderKl::pixels_per_latent() const {
  return int64_t{1} << (config_.block_out_channels.size() - 1);
}

LatentDistribution AutoencoderKl::encode(const at::Tensor& pixels) const {
  const TensorMap inputs = {{"pixel_values", pixels}};
  at::Tensor x = (*encoder_)(pixel_values(inputs, config_.in_channels, pixels_per_latent(), kUnit));
  if (quant_) x = (*quant_)(x);
  auto halves = x.chunk(2, 1);
  return {halves[0], halves[1].clamp(-30, 20)};
}

at::Tensor AutoencoderKl::decode(const at::Tensor& latents) const {
  if (!latents.defined() || latents.dim() != 4 || latents.numel() == 0 ||
      latents.size(1) != config_.latent_channels) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected latents [B, " + std::to_string(config_.latent_channels) + ", h, w], got " +
             (latents.defined() ? describe(latents) : "nothing"));
  }
  return (*decoder_)(post_quant_ ? (*post_quant_)(latents) : latents);
}

at::Tensor AutoencoderKl::scale(const at::Tensor& latents) const {
  return (latents - config_.shift_factor) * config_.scaling_factor;
}

at::Tensor AutoencoderKl::unscale(const at::Tensor& latents) const {
  return latents / config_.scaling_factor + config_.shift_factor;
}

TensorMap AutoencoderKl::forward(const TensorMap& inputs) {
  LatentDistribution latents = encode(get(inputs, "pixel_values", kUnit));
  return {{"mean", latents.mean},
          {"log_variance", latents.log_variance},
          {"sample", decode(latents.mean)}};
}

}  // namespace plait::models
