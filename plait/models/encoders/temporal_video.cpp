#include "plait/models/encoders/temporal_video.h"

#include <ATen/ATen.h>

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <deque>
#include <limits>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {

void TemporalVideo::Config::visit(ConfigVisitor& v) {
  v.field("num_channels", num_channels, "Channels of the frames", {.min = 1, .max = 1024});
  v.field("stem_channels", stem_channels,
          "Channels of the stem's layers, multiples of 4, each of which halves height and width",
          {.min = 4, .max = 65536});
  v.field("temporal_kernel", temporal_kernel, "Frames that a layer of the stem sees",
          {.min = 1, .max = 16});
  v.field("hidden_size", hidden_size, "Width D of the tokens", {.min = 1, .max = 65536});
  v.field("num_hidden_layers", num_hidden_layers, "Blocks of attention and feed-forward",
          {.min = 0, .max = 1024});
  v.field("num_attention_heads", num_attention_heads, "Attention heads, also of the pooling",
          {.min = 1, .max = 1024});
  v.field("intermediate_size", intermediate_size, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("window", window, "Frames that attention sees, the current one among them",
          {.min = 1, .max = 4096});
  v.field("max_frames", max_frames, "Longest clip in frames; streams have no end",
          {.min = 1, .max = 16384});
  v.field("dropout", dropout, "Dropout while training", {.min = 0, .max = 0.99});
}

TemporalVideo::Config TemporalVideo::Config::tiny() {
  Config c;
  c.stem_channels = {4, 8};
  c.hidden_size = 16;
  c.num_attention_heads = 2;
  c.intermediate_size = 24;
  c.window = 3;
  return c;
}

void TemporalVideo::Config::validate() const {
  constexpr const char* kUnit = "temporal_video";
  require(!stem_channels.empty() && stem_channels.size() <= 8, kUnit,
          "expected one to eight stem_channels");
  for (int64_t channels : stem_channels)
    require(channels % 4 == 0, kUnit, "expected stem_channels to be multiples of 4");
  require(stem_channels.back() % num_attention_heads == 0 && hidden_size % num_attention_heads == 0,
          kUnit,
          "expected hidden_size and the last of stem_channels to be multiples of "
          "num_attention_heads");
}

/// Half the height and width; looks `kernel` − 1 frames back.
class TemporalVideo::StemLayer : public Module {
 public:
  StemLayer(int64_t in, int64_t out, int64_t kernel) : kernel_(kernel) {
    convolution_ =
        add<Conv>("convolution", in, out,
                  ConvOptions{.kernel = {kernel, 3, 3}, .stride = {1, 2, 2}, .padding = {0, 1, 1}});
    norm_ = add<GroupNorm>("norm", 4, out);
  }

  /// [B, C, T, H, W]; frames before the first are zeros.
  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor y = (*convolution_)(at::constant_pad_nd(x, {0, 0, 0, 0, kernel_ - 1, 0}));
    // Statistics of one frame, whatever comes before and after it.
    at::Tensor frames = y.transpose(1, 2).contiguous();
    at::Tensor normed = finish(frames.flatten(0, 1));
    return normed.view(frames.sizes()).transpose(1, 2);
  }

  /// The newest frame, [B, C, H, W]; `before` holds those that came before it and takes it in.
  at::Tensor step(const at::Tensor& x, std::deque<at::Tensor>& before) const {
    if (before.empty()) before.assign(static_cast<size_t>(kernel_ - 1), at::zeros_like(x));
    before.push_back(x);
    // One moment of a 3-D convolution is a 2-D one over the channels of all its frames.
    at::Tensor frames = at::stack(std::vector<at::Tensor>(before.begin(), before.end()), 2);
    before.pop_front();
    return finish(at::conv2d(frames.flatten(1, 2), convolution_->weight.flatten(1, 2),
                             convolution_->bias, {2, 2}, {1, 1}));
  }

 private:
  at::Tensor finish(const at::Tensor& x) const { return at::gelu((*norm_)(x)); }

  int64_t kernel_;
  std::shared_ptr<Conv> convolution_;
  std::shared_ptr<GroupNorm> norm_;
};

/// [N, C, H, W] → [N, D]: each head weighs the places for its own share of the channels.
class TemporalVideo::PlacePool : public Module {
 public:
  explicit PlacePool(const Config& c) : heads_(c.num_attention_heads) {
    score_ = add<Linear>("score", c.stem_channels.back(), heads_, /*bias=*/false);
    project_ = add<Linear>("project", c.stem_channels.back(), c.hidden_size);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor places = x.flatten(2).transpose(1, 2);
    at::Tensor weights = (*score_)(places).softmax(1);
    at::Tensor shares = places.unflatten(-1, {heads_, -1});
    return (*project_)((shares * weights.unsqueeze(-1)).sum(1).flatten(1));
  }

