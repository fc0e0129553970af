#include "plait/data/audio/audio_processors.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/data/audio/features.h"
#include "plait/data/decode.h"

namespace plait::data {
namespace {

constexpr int64_t kMaxBatchFloats = int64_t{1} << 30;

}  // namespace

TensorMap AudioProcessor::process(const std::vector<const Value*>& values,
                                  const std::string& where) const {
  Shape s = shape();
  auto max_samples =
      static_cast<int64_t>(std::llround(s.seconds * static_cast<double>(s.sample_rate)));
  AudioOptions options;
  options.sample_rate = s.sample_rate;
  std::vector<at::Tensor> rows(values.size());
  std::vector<int64_t> real(values.size());
  int64_t steps_max = s.to_max ? steps(max_samples) : 1;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    std::string item = item_name(where, i, values.size());
    at::Tensor samples = decode_audio_value(*values[i], item, options).samples;
    samples = samples.slice(0, 0, max_samples);
    rows[i] = features(samples, real[i]);
    steps_max = std::max(steps_max, rows[i].size(-1));
  }
  auto count = static_cast<int64_t>(values.size());
  int64_t width = std::max<int64_t>(bands(), 1);
  if (steps_max > kMaxBatchFloats / width / std::max<int64_t>(count, 1)) {
    fail(ErrorCode::kResourceLimit, "audio processor",
         where + ": expected a batch of at most 4 GiB, got " + std::to_string(count) +
             " items of up to " + std::to_string(steps_max) +
             " steps (lower `seconds` or the batch size)");
  }
  at::Tensor out = at::zeros({count, width, steps_max}, at::kFloat);
  at::Tensor mask = at::zeros({count, steps_max}, at::kLong);
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor& row = rows[static_cast<size_t>(i)];
    if (!row.defined()) continue;
    int64_t length = row.size(-1);
    out[i].slice(1, 0, length).copy_(row.reshape({width, length}));
    if (length < steps_max) out[i].slice(1, length, steps_max).fill_(padding(row));
    mask[i].slice(0, 0, real[static_cast<size_t>(i)]).fill_(1);
  }
  if (bands() == 0) out = out.squeeze(1);
  return {{s.name, out}, {"attention_mask", mask}};
}

WhisperProcessor::WhisperProcessor(const WhisperConfig& config)
    : config_(config), filters_(mel_filters(16000, 400, config.mels, 0, 8000)) {}

WhisperConfig WhisperProcessor::from_published(const Json& json, const std::string& where) {
  if (json.get("n_fft", 400) != 400 || json.get("hop_length", 160) != 160 ||
      json.get("sampling_rate", 16000) != 16000) {
    fail(ErrorCode::kInvalidArgument, "whisper processor",
         where + ": expected n_fft 400, hop_length 160 and sampling_rate 16000, got others");
  }
  Json own = Json::object({{"mels", json.get("feature_size", 80)},
                           {"seconds", static_cast<double>(json.get("chunk_length", 30))}});
  return read_config<WhisperConfig>(own, where);
}

at::Tensor WhisperProcessor::features(const at::Tensor& samples, int64_t& real) const {
  at::Tensor input = samples;
  real = (samples.size(0) + 159) / 160;
  int64_t wanted = config_.pad == "max" ? std::llround(config_.seconds * 16000) : real * 160;
  if (input.size(0) < wanted) input = at::constant_pad_nd(input, {0, wanted - input.size(0)});
  at::Tensor out = whisper_log_mel(input.unsqueeze(0), filters_).squeeze(0);
  real = std::min(real, out.size(1));
  return out;
}

double WhisperProcessor::padding(const at::Tensor& row) const {
  // Silence after the sound would come out at the row's floor.
  return row.max().item<double>() - 2.0;
}

Json WhisperProcessor::config() const { return typed_config("whisper", write_config(config_)); }

WaveformConfig WaveformProcessor::from_published(const Json& json, const std::string& where) {
  if (json.get("feature_size", 1) != 1 || json.get("padding_value", 0.0) != 0.0) {
    fail(ErrorCode::kInvalidArgument, "waveform processor",
         where + ": expected feature_size 1 and padding_value 0, got others");
  }
  Json own = Json::object({{"sample_rate", json.get("sampling_rate", 16000)},
                           {"normalise", json.get("do_normalize", true)}});
  return read_config<WaveformConfig>(own, where);
}

at::Tensor WaveformProcessor::features(const at::Tensor& samples, int64_t& real) const {
  real = samples.size(0);
  if (!config_.normalise) return samples;
  at::Tensor centred = samples - samples.mean();
  return centred / (centred.square().mean() + 1e-7).sqrt();
}

Json WaveformProcessor::config() const { return typed_config("waveform", write_config(config_)); }

void LogMelConfig::validate() const {
  double top = max_hz > 0 ? max_hz : static_cast<double>(sample_rate) / 2;
  require(min_hz < top && top <= static_cast<double>(sample_rate) / 2, "log_mel processor",
          "expected min_hz < max_hz <= sample_rate / 2");
  require(hop <= n_fft, "log_mel processor",
          "expected hop of at most n_fft, else samples are skipped");
}

LogMelProcessor::LogMelProcessor(const LogMelConfig& config) : config_(config) {
  config.validate();
  double top = config.max_hz > 0 ? config.max_hz : static_cast<double>(config.sample_rate) / 2;
  filters_ = mel_filters(config.sample_rate, config.n_fft, config.mels, config.min_hz, top);
}

at::Tensor LogMelProcessor::features(const at::Tensor& samples, int64_t& real) const {
  at::Tensor power =
      power_spectrum(samples.unsqueeze(0), config_.n_fft, config_.hop, config_.reflect).squeeze(0);
  at::Tensor mel = at::matmul(filters_, power);
  real = steps(samples.size(0));
  // Sound shorter than half a window was lengthened for the reflection.
  mel = mel.slice(1, 0, real);
  if (config_.log == "ln") mel = mel.clamp_min(config_.floor).log();
  if (config_.log == "log10") mel = mel.clamp_min(config_.floor).log10();
  if (config_.normalise == "none") return mel;
  at::Tensor mean = config_.normalise == "item" ? mel.mean() : mel.mean(1, true);
  at::Tensor centred = mel - mean;
  at::Tensor variance =
      config_.normalise == "item" ? centred.square().mean() : centred.square().mean(1, true);
  return centred / (variance + 1e-5).sqrt();
}

Json LogMelProcessor::config() const { return typed_config("log_mel", write_config(config_)); }

}  // namespace plait::data
