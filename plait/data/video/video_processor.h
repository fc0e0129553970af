#pragma once
#include "plait/core/config.h"
#include "plait/data/image/image_processor.h"
#include "plait/data/video/video.h"

namespace plait::data {

/// How videos become an encoder's pixel_values.
struct VideoProcessorConfig {
  int64_t num_frames = 16;
  double frames_per_second = 0;
  Json size = 112;
  Json crop;
  std::string resample = "bilinear";
  std::vector<double> mean = {0.5, 0.5, 0.5};
  std::vector<double> std = {0.5, 0.5, 0.5};
  double rescale_factor = 1.0 / 255.0;
  int64_t max_pixels = int64_t{16} << 20;
  double max_seconds = 4 * 3600;

  void visit(ConfigVisitor& v) {
    v.field("num_frames", num_frames, "Frames of the result; at a rate: most frames",
            {.min = 1, .max = 4096});
    v.field("frames_per_second", frames_per_second,
            "Rate at which frames are taken from the start; 0: spread evenly over the whole video",
            {.min = 0, .max = 1000});
    v.field("size", size, "Size after resizing: n, [h, w], {\"shortest_edge\": n} or null");
    v.field("crop", crop, "Size of the middle part that is kept: n, [h, w] or null");
    v.field("resample", resample, "Filter, antialiased as in Pillow",
            {.one_of = {"nearest", "lanczos", "bilinear", "bicubic"}});
    v.field("mean", mean, "Subtracted per channel after rescaling to [0, 1]");
    v.field("std", std, "Divided by per channel");
    v.field("rescale_factor", rescale_factor, "Factor on the bytes", {.min = 1e-6, .max = 1.0});
    v.field("max_pixels", max_pixels, "Largest frame that is decoded", {.min = 1, .max = 4e9});
    v.field("max_seconds", max_seconds, "Longest video that is decoded", {.min = 1, .max = 1e6});
  }
  static VideoProcessorConfig tiny() {
    VideoProcessorConfig config;
    config.num_frames = 4;
    config.size = 32;
    return config;
  }
  void validate() const;
  /// What each frame goes through.
  ImageProcessorConfig frame() const;
};

/// Videos → pixel_values [B, T, 3, H, W] float32 and attention_mask [B, T] int64 (1: a frame, 0:
/// padding). Frames are resized as decoded: no more than T small ones of a video are held.
class VideoProcessor : public Processor {
 public:
  explicit VideoProcessor(const VideoProcessorConfig& config);

  /// From VideoMAE's preprocessor_config.json; 16 frames, as its models have. @throws Error
  /// kInvalidArgument for an option that changes the result and is not supported.
  static VideoProcessorConfig from_published(const Json& preprocessor_config,
                                             const std::string& where);

  Modality modality() const override { return Modality::kVideo; }
  TensorMap process(const std::vector<const Value*>& values,
                    const std::string& where) const override;
  Json config() const override;
  /// Nothing to write: config() says it all.
  void save(const std::string&) const override {}

 private:
  std::vector<at::Tensor> frames(const Value& value, const std::string& where) const;
  std::vector<int64_t> absent_size() const;
  VideoProcessorConfig config_;
  ImageProcessor images_;
};

}  // namespace plait::data
