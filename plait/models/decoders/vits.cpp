#include "plait/models/decoders/vits.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/models/decoders/vits_layers.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "vits";

double either(double given, double own) { return given >= 0 ? given : own; }

/// Numbers of a style: finite, and such that no sentence lasts for ever.
void check_style(const VitsStyle& style) {
  for (double value : {style.length_scale, style.noise_scale, style.noise_scale_duration})
    require(value <= 20, kUnit, "expected scales of length and noise of at most 20");
  require(style.length_scale < 0 || style.length_scale >= 0.05, kUnit,
          "expected a length_scale of at least 0.05");
}

at::Tensor check_noise(const at::Tensor& noise, int64_t batch, int64_t channels, int64_t length,
                       const char* name) {
  if (noise.dim() != 3 || noise.size(0) != batch || noise.size(1) != channels ||
      noise.size(2) < length || !noise.is_floating_point()) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         std::string("expected ") + name + " [" + std::to_string(batch) + ", " +
             std::to_string(channels) + ", " + std::to_string(length) + " or more], got " +
             describe(noise));
  }
  return noise.narrow(2, 0, length);
}

}  // namespace

void Vits::Config::visit(ConfigVisitor& v) {
  v.field("vocab_size", vocab_size, "Symbols", {.min = 1, .max = 1e6});
  v.field("hidden_size", hidden_size, "Width of the text encoder", {.min = 1, .max = 8192});
  v.field("num_hidden_layers", num_hidden_layers, "Its layers", {.min = 1, .max = 128});
  v.field("num_attention_heads", num_attention_heads, "Its heads", {.min = 1, .max = 256});
  v.field("window_size", window_size, "Distances that attention tells apart; 0: none",
          {.min = 0, .max = 1024});
  v.field("use_bias", use_bias, "Biases in attention");
  v.field("ffn_dim", ffn_dim, "Width of its feed-forward part", {.min = 1, .max = 65536});
  v.field("ffn_kernel_size", ffn_kernel_size, "Its kernel", {.min = 1, .max = 63});
  v.field("hidden_act", hidden_act, "Its activation");
  v.field("layer_norm_eps", layer_norm_eps, "Epsilon of the norms", {.min = 0, .max = 1});
  v.field("flow_size", flow_size, "Channels of the latents", {.min = 2, .max = 8192});
  v.field("use_stochastic_duration_prediction", use_stochastic_duration_prediction,
          "Durations by splines from noise, or by a plain network");
  v.field("num_speakers", num_speakers, "Voices", {.min = 1, .max = 1e6});
  v.field("speaker_embedding_size", speaker_embedding_size, "Width of a voice's vector; 0: none",
          {.min = 0, .max = 4096});
  v.field("upsample_initial_channel", upsample_initial_channel,
          "Of the generator: channels before upsampling", {.min = 2, .max = 8192});
  v.field("upsample_rates", upsample_rates, "Of the generator: strides", {.min = 1, .max = 64});
  v.field("upsample_kernel_sizes", upsample_kernel_sizes, "Of the generator: kernels",
          {.min = 1, .max = 128});
  v.field("resblock_kernel_sizes", resblock_kernel_sizes, "Of the generator: blocks' kernels",
          {.min = 1, .max = 63});
  v.field("resblock_dilation_sizes", resblock_dilation_sizes,
          "Of the generator: for each kernel its dilations");
  v.field("resblock", resblock, "Of the generator: kind of block", {.one_of = {"1", "2"}});
  v.field("leaky_relu_slope", leaky_relu_slope, "Of the generator: slope below zero",
          {.min = 0, .max = 1});
  v.field("depth_separable_channels", depth_separable_channels,
          "Channels of the duration predictor's flows", {.min = 2, .max = 2});
  v.field("depth_separable_num_layers", depth_separable_num_layers,
          "Convolutions in each of its blocks", {.min = 1, .max = 8});
  v.field("duration_predictor_flow_bins", duration_predictor_flow_bins, "Bins of its splines",
          {.min = 2, .max = 100});
  v.field("duration_predictor_tail_bound", duration_predictor_tail_bound,
          "Its splines reach from minus this to this", {.min = 0.1, .max = 1000});
  v.field("duration_predictor_kernel_size", duration_predictor_kernel_size, "Its kernel",
          {.min = 1, .max = 15});
  v.field("duration_predictor_num_flows", duration_predictor_num_flows, "Its flows",
          {.min = 1, .max = 64});
  v.field("duration_predictor_filter_channels", duration_predictor_filter_channels,
          "Width of the plain duration predictor", {.min = 1, .max = 8192});
  v.field("prior_encoder_num_flows", prior_encoder_num_flows, "Residual couplings",
          {.min = 1, .max = 64});
  v.field("prior_encoder_num_wavenet_layers", prior_encoder_num_wavenet_layers,
          "Gated convolutions in each", {.min = 1, .max = 64});
  v.field("wavenet_kernel_size", wavenet_kernel_size, "Their kernel", {.min = 1, .max = 63});
  v.field("wavenet_dilation_rate", wavenet_dilation_rate, "Growth of their dilation",
          {.min = 1, .max = 8});
  v.field("speaking_rate", speaking_rate, "Above 1: faster", {.min = 0.05, .max = 20});
  v.field("noise_scale", noise_scale, "Variation of the sound", {.min = 0, .max = 20});
  v.field("noise_scale_duration", noise_scale_duration, "Variation of the rhythm",
          {.min = 0, .max = 20});
  v.field("sampling_rate", sampling_rate, "Hz", {.min = 1000, .max = 192000});
}