 private:
  int64_t heads_;
  std::shared_ptr<Linear> score_, project_;
};

class TemporalVideo::Block : public Module {
 public:
  explicit Block(const Config& c) : heads_(c.num_attention_heads), window_(c.window) {
    int64_t d = c.hidden_size;
    distance_bias_ = add_parameter("distance_bias", at::zeros({heads_, window_}));
    attention_norm_ = add<LayerNorm>("attention_norm", d);
    qkv_ = add<Linear>("qkv", d, 3 * d);
    out_ = add<Linear>("out", d, d);
    norm_ = add<LayerNorm>("norm", d);
    wide_ = add<Linear>("wide", d, c.intermediate_size);
    narrow_ = add<Linear>("narrow", c.intermediate_size, d);
    dropout_ = add<Dropout>("dropout", c.dropout);
  }

  /// `distance` [T, T] int64 of frames from their keys, clipped to the window; `may` [1 or B, 1, T,
  /// T] bool.
  at::Tensor operator()(const at::Tensor& in, const at::Tensor& distance,
                        const at::Tensor& may) const {
    at::Tensor bias = distance_bias_.index_select(1, distance.flatten())
                          .view({1, heads_, distance.size(0), distance.size(1)});
    at::Tensor mask = bias.masked_fill(may.logical_not(), -std::numeric_limits<double>::infinity());
    auto parts = (*qkv_)((*attention_norm_)(in)).chunk(3, -1);
    return finish(in, attention(parts[0], parts[1], parts[2], heads_, mask.contiguous()));
  }

  /// Keys and values of the last `window` frames, in the order of their coming modulo the window.
  struct Ring {
    at::Tensor keys, values;  ///< [B, window, D]
  };

  /// Frame number `frame`, [B, 1, D].
  at::Tensor step(const at::Tensor& in, int64_t frame, Ring& ring) const {
    auto parts = (*qkv_)((*attention_norm_)(in)).chunk(3, -1);
    if (!ring.keys.defined()) {
      ring.keys = at::zeros({in.size(0), window_, in.size(2)}, in.options());
      ring.values = at::zeros_like(ring.keys);
    }
    int64_t place = frame % window_, filled = std::min(frame + 1, window_);
    ring.keys.narrow(1, place, 1).copy_(parts[1]);
    ring.values.narrow(1, place, 1).copy_(parts[2]);
    at::Tensor distance =
        (place - at::arange(filled, at::TensorOptions(in.device()).dtype(at::kLong)))
            .remainder(window_);
    at::Tensor mask = distance_bias_.index_select(1, distance).view({1, heads_, 1, filled});
    return finish(in, attention(parts[0], ring.keys.narrow(1, 0, filled),
                                ring.values.narrow(1, 0, filled), heads_, mask));
  }

  void reset_parameters(at::Generator& generator) override {
    distance_bias_.normal_(0, 0.02, generator);
  }

 private:
  at::Tensor finish(const at::Tensor& in, const at::Tensor& attended) const {
    at::Tensor x = in + (*dropout_)((*out_)(attended));
    return x + (*dropout_)((*narrow_)(at::gelu((*wide_)((*norm_)(x)))));
  }

  int64_t heads_, window_;
  at::Tensor distance_bias_;
  std::shared_ptr<LayerNorm> attention_norm_, norm_;
  std::shared_ptr<Linear> qkv_, out_, wide_, narrow_;
  std::shared_ptr<Dropout> dropout_;
};

TemporalVideo::TemporalVideo(const Config& c) : config_(c) {
  c.validate();
  stem_ = add<ModuleList<StemLayer>>("stem");
  int64_t in = c.num_channels;
  for (int64_t out : c.stem_channels) {
    stem_->append(in, out, c.temporal_kernel);
    in = out;
  }
  places_ = add<PlacePool>("places", c);
  blocks_ = add<ModuleList<Block>>("blocks");
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) blocks_->append(c);
  norm_ = add<LayerNorm>("norm", c.hidden_size);
}

TemporalVideo::~TemporalVideo() = default;

