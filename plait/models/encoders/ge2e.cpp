#include "plait/models/encoders/ge2e.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {

void Ge2e::Config::visit(ConfigVisitor& v) {
  v.field("num_mel_bins", num_mel_bins, "Mel bands of the spectrogram", {.min = 1, .max = 1024});
  v.field("hidden_size", hidden_size, "Width of the LSTM", {.min = 1, .max = 16384});
  v.field("num_hidden_layers", num_hidden_layers, "Layers of the LSTM", {.min = 1, .max = 64});
  v.field("embedding_size", embedding_size, "Width D of the embedding", {.min = 1, .max = 16384});
  v.field("window_frames", window_frames, "Frames per window", {.min = 1, .max = 1e5});
  v.field("window_step", window_step, "Frames from one window to the next", {.min = 1, .max = 1e5});
  v.field("min_coverage", min_coverage, "Share of the last window that real frames must fill",
          {.min = 0.01, .max = 1});
}

Ge2e::Config Ge2e::Config::tiny() {
  Config c;
  c.num_mel_bins = 8;
  c.hidden_size = 12;
  c.num_hidden_layers = 2;
  c.embedding_size = 10;
  c.window_frames = 16;
  c.window_step = 8;
  return c;
}

void Ge2e::Config::validate() const {
  require(window_step <= window_frames, "ge2e", "expected window_step to be at most window_frames");
}

/// Names of torch.nn.LSTM.
class Lstm : public Module {
 public:
  Lstm(int64_t in, int64_t hidden, int64_t layers) : hidden_(hidden), layers_(layers) {
    for (int64_t i = 0; i < layers; ++i) {
      std::string layer = "_l" + std::to_string(i);
      weights_.push_back(
          add_parameter("weight_ih" + layer, at::zeros({4 * hidden, i == 0 ? in : hidden})));
      weights_.push_back(add_parameter("weight_hh" + layer, at::zeros({4 * hidden, hidden})));
      weights_.push_back(add_parameter("bias_ih" + layer, at::zeros({4 * hidden})));
      weights_.push_back(add_parameter("bias_hh" + layer, at::zeros({4 * hidden})));
    }
  }
  /// [W, T, C] → the last layer's state after the last step [W, H].
  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor start = at::zeros({layers_, x.size(0), hidden_}, x.options());
    auto [outputs, states, cells] =
        at::lstm(x, {start, start}, weights_, /*has_biases=*/true, layers_, /*dropout=*/0.0,
                 training(), /*bidirectional=*/false, /*batch_first=*/true);
    return states.select(0, layers_ - 1);
  }
  void reset_parameters(at::Generator& generator) override {
    double bound = 1 / std::sqrt(static_cast<double>(hidden_));
    for (at::Tensor& weight : weights_) weight.uniform_(-bound, bound, generator);
  }

 private:
  int64_t hidden_, layers_;
  std::vector<at::Tensor> weights_;
};

Ge2e::Ge2e(Config config) : config_(std::move(config)) {
  config_.validate();
  lstm_ = add<Lstm>("lstm", config_.num_mel_bins, config_.hidden_size, config_.num_hidden_layers);
  linear_ = add<Linear>("linear", config_.hidden_size, config_.embedding_size);
}

at::Tensor Ge2e::embed(const at::Tensor& mels) const {
  return unit_length(at::relu((*linear_)((*lstm_)(mels))));
}

int64_t Ge2e::window_count(int64_t frames) const {
  int64_t span = config_.window_frames, step = config_.window_step;
  int64_t count = (std::max<int64_t>(frames - span + step + 1, 1) - 1) / step + 1;
  // The first frame is centred on the first sample, so `frames` of them span frames - 1 steps of
  // sound.
  double covered = static_cast<double>(frames - 1 - (count - 1) * step) / static_cast<double>(span);
  return count > 1 && covered < config_.min_coverage ? count - 1 : count;
}

EncoderOutput Ge2e::encode(const TensorMap& inputs) {
  const at::Tensor& features = get(inputs, "input_features", "ge2e");
  if (features.dim() != 3 || features.size(0) == 0 || features.size(1) != config_.num_mel_bins ||
      features.size(2) == 0) {
    fail(ErrorCode::kInvalidArgument, "ge2e",
         "expected input_features [B, " + std::to_string(config_.num_mel_bins) + ", frames], got " +
             describe(features));
  }
  int64_t batch = features.size(0), frames = features.size(2);
  at::Tensor real = check_mask(inputs, "attention_mask", batch, frames, "ge2e");
  at::Tensor mels = zero_padding(features.to(linear_->weight.scalar_type()).transpose(1, 2), real);

  std::vector<int64_t> counts(batch, window_count(frames));
  if (real.defined()) {
    at::Tensor lengths = real.sum(1).cpu();
    for (int64_t i = 0; i < batch; ++i)
      counts[i] = window_count(std::max<int64_t>(lengths[i].item<int64_t>(), 1));
  }
  // As many tokens as the padded length gives, so that a row has the same shape whatever its
  // neighbours.
  int64_t most = window_count(frames);
  int64_t needed = (most - 1) * config_.window_step + config_.window_frames;
  mels = at::constant_pad_nd(mels, {0, 0, 0, std::max<int64_t>(needed - frames, 0)});

  std::vector<at::Tensor> windows;
  for (int64_t i = 0; i < batch; ++i) {
    for (int64_t w = 0; w < counts[i]; ++w) {
      windows.push_back(mels[i].narrow(0, w * config_.window_step, config_.window_frames));
    }
  }
  std::vector<at::Tensor> rows = at::split_with_sizes(embed(at::stack(windows)), counts);

  EncoderOutput out;
  std::vector<at::Tensor> pooled;
  for (at::Tensor& row : rows) {
    pooled.push_back(row.mean(0));
    row = at::constant_pad_nd(row, {0, 0, 0, most - row.size(0)});
  }
  out.tokens = at::stack(rows);
  out.pooled = unit_length(at::stack(pooled));
  if (real.defined()) {
    at::Tensor sizes = at::tensor(counts, at::kLong).to(features.device());
    out.mask = at::arange(most, sizes.options()).unsqueeze(0) < sizes.unsqueeze(1);
  }
  return out;
}

}  // namespace plait::models