Vits::Config Vits::Config::tiny() {
  Config c;
  c.vocab_size = 23;
  c.hidden_size = 8;
  c.num_hidden_layers = 2;
  c.window_size = 2;
  c.ffn_dim = 12;
  c.flow_size = 6;
  c.upsample_initial_channel = 8;
  c.upsample_rates = {4, 2};
  c.upsample_kernel_sizes = {8, 4};
  c.resblock_kernel_sizes = {3, 5};
  c.resblock_dilation_sizes = Json::parse("[[1, 3], [1, 2]]");
  c.depth_separable_num_layers = 2;
  c.duration_predictor_filter_channels = 10;
  c.prior_encoder_num_flows = 2;
  c.prior_encoder_num_wavenet_layers = 2;
  return c;
}

void Vits::Config::validate() const {
  require(hidden_size % num_attention_heads == 0, kUnit,
          "expected hidden_size to be a multiple of num_attention_heads");
  require(flow_size % 2 == 0, kUnit, "expected an even flow_size");
  for (int64_t kernel : {wavenet_kernel_size, duration_predictor_kernel_size})
    require(kernel % 2 == 1, kUnit, "expected odd kernels");
  require(num_speakers == 1 || speaker_embedding_size > 0, kUnit,
          "expected a speaker_embedding_size with several speakers");
  check_activation(hidden_act);
  generator().validate();
}

HifiGan::Config Vits::Config::generator() const {
  HifiGan::Config c;
  c.model_in_dim = flow_size;
  c.upsample_initial_channel = upsample_initial_channel;
  c.upsample_rates = upsample_rates;
  c.upsample_kernel_sizes = upsample_kernel_sizes;
  c.resblock_kernel_sizes = resblock_kernel_sizes;
  c.resblock_dilation_sizes = resblock_dilation_sizes;
  c.resblock = resblock;
  c.leaky_relu_slope = leaky_relu_slope;
  c.normalize_before = false;
  c.last_bias = false;
  c.speaker_embedding_size = speaker_embedding_size;
  return c;
}

Vits::Vits(Config config) : config_(std::move(config)) {
  config_.validate();
  text_encoder_ = add<VitsTextEncoder>("text_encoder", config_);
  flow_ = add<VitsFlow>("flow", config_);
  decoder_ = add<HifiGan>("decoder", config_.generator());
  durations_ = add_child("duration_predictor", make_durations(config_));
  if (config_.num_speakers > 1) {
    speakers_ =
        add<Embedding>("embed_speaker", config_.num_speakers, config_.speaker_embedding_size);
  }
}

at::Tensor Vits::speaker_of(const TensorMap& inputs, int64_t batch) const {
  at::Tensor ids = get_or_undefined(inputs, "speaker_id");
  if (!ids.defined() || !speakers_) return {};
  require(ids.dim() == 1 && ids.size(0) == batch && ids.scalar_type() == at::kLong, kUnit,
          "expected speaker_id [B] int64");
  require(ids.min().item<int64_t>() >= 0 && ids.max().item<int64_t>() < config_.num_speakers, kUnit,
          "expected speaker_id below num_speakers");
  return (*speakers_)(ids).unsqueeze(-1);
}

