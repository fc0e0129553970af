#include "plait/models/encoders/silero_vad.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {

void SileroVad::Config::visit(ConfigVisitor& v) {
  v.field("n_fft", n_fft, "Window of the spectrum in samples; a chunk has twice as many",
          {.min = 8, .max = 16384});
  v.field("wide", wide, "Channels of the outer convolutions and of the LSTM: width D of the tokens",
          {.min = 1, .max = 16384});
  v.field("narrow", narrow, "Channels of the inner convolutions", {.min = 1, .max = 16384});
}

SileroVad::Config SileroVad::Config::tiny() {
  Config c;
  c.n_fft = 16;
  c.wide = 12;
  c.narrow = 8;
  return c;
}

void SileroVad::Config::validate() const {
  require(n_fft % 8 == 0, "silero_vad", "expected n_fft to be a multiple of 8");
}

/// Names of torch.nn.LSTMCell.
class LstmCell : public Module {
 public:
  LstmCell(int64_t in, int64_t hidden) : hidden_(hidden) {
    weights_ = {add_parameter("weight_ih", at::zeros({4 * hidden, in})),
                add_parameter("weight_hh", at::zeros({4 * hidden, hidden})),
                add_parameter("bias_ih", at::zeros({4 * hidden})),
                add_parameter("bias_hh", at::zeros({4 * hidden}))};
  }
  /// [B, T, C] → [B, T, hidden]; `h` and `c` [B, hidden] go in and out.
  at::Tensor operator()(const at::Tensor& x, at::Tensor& h, at::Tensor& c) const {
    auto [outputs, states, cells] =
        at::lstm(x, {h.unsqueeze(0), c.unsqueeze(0)}, weights_, /*has_biases=*/true,
                 /*num_layers=*/1, /*dropout=*/0.0, training(), /*bidirectional=*/false,
                 /*batch_first=*/true);
    h = states.squeeze(0);
    c = cells.squeeze(0);
    return outputs;
  }
  void reset_parameters(at::Generator& generator) override {
    const double bound = 1 / std::sqrt(static_cast<double>(hidden_));
    for (at::Tensor& weight : weights_) weight.uniform_(-bound, bound, generator);
  }

 private:
  int64_t hidden_;
  std::vector<at::Tensor> weights_;
};

namespace {

/// Real and imaginary rows of a Fourier transform under a periodic Hann window,
/// [n_fft + 2, 1, n_fft].
at::Tensor fourier_rows(int64_t n_fft) {
  at::Tensor samples = at::arange(n_fft, at::kDouble);
  at::Tensor angle = at::outer(at::arange(n_fft / 2 + 1, at::kDouble), samples) *
                     (2 * std::numbers::pi / static_cast<double>(n_fft));
  at::Tensor window = at::hann_window(n_fft, true, at::TensorOptions(at::kDouble));
  return (at::cat({angle.cos(), -angle.sin()}) * window).to(at::kFloat).unsqueeze(1);
}

/// The transform is not trained but belongs to the checkpoint, under the name of a convolution.
struct Spectrum : Module {
  explicit Spectrum(int64_t n_fft) { weight = add_buffer("weight", fourier_rows(n_fft)); }
  at::Tensor weight;
};

}  // namespace

SileroVad::SileroVad(Config config) : config_(config) {
  config_.validate();
  spectrum_ = add<Spectrum>("stft_conv", config_.n_fft)->weight;
  const int64_t wide = config_.wide, narrow = config_.narrow;
  const int64_t widths[] = {config_.n_fft / 2 + 1, wide, narrow, narrow, wide};
  const int64_t strides[] = {1, 2, 2, 1};
  for (size_t i = 0; i < 4; ++i) {
    ConvOptions options{.kernel = {3}, .stride = {strides[i]}, .padding = {1}};
    convs_.push_back(add<Conv>("conv" + std::to_string(i + 1), widths[i], widths[i + 1], options));
  }
  lstm_ = add<LstmCell>("lstm_cell", wide, wide);
  final_ = add<Conv>("final_conv", wide, 1, ConvOptions{.kernel = {1}});
}

at::Tensor SileroVad::tokens(const at::Tensor& samples, State& state) const {
  const int64_t batch = samples.size(0), context = config_.n_fft / 4;
  const int64_t chunks = samples.size(1) / chunk();
  if (!state.context.defined()) {
    state.context = at::zeros({batch, context}, samples.options());
    state.hidden = at::zeros({batch, config_.wide}, samples.options());
    state.cell = at::zeros_like(state.hidden);
  }
  at::Tensor sound = at::cat({state.context, samples}, 1);
  state.context = sound.narrow(1, sound.size(1) - context, context).clone();
  at::Tensor x = sound.unfold(1, context + chunk(), chunk());
  x = x.reshape({batch * chunks, 1, context + chunk()});
  x = at::conv1d(at::reflection_pad1d(x, {0, context}), spectrum_, {}, config_.n_fft / 2);
  const int64_t bins = config_.n_fft / 2 + 1;
  x = (x.narrow(1, 0, bins).square() + x.narrow(1, bins, bins).square()).sqrt();
  for (const auto& conv : convs_) x = at::relu((*conv)(x));
  return (*lstm_)(x.reshape({batch, chunks, config_.wide}), state.hidden, state.cell);
}

at::Tensor SileroVad::probability(const at::Tensor& tokens) const {
  return at::sigmoid((*final_)(at::relu(tokens).transpose(1, 2))).squeeze(1);
}

at::Tensor SileroVad::speech(const at::Tensor& samples, State& state) const {
  require(samples.dim() == 1 && samples.size(0) % chunk() == 0, "silero_vad",
          "expected samples [N] in whole chunks");
  if (samples.size(0) == 0) return at::empty({0}, samples.options());
  at::Tensor rows = samples.to(spectrum_.scalar_type()).unsqueeze(0);
  return probability(tokens(rows, state)).squeeze(0);
}

EncoderOutput SileroVad::encode(const TensorMap& inputs) {
  const at::Tensor& values = get(inputs, "input_values", "silero_vad");
  if (values.dim() != 2 || values.numel() == 0) {
    fail(ErrorCode::kInvalidArgument, "silero_vad",
         "expected input_values [B, N], got " + describe(values));
  }
  at::Tensor real =
      check_mask(inputs, "attention_mask", values.size(0), values.size(1), "silero_vad");
  at::Tensor samples = values.to(spectrum_.scalar_type());
  if (real.defined()) samples = samples.masked_fill(at::logical_not(real), 0);
  const int64_t chunks = (samples.size(1) + chunk() - 1) / chunk();
  samples = at::constant_pad_nd(samples, {0, chunks * chunk() - samples.size(1)});
  EncoderOutput out;
  State state;
  out.tokens = tokens(samples, state);
  if (real.defined()) out.mask = real.slice(1, 0, real.size(1), chunk());
  out.tokens = zero_padding(out.tokens, out.mask);
  out.pooled = masked_mean(out.tokens, out.mask);
  return out;
}

TensorMap SileroVad::forward(const TensorMap& inputs) {
  EncoderOutput out = encode(inputs);
  at::Tensor speech = probability(out.tokens);
  TensorMap named = {{"last_hidden_state", out.tokens}, {"pooled", out.pooled}};
  if (out.mask.defined()) {
    named["mask"] = out.mask;
    speech = speech.masked_fill(at::logical_not(out.mask), 0);
  }
  named["speech"] = speech;
  return named;
}

}  // namespace plait::models
