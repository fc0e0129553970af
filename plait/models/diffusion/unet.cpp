#include "plait/models/diffusion/unet.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "unet";
constexpr size_t kMostStages = 8;

/// The value of a stage, of a list that has one for all or one for each.
int64_t at_level(const std::vector<int64_t>& list, size_t level) {
  return list.size() == 1 ? list[0] : list[level];
}

bool attends(const std::string& block) { return block.starts_with("CrossAttn"); }

}  // namespace

void UNet2dCondition::Config::visit(ConfigVisitor& v) {
  v.field("sample_size", sample_size, "Height and width that the network was trained for",
          {.min = 1, .max = 4096});
  v.field("in_channels", in_channels, "Channels of the noisy picture (9 with mask and picture)",
          {.min = 1, .max = 1024});
  v.field("out_channels", out_channels, "Channels of what is predicted", {.min = 1, .max = 1024});
  v.field("flip_sin_to_cos", flip_sin_to_cos, "Cosines before sines in the time embedding");
  v.field("freq_shift", freq_shift, "Shift of the time embedding's frequencies",
          {.min = 0, .max = 1});
  v.field("down_block_types", down_block_types, "Kinds of the stages downwards",
          {.one_of = {"CrossAttnDownBlock2D", "DownBlock2D"}});
  v.field("up_block_types", up_block_types, "Kinds of the stages upwards",
          {.one_of = {"CrossAttnUpBlock2D", "UpBlock2D"}});
  v.field("block_out_channels", block_out_channels, "Channels of each stage",
          {.min = 1, .max = 65536});
  v.field("layers_per_block", layers_per_block, "Residual blocks of a stage downwards",
          {.min = 1, .max = 64});
  v.field("dropout", dropout, "Dropout while training", {.min = 0, .max = 0.99});
  v.field("act_fn", act_fn, "Activation");
  v.field("norm_num_groups", norm_num_groups, "Groups of the normalisations",
          {.min = 1, .max = 4096});
  v.field("norm_eps", norm_eps, "Epsilon of the normalisations", {.min = 0, .max = 1});
  v.field("cross_attention_dim", cross_attention_dim, "Width of the text's tokens",
          {.min = 1, .max = 65536});
  v.field("transformer_layers_per_block", transformer_layers_per_block,
          "Transformer layers of an attention", {.min = 1, .max = 64});
  v.field("attention_head_dim", attention_head_dim, "Attention heads of each stage",
          {.min = 1, .max = 1024});
  v.field("use_linear_projection", use_linear_projection,
          "Linear layers instead of convolutions around the transformers");
}

UNet2dCondition::Config UNet2dCondition::Config::tiny() {
  Config c;
  c.sample_size = 8;
  c.down_block_types = {"CrossAttnDownBlock2D", "DownBlock2D"};
  c.up_block_types = {"UpBlock2D", "CrossAttnUpBlock2D"};
  c.block_out_channels = {8, 12};
  c.layers_per_block = 1;
  c.norm_num_groups = 4;
  c.cross_attention_dim = 6;
  c.attention_head_dim = {2};
  return c;
}

void UNet2dCondition::Config::validate() const {
  const size_t stages = block_out_channels.size();
  require(stages >= 1 && stages <= kMostStages && down_block_types.size() == stages &&
              up_block_types.size() == stages,
          kUnit,
          "expected down_block_types, up_block_types and block_out_channels of one length, 1 to 8");
  const auto fits = [&](const auto& list) { return list.size() == 1 || list.size() == stages; };
  require(fits(attention_head_dim) && fits(transformer_layers_per_block), kUnit,
          "expected attention_head_dim and transformer_layers_per_block with one value, or one for "
          "each stage");
  for (size_t i = 0; i < stages; ++i) {
    require(block_out_channels[i] % norm_num_groups == 0, kUnit,
            "expected block_out_channels to be multiples of norm_num_groups");
    require(block_out_channels[i] % at_level(attention_head_dim, i) == 0, kUnit,
            "expected block_out_channels to be multiples of attention_head_dim (the number of "
            "heads)");
  }
  require(block_out_channels[0] / 2 > freq_shift, kUnit,
          "expected block_out_channels of at least 4 for the time embedding");
  check_activation(act_fn);
}

struct UNet2dCondition::TimeEmbedding : Module {
  TimeEmbedding(int64_t in, int64_t out)
      : linear_1(add<Linear>("linear_1", in, out)), linear_2(add<Linear>("linear_2", out, out)) {}
  std::shared_ptr<Linear> linear_1, linear_2;
};

