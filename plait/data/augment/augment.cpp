#include "plait/data/augment/augment.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/data/augment/kinds.h"
#include "plait/data/image/codec.h"

namespace plait::data {

uint64_t DamageRandom::next() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

double DamageRandom::uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

int64_t DamageRandom::below(int64_t n) {
  return static_cast<int64_t>(uniform() * static_cast<double>(n));
}

double DamageRandom::normal() {
  double u = 1.0 - uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2 * M_PI * uniform());
}

std::vector<std::string> damage_kinds(Modality modality) {
  switch (modality) {
    case Modality::kText: return {"typos", "shuffle", "blank"};
    case Modality::kImage: {
      std::vector<std::string> kinds = {"gaussian_blur", "gaussian_noise", "salt_and_pepper",
                                        "occlusion", "exposure"};
      if (image_codecs_available()) kinds.push_back("jpeg");
      return kinds;
    }
    case Modality::kAudio:
      return {"white_noise", "pink_noise", "babble_noise", "clipping",
              "reverb",      "dropouts",   "silence"};
    case Modality::kSeries: return {"dropout", "stuck", "spikes", "drift", "noise", "clock_skew"};
    case Modality::kTable: return {"dropout", "noise"};
    default: return {};
  }
}

Value damage(const Value& value, Modality modality, const std::string& kind, double severity,
             uint64_t seed) {
  if (!(severity >= 0 && severity <= 1)) {
    fail(ErrorCode::kInvalidArgument, "damage",
         "expected a severity of 0 to 1, got " + std::to_string(severity));
  }
  std::vector<std::string> kinds = damage_kinds(modality);
  if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
    std::string known;
    for (const std::string& k : kinds) known += (known.empty() ? "" : ", ") + k;
    fail(ErrorCode::kInvalidArgument, "damage",
         "expected for " + to_string(modality) + " one of: " + known + "; got \"" + kind + "\"");
  }
  if (severity == 0) return value;
  auto wrong = [&](const char* expected) {
    fail(ErrorCode::kInvalidArgument, "damage",
         std::string("expected ") + expected + " for " + to_string(modality));
  };
  if (modality == Modality::kText) {
    if (!std::holds_alternative<std::string>(value)) wrong("a string");
    return damage_text(std::get<std::string>(value), kind, severity, seed);
  }
  if (modality == Modality::kAudio) {
    if (!std::holds_alternative<Waveform>(value)) wrong("a waveform");
    const Waveform& w = std::get<Waveform>(value);
    if (!w.samples.defined() || w.samples.dim() < 1 || w.samples.dim() > 2 || w.sample_rate <= 0) {
      wrong("samples [N] or [C, N] with a rate");
    }
    return w.samples.numel() == 0 ? value : Value(damage_audio(w, kind, severity, seed));
  }
  if (modality == Modality::kTable && std::holds_alternative<Json>(value)) {
    const Json& row = std::get<Json>(value);
    if (!row.is_object()) wrong("an object");
    return damage_row(row, kind, severity, seed);
  }
  if (!std::holds_alternative<at::Tensor>(value)) wrong("a tensor");
  const at::Tensor& x = std::get<at::Tensor>(value);
  if (modality == Modality::kImage) {
    if (!x.defined() || x.dim() != 3 || x.size(2) != 3 || x.scalar_type() != at::kByte)
      wrong("a uint8 tensor [H, W, 3]");
    return x.numel() == 0 ? value : Value(damage_image(x, kind, severity, seed));
  }
  if (modality == Modality::kTable) {
    if (!x.defined() || x.dim() != 1 || x.is_complex()) wrong("an object or a tensor [D]");
    return x.numel() == 0 ? value : Value(damage_row(x, kind, severity, seed));
  }
  if (!x.defined() || x.dim() < 1 || x.dim() > 2) wrong("a tensor [T, C]");
  return x.numel() == 0 ? value : Value(damage_series(x, kind, severity, seed));
}

}  // namespace plait::data
