#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/data/video/video.h"
#include "plait/models/quality/quality.h"

namespace plait::models {
namespace {

[[noreturn]] void wrong_type(Modality modality, const char* expected) {
  fail(ErrorCode::kInvalidArgument, "quality",
       std::string("expected ") + expected + " for " + to_string(modality));
}

/// A field that is null, not a number or an empty string is missing.
bool present(const Json& field) {
  if (field.is_null()) return false;
  if (field.is_string()) return !field.as_string().empty();
  return !(field.is_number() && !(field.as_double() == field.as_double()));
}

Quality table_quality(const Json& row) {
  if (!row.is_object()) wrong_type(Modality::kTable, "a JSON object");
  double there = 0;
  for (const auto& [name, field] : row.members()) there += present(field);
  double share = row.size() ? there / static_cast<double>(row.size()) : 0;
  return {share, {{"completeness", share}}};
}

/// The mean of a few frames spread over the video.
Quality video_quality(const Value& video) {
  constexpr int64_t kFrames = 4;
  Quality mean;
  for (const data::VideoFrame& frame : data::sample_video_value(video, "video", kFrames)) {
    Quality one = image_quality(frame.pixels);
    mean.score += one.score / kFrames;
    for (const auto& [name, part] : one.parts) mean.parts[name] += part / kFrames;
  }
  return mean;
}

}  // namespace

Quality assess(const Value& value, Modality modality) {
  const at::Tensor* tensor = std::get_if<at::Tensor>(&value);
  switch (modality) {
    case Modality::kText:
      if (const auto* text = std::get_if<std::string>(&value)) return text_quality(*text);
      wrong_type(modality, "a string");
    case Modality::kImage:
      if (tensor) return image_quality(*tensor);
      wrong_type(modality, "a decoded picture");
    case Modality::kVideo: return video_quality(value);
    case Modality::kAudio:
      if (const auto* wave = std::get_if<Waveform>(&value))
        return audio_quality(wave->samples, wave->sample_rate);
      if (tensor) return audio_quality(*tensor, 16000);
      wrong_type(modality, "a decoded waveform");
    case Modality::kSeries:
      if (tensor) return series_quality(*tensor);
      wrong_type(modality, "a tensor [T, C]");
    case Modality::kTable:
      if (const auto* row = std::get_if<Json>(&value)) return table_quality(*row);
      if (tensor && tensor->is_floating_point() && tensor->numel() > 0) {
        double share = at::isfinite(*tensor).to(at::kFloat).mean().item<double>();
        return {share, {{"completeness", share}}};
      }
      wrong_type(modality, "a JSON object");
    default:
      fail(ErrorCode::kInvalidArgument, "quality",
           "expected text, image, audio, video, series or table; " + to_string(modality) +
               " has no measure yet");
  }
}

}  // namespace plait::models