VitsLatents Vits::latents(
    const TensorMap& inputs, const VitsStyle& style,
    const std::function<at::Tensor(const std::vector<int64_t>& shape)>& draw) const {
  check_style(style);
  const at::Tensor& ids = get(inputs, "input_ids", kUnit);
  require(ids.dim() == 2 && ids.numel() > 0 && ids.scalar_type() == at::kLong, kUnit,
          "expected input_ids [B, T] int64 with at least one symbol");
  require(ids.min().item<int64_t>() >= 0 && ids.max().item<int64_t>() < config_.vocab_size, kUnit,
          "expected input_ids below vocab_size");
  const int64_t batch = ids.size(0), symbols = ids.size(1);
  const at::ScalarType dtype = text_encoder_->dtype();
  at::Tensor given = get_or_undefined(inputs, "attention_mask");
  if (given.defined())
    require(given.sizes() == ids.sizes(), kUnit, "expected attention_mask as input_ids");
  at::Tensor mask = (given.defined() ? given : at::ones_like(ids)).to(dtype).unsqueeze(1);
  VitsLatents out;
  out.speaker = speaker_of(inputs, batch);
  VitsPrior prior = (*text_encoder_)(ids, mask);

  auto noise_of = [&](const char* name, int64_t channels, int64_t length) {
    at::Tensor noise = get_or_undefined(inputs, name);
    if (!noise.defined()) {
      noise =
          draw ? draw({batch, channels, length}) : at::zeros({batch, channels, length}, at::kFloat);
    }
    return check_noise(noise, batch, channels, length, name).to(ids.device(), dtype);
  };
  at::Tensor rhythm;
  if (config_.use_stochastic_duration_prediction) {
    rhythm = noise_of("duration_noise", config_.depth_separable_channels, symbols) *
             either(style.noise_scale_duration, config_.noise_scale_duration);
  }
  at::Tensor log_duration = durations_->predict(prior.hidden, mask, out.speaker, rhythm);
  out.log_duration = log_duration.squeeze(1);
  at::Tensor frames = get_or_undefined(inputs, "durations");
  if (frames.defined()) {
    require(frames.sizes() == ids.sizes(), kUnit, "expected durations as input_ids");
    frames = frames.to(ids.device(), at::kFloat) * mask.squeeze(1).to(at::kFloat);
  } else {
    const double length = either(style.length_scale, 1 / config_.speaking_rate);
    frames = at::ceil((at::exp(log_duration.detach()) * mask).to(at::kFloat) * length).squeeze(1);
  }
  at::Tensor total = frames.sum(1);
  if (!(total.max().item<double>() <= static_cast<double>(kMaxFrames)) ||
      !(frames.min().item<double>() >= 0)) {
    fail(ErrorCode::kResourceLimit, kUnit,
         "expected at most " + std::to_string(kMaxFrames) + " frames in a piece of text");
  }
  out.durations = frames.to(at::kLong);
  out.lengths = out.durations.sum(1).clamp_min(1);
  const int64_t longest = out.lengths.max().item<int64_t>();

  // Which symbol each frame belongs to; frames behind a row's end take the last one and are masked.
  at::Tensor frame = at::arange(longest, out.lengths.options());
  at::Tensor ends = out.durations.cumsum(1);
  at::Tensor symbol = at::searchsorted(ends, frame.expand({batch, -1}).contiguous(),
                                       /*out_int32=*/false, /*right=*/true)
                          .clamp_max(symbols - 1);
  at::Tensor real = (frame.unsqueeze(0) < out.lengths.unsqueeze(1)).unsqueeze(1).to(dtype);
  auto spread = [&](const at::Tensor& x) {
    return x.gather(2, symbol.unsqueeze(1).expand({-1, x.size(1), -1}));
  };
  at::Tensor noise = noise_of("noise", config_.flow_size, longest);
  at::Tensor latent = spread(prior.mean) + noise * at::exp(spread(prior.log_std)) *
                                               either(style.noise_scale, config_.noise_scale);
  out.frames = (*flow_)(latent * real, real, out.speaker) * real;
  return out;
}

TensorMap Vits::forward(const TensorMap& inputs) {
  VitsLatents latent = latents(inputs);
  return {{"waveform", decoder_->generate(latent.frames, latent.speaker)},
          {"sequence_lengths", latent.lengths * decoder_->hop()},
          {"spectrogram", latent.frames},
          {"log_duration", latent.log_duration}};
}

}  // namespace plait::models
