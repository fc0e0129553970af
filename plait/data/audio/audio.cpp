#include "plait/data/audio/audio.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/tensor_map.h"
#include "plait/data/audio/codec.h"

namespace plait::data {
namespace {

constexpr int64_t kMaxRate = 768000;

Waveform decode(std::span<const uint8_t> bytes, const std::string& name,
                const AudioOptions& options) {
  require(options.sample_rate >= 0 && options.sample_rate <= kMaxRate, "audio",
          "expected a rate up to 768000 Hz");
  RawAudio raw = decode_samples(
      bytes, name,
      {options.sample_rate, options.mono, options.max_seconds, options.timeout_seconds});
  auto frames = static_cast<int64_t>(raw.samples.size()) / raw.channels;
  at::Tensor samples = at::from_blob(raw.samples.data(), {frames, raw.channels}, at::kFloat);
  samples =
      options.mono ? samples.squeeze(1).clone() : samples.t().clone(at::MemoryFormat::Contiguous);
  return {samples, raw.sample_rate};
}

}  // namespace

Waveform decode_audio(std::string_view bytes, const std::string& name,
                      const AudioOptions& options) {
  return decode({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, name, options);
}

Waveform load_audio(const std::string& path, const AudioOptions& options) {
  return decode(MappedFile::open(path)->bytes(), path, options);
}

at::Tensor resample(const at::Tensor& samples, int64_t from_rate, int64_t to_rate) {
  require(from_rate > 0 && from_rate <= kMaxRate && to_rate > 0 && to_rate <= kMaxRate, "audio",
          "expected rates from 1 to 768000 Hz");
  if (samples.dim() < 1 || samples.dim() > 2 || samples.scalar_type() != at::kFloat) {
    fail(ErrorCode::kInvalidArgument, "audio",
         "expected float32 samples [N] or [C, N], got " + describe(samples));
  }
  if (from_rate == to_rate) return samples;
  at::Tensor rows = samples.detach().cpu().reshape({-1, samples.size(-1)}).contiguous();
  std::vector<at::Tensor> out;
  for (int64_t c = 0; c < rows.size(0); ++c) {
    auto row = resample_samples(rows[c].const_data_ptr<float>(), rows.size(1), from_rate, to_rate);
    out.push_back(
        at::from_blob(row.data(), {static_cast<int64_t>(row.size())}, at::kFloat).clone());
  }
  return samples.dim() == 1 ? out[0] : at::stack(out);
}

Waveform convert_waveform(const Waveform& waveform, const std::string& where,
                          const AudioOptions& options) {
  const at::Tensor& given = waveform.samples;
  if (!given.defined() || given.dim() < 1 || given.dim() > 2 || given.numel() == 0 ||
      !at::isFloatingType(given.scalar_type()) || (given.dim() == 2 && given.size(0) > 64)) {
    fail(ErrorCode::kInvalidArgument, "audio",
         where + ": expected float samples [N] or [C, N] with at most 64 channels, got " +
             (given.defined() ? describe(given) : "an undefined tensor"));
  }
  if (waveform.sample_rate < 1 || waveform.sample_rate > kMaxRate) {
    fail(ErrorCode::kInvalidArgument, "audio",
         where + ": expected a rate from 1 to 768000 Hz, got " +
             std::to_string(waveform.sample_rate));
  }
  if (static_cast<double>(given.size(-1)) >
      options.max_seconds * static_cast<double>(waveform.sample_rate)) {
    fail(ErrorCode::kResourceLimit, "audio",
         where + ": expected sound of at most " + std::to_string(std::lround(options.max_seconds)) +
             " s, got more");
  }
  at::Tensor samples = given.detach().cpu().to(at::kFloat);
  if (!at::isfinite(samples).all().item<bool>()) {
    fail(ErrorCode::kInvalidArgument, "audio",
         where + ": expected finite samples, got NaN or infinity");
  }
  if (options.mono && samples.dim() == 2) samples = samples.mean(0);
  int64_t rate = options.sample_rate > 0 ? options.sample_rate : waveform.sample_rate;
  return {resample(samples, waveform.sample_rate, rate).contiguous(), rate};
}

std::string encode_wav(const Waveform& waveform) {
  Waveform checked = convert_waveform(waveform, "encode_wav", {.mono = false});
  at::Tensor frames = checked.samples.reshape({-1, checked.samples.size(-1)}).t();
  at::Tensor pcm = (frames * 32767.0).round().clamp(-32768, 32767).to(at::kShort).contiguous();
  auto channels = static_cast<uint32_t>(frames.size(1));
  auto rate = static_cast<uint32_t>(checked.sample_rate);
  auto bytes = static_cast<uint64_t>(pcm.numel()) * 2;
  require(bytes < 0xFFFFFF00u, "audio", "expected less than 4 GiB of samples for a WAV file");
  std::string out;
  auto text = [&](const char* tag) { out.append(tag, 4); };
  auto number = [&](uint32_t v, int count) {
    for (int i = 0; i < count; ++i) out.push_back(static_cast<char>(v >> (8 * i) & 0xFF));
  };
  text("RIFF"), number(static_cast<uint32_t>(36 + bytes), 4), text("WAVE"), text("fmt ");
  number(16, 4), number(1, 2), number(channels, 2), number(rate, 4);
  number(rate * channels * 2, 4), number(channels * 2, 2), number(16, 2);
  text("data"), number(static_cast<uint32_t>(bytes), 4);
  out.append(reinterpret_cast<const char*>(pcm.const_data_ptr<int16_t>()), bytes);
  return out;
}

}  // namespace plait::data
