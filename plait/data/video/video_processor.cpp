#include "plait/data/video/video_processor.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/data/decode.h"

namespace plait::data {
namespace {
constexpr const char* kUnit = "video processor";
}

ImageProcessorConfig VideoProcessorConfig::frame() const {
  ImageProcessorConfig c;
  c.size = size;
  c.crop = crop;
  c.resample = resample;
  c.mean = mean;
  c.std = std;
  c.rescale_factor = rescale_factor;
  c.max_pixels = max_pixels;
  return c;
}

void VideoProcessorConfig::validate() const { frame().validate(); }

VideoProcessor::VideoProcessor(const VideoProcessorConfig& config)
    : config_(config), images_(config.frame()) {
  config_.validate();
}

VideoProcessorConfig VideoProcessor::from_published(const Json& published,
                                                    const std::string& where) {
  Json json = published;
  if (!json.contains("do_center_crop")) json["do_center_crop"] = true;
  if (!json.contains("size")) json["size"] = 224;
  if (json.at("size").is_int()) json["size"] = Json::object({{"shortest_edge", json.at("size")}});
  ImageProcessorConfig frame = ImageProcessor::from_published(json, where);
  VideoProcessorConfig config;
  config.num_frames = json.get("num_frames", config.num_frames);
  config.size = frame.size;
  config.crop = frame.crop;
  config.resample = frame.resample;
  config.mean = frame.mean;
  config.std = frame.std;
  config.rescale_factor = frame.rescale_factor;
  config.validate();
  return config;
}

std::vector<at::Tensor> VideoProcessor::frames(const Value& value, const std::string& where) const {
  VideoOptions options;
  options.frames_per_second = config_.frames_per_second;
  options.max_pixels = config_.max_pixels;
  options.max_seconds = config_.max_seconds;
  auto prepare = [&](const at::Tensor& frame) { return images_.normalise(images_.resize(frame)); };
  std::vector<VideoFrame> taken =
      config_.frames_per_second > 0
          ? first_video_frames(value, where, config_.num_frames, options, prepare)
          : sample_video_value(value, where, config_.num_frames, options, prepare);
  std::vector<at::Tensor> out;
  for (VideoFrame& frame : taken) out.push_back(std::move(frame.pixels));
  return out;
}

TensorMap VideoProcessor::process(const std::vector<const Value*>& values,
                                  const std::string& where) const {
  std::vector<std::vector<at::Tensor>> rows(values.size());
  std::vector<int64_t> size;  // Of every frame: [3, H, W].
  int64_t longest = config_.frames_per_second > 0 ? 1 : config_.num_frames;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    std::string item = item_name(where, i, values.size());
    rows[i] = frames(*values[i], item);
    for (const at::Tensor& frame : rows[i]) {
      if (size.empty()) size = frame.sizes().vec();
      if (frame.sizes() != at::IntArrayRef(size)) {
        fail(ErrorCode::kInvalidArgument, kUnit,
             item +
                 ": expected all frames of a batch to come out equal in size (set crop, or size "
                 "as [h, w]), got " +
                 describe(frame) + " beside height " + std::to_string(size[1]) + " and width " +
                 std::to_string(size[2]));
      }
    }
    longest = std::max(longest, static_cast<int64_t>(rows[i].size()));
  }
  if (size.empty()) size = absent_size();
  auto batch = static_cast<int64_t>(values.size());
  at::Tensor pixels = at::zeros({batch, longest, 3, size[1], size[2]}, at::kFloat);
  at::Tensor mask = at::zeros({batch, longest}, at::kLong);
  for (int64_t i = 0; i < batch; ++i) {
    const auto& row = rows[static_cast<size_t>(i)];
    for (size_t t = 0; t < row.size(); ++t) pixels[i][static_cast<int64_t>(t)].copy_(row[t]);
    mask[i].narrow(0, 0, static_cast<int64_t>(row.size())).fill_(1);
  }
  return {{"pixel_values", pixels}, {"attention_mask", mask}};
}

std::vector<int64_t> VideoProcessor::absent_size() const {
  // What a small square frame becomes: a batch without any video has the size of the others.
  at::Tensor frame = images_.resize(at::zeros({32, 32, 3}, at::kByte));
  return {3, frame.size(0), frame.size(1)};
}

Json VideoProcessor::config() const { return typed_config("video", write_config(config_)); }

}  // namespace plait::data