EncoderOutput TemporalVideo::encode(const TensorMap& inputs) {
  const at::Tensor& pixels = get(inputs, "pixel_values", "temporal_video");
  if (pixels.dim() != 5 || pixels.size(2) != config_.num_channels || pixels.numel() == 0 ||
      pixels.size(1) > config_.max_frames || !pixels.is_floating_point()) {
    fail(ErrorCode::kInvalidArgument, "temporal_video",
         "expected pixel_values [B, 1 to " + std::to_string(config_.max_frames) + ", " +
             std::to_string(config_.num_channels) + ", H, W] floating point, got " +
             describe(pixels));
  }
  int64_t batch = pixels.size(0), frames = pixels.size(1);
  EncoderOutput out;
  out.mask = check_mask(inputs, "attention_mask", batch, frames, "temporal_video");
  at::Tensor x = pixels.to(norm_->weight.scalar_type());
  if (out.mask.defined())
    x = x.masked_fill(out.mask.logical_not().view({batch, frames, 1, 1, 1}), 0);
  x = x.transpose(1, 2);
  for (const auto& layer : *stem_) x = (*layer)(x);
  x = (*places_)(x.transpose(1, 2).flatten(0, 1)).view({batch, frames, -1});

  at::Tensor numbers = at::arange(frames, at::TensorOptions(x.device()).dtype(at::kLong));
  at::Tensor apart = numbers.unsqueeze(1) - numbers.unsqueeze(0);
  at::Tensor may = at::logical_and(apart >= 0, apart < config_.window).view({1, 1, frames, frames});
  if (out.mask.defined()) {
    // A frame that is padding sees itself, so that no row of scores is empty.
    at::Tensor real = out.mask.view({batch, 1, 1, frames});
    may = at::logical_and(may, at::logical_or(real, (apart == 0).view({1, 1, frames, frames})));
  }
  at::Tensor distance = apart.clamp(0, config_.window - 1);
  for (const auto& block : *blocks_) x = (*block)(x, distance, may);
  out.tokens = (*norm_)(x);

  at::Tensor last = out.mask;
  if (frames > config_.window) {
    at::Tensor real = out.mask.defined() ? out.mask : at::ones({batch, frames}, may.options());
    at::Tensor rank = real.to(at::kLong).flip(1).cumsum(1).flip(1);
    last = at::logical_and(real, rank <= config_.window);
  }
  out.pooled = masked_mean(out.tokens, last);
  return out;
}

struct VideoStream::State {
  std::vector<std::deque<at::Tensor>> before;  ///< Inputs of each stem layer
  std::vector<TemporalVideo::Block::Ring> rings;
  at::Tensor tokens;  ///< [B, window, D], as in the rings
  std::vector<int64_t> shape;
  int64_t frames = 0;
};

VideoStream::VideoStream(std::shared_ptr<const TemporalVideo> model)
    : model_(std::move(model)), state_(std::make_unique<State>()) {
  require(model_ != nullptr && !model_->training(), "video stream",
          "expected a model in eval mode");
  reset();
}
VideoStream::~VideoStream() = default;
VideoStream::VideoStream(VideoStream&&) noexcept = default;
VideoStream& VideoStream::operator=(VideoStream&&) noexcept = default;

void VideoStream::reset() {
  *state_ = State{};
  state_->before.resize(model_->stem_->size());
  state_->rings.resize(model_->blocks_->size());
}

int64_t VideoStream::frames() const { return state_->frames; }

VideoStream::Output VideoStream::push(const at::Tensor& frame) {
  const TemporalVideo& model = *model_;
  State& state = *state_;
  if (frame.dim() != 4 || frame.size(1) != model.config_.num_channels || frame.numel() == 0 ||
      !frame.is_floating_point() ||
      (state.frames > 0 && frame.sizes() != at::IntArrayRef(state.shape))) {
    fail(ErrorCode::kInvalidArgument, "video stream",
         "expected a frame [B, " + std::to_string(model.config_.num_channels) +
             ", H, W] floating point of the same shape as those before, got " + describe(frame));
  }
  at::NoGradGuard no_grad;
  state.shape = frame.sizes().vec();
  at::Tensor x = frame.to(model.norm_->weight.scalar_type());
  for (size_t i = 0; i < state.before.size(); ++i) x = (*model.stem_)[i].step(x, state.before[i]);
  x = (*model.places_)(x).unsqueeze(1);
  for (size_t i = 0; i < state.rings.size(); ++i)
    x = (*model.blocks_)[i].step(x, state.frames, state.rings[i]);
  x = (*model.norm_)(x);

  int64_t window = model.config_.window;
  if (!state.tokens.defined())
    state.tokens = at::zeros({x.size(0), window, x.size(2)}, x.options());
  state.tokens.narrow(1, state.frames % window, 1).copy_(x);
  ++state.frames;
  return {x.squeeze(1), state.tokens.narrow(1, 0, std::min(state.frames, window)).mean(1)};
}

}  // namespace plait::models