UNet2dCondition::UNet2dCondition(const Config& c) : config_(c) {
  c.validate();
  const auto& channels = c.block_out_channels;
  const size_t stages = channels.size();
  // A residual block of a level, with an attention behind it where the stage has them.
  const auto add_block = [&](Stage& stage, int64_t in, size_t level, bool attending) {
    stage.resnets->append(ResidualOptions{.in = in,
                                          .out = channels[level],
                                          .time_width = 4 * channels[0],
                                          .groups = c.norm_num_groups,
                                          .eps = c.norm_eps,
                                          .act = c.act_fn,
                                          .dropout = c.dropout});
    if (!attending) return;
    stage.attentions->append(
        TransformerOptions{.channels = channels[level],
                           .heads = at_level(c.attention_head_dim, level),
                           .layers = at_level(c.transformer_layers_per_block, level),
                           .state_width = c.cross_attention_dim,
                           .groups = c.norm_num_groups,
                           .dropout = c.dropout,
                           .linear_projection = c.use_linear_projection});
  };

  conv_in_ = add<Conv>("conv_in", c.in_channels, channels[0],
                       ConvOptions{.kernel = {3, 3}, .padding = {1}});
  time_ = add<TimeEmbedding>("time_embedding", channels[0], 4 * channels[0]);
  down_ = add<ModuleList<Stage>>("down_blocks");
  int64_t before = channels[0];
  for (size_t level = 0; level < stages; ++level) {
    auto stage = down_->append();
    for (int64_t i = 0; i < c.layers_per_block; ++i) {
      add_block(*stage, before, level, attends(c.down_block_types[level]));
      before = channels[level];
    }
    if (level + 1 < stages) stage->downsamplers->append(before, /*padding=*/1);
  }
  middle_ = add<Stage>("mid_block");
  add_block(*middle_, before, stages - 1, true);
  add_block(*middle_, before, stages - 1, false);
  up_ = add<ModuleList<Stage>>("up_blocks");
  for (size_t i = 0; i < stages; ++i) {
    const size_t level = stages - 1 - i;
    auto stage = up_->append();
    // The last block takes what came out of the level's downsampling, so of the one below.
    for (int64_t j = 0; j <= c.layers_per_block; ++j) {
      const int64_t kept =
          j < c.layers_per_block ? channels[level] : channels[level > 0 ? level - 1 : 0];
      add_block(*stage, before + kept, level, attends(c.up_block_types[i]));
      before = channels[level];
    }
    if (level > 0) stage->upsamplers->append(before);
  }
  norm_out_ = add<GroupNorm>("conv_norm_out", c.norm_num_groups, channels[0], c.norm_eps);
  conv_out_ = add<Conv>("conv_out", channels[0], c.out_channels,
                        ConvOptions{.kernel = {3, 3}, .padding = {1}});
}

/// The activated embedding [B or 1, 4·C] of the times (sines and cosines of Vaswani et al. 2017).
at::Tensor UNet2dCondition::embed_time(const at::Tensor& timestep, int64_t batch) const {
  require(timestep.defined() && timestep.dim() <= 1 && timestep.numel() > 0 &&
              (timestep.numel() == 1 || timestep.numel() == batch),
          kUnit, "expected timestep with one number, or one for each row");
  const int64_t width = config_.block_out_channels[0], half = width / 2;
  at::Tensor t = timestep.reshape({-1, 1}).to(device(), at::kFloat);
  at::Tensor power = at::arange(half, t.options()) / static_cast<double>(half - config_.freq_shift);
  at::Tensor angle = t * at::exp(power * -std::log(10000.0));
  at::Tensor wave = config_.flip_sin_to_cos ? at::cat({angle.cos(), angle.sin()}, 1)
                                            : at::cat({angle.sin(), angle.cos()}, 1);
  if (width % 2 == 1) wave = at::constant_pad_nd(wave, {0, 1});
  at::Tensor hidden = activate(config_.act_fn, (*time_->linear_1)(wave.to(dtype())));
  return activate(config_.act_fn, (*time_->linear_2)(hidden));
}

at::Tensor UNet2dCondition::denoise(const at::Tensor& sample, const at::Tensor& timestep,
                                    const at::Tensor& given, const at::Tensor& state_mask) const {
  if (!sample.defined() || sample.dim() != 4 || sample.numel() == 0 ||
      sample.size(1) != config_.in_channels || !sample.is_floating_point()) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected sample [B, " + std::to_string(config_.in_channels) + ", H, W], got " +
             (sample.defined() ? describe(sample) : "nothing"));
  }
  const int64_t batch = sample.size(0);
  if (!given.defined() || given.dim() != 3 || given.size(0) != batch || given.size(1) == 0 ||
      given.size(2) != config_.cross_attention_dim) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected encoder_hidden_states [" + std::to_string(batch) + ", S, " +
             std::to_string(config_.cross_attention_dim) + "], got " +
             (given.defined() ? describe(given) : "nothing"));
  }
  require(!state_mask.defined() || (state_mask.dim() == 2 && state_mask.size(0) == batch &&
                                    state_mask.size(1) == given.size(1)),
          kUnit, "expected encoder_attention_mask of the shape of encoder_hidden_states' tokens");
  const at::Tensor mask = key_mask(state_mask);
  const at::Tensor states = given.to(dtype());
  const at::Tensor time = embed_time(timestep, batch);
  const auto block = [&](const Stage& stage, size_t i, const at::Tensor& x) {
    at::Tensor y = (*stage.resnets)[i](x, time);
    return i < stage.attentions->size() ? (*stage.attentions)[i](y, states, mask) : y;
  };

  at::Tensor x = (*conv_in_)(sample);
  std::vector<at::Tensor> kept = {x};
  for (const auto& stage : *down_) {
    for (size_t i = 0; i < stage->resnets->size(); ++i) kept.push_back(x = block(*stage, i, x));
    for (const auto& smaller : *stage->downsamplers) kept.push_back(x = (*smaller)(x));
  }
  for (size_t i = 0; i < middle_->resnets->size(); ++i) x = block(*middle_, i, x);
  for (const auto& stage : *up_) {
    for (size_t i = 0; i < stage->resnets->size(); ++i) {
      x = block(*stage, i, at::cat({x, kept.back()}, 1));
      kept.pop_back();
    }
    // Sizes that do not halve evenly come back as they were.
    for (const auto& larger : *stage->upsamplers)
      x = (*larger)(x, kept.back().size(2), kept.back().size(3));
  }
  return (*conv_out_)(activate(config_.act_fn, (*norm_out_)(x)));
}

TensorMap UNet2dCondition::forward(const TensorMap& inputs) {
  return {{"sample", denoise(get(inputs, "sample", kUnit), get(inputs, "timestep", kUnit),
                             get(inputs, "encoder_hidden_states", kUnit),
                             get_or_undefined(inputs, "encoder_attention_mask"))}};
}

}  // namespace plait::models
