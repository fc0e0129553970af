#pragma once
#include "plait/core/config.h"
#include "plait/data/image/image.h"
#include "plait/data/processor.h"

namespace plait::data {

/// How pictures become an encoder's pixel_values.
struct ImageProcessorConfig {
  Json size = 224;  ///< 224 or [h, w]: exactly so; {"shortest_edge": n}: the aspect ratio stays;
                    ///< null: no resizing.
  Json crop;        ///< 224 or [h, w] from the middle, after resizing; null: none.
  std::string resample = "bicubic";
  std::vector<double> mean = {0.5, 0.5, 0.5};
  std::vector<double> std = {0.5, 0.5, 0.5};
  double rescale_factor = 1.0 / 255.0;
  int64_t max_pixels = int64_t{64} << 20;

  void visit(ConfigVisitor& v) {
    v.field("size", size, "Size after resizing: n, [h, w], {\"shortest_edge\": n} or null");
    v.field("crop", crop, "Size of the middle part that is kept: n, [h, w] or null");
    v.field("resample", resample, "Filter, antialiased as in Pillow",
            {.one_of = {"nearest", "lanczos", "bilinear", "bicubic"}});
    v.field("mean", mean, "Subtracted per channel after rescaling");
    v.field("std", std, "Divided by per channel");
    v.field("rescale_factor", rescale_factor, "Factor on the bytes", {.min = 1e-6, .max = 1.0});
    v.field("max_pixels", max_pixels, "Largest picture that is decoded", {.min = 1, .max = 4e9});
  }
  static ImageProcessorConfig tiny() {
    ImageProcessorConfig config;
    config.size = 32;
    return config;
  }
  void validate() const;
};

/// Pictures → pixel_values [B, 3, H, W] float32: decode, resize, crop, rescale, normalise, as
/// transformers' image processors for CLIP, ViT, DINOv2 (BiT), Swin and ConvNeXT do with Pillow.
class ImageProcessor : public Processor {
 public:
  explicit ImageProcessor(const ImageProcessorConfig& config);

  /// From a published preprocessor_config.json. @throws Error kInvalidArgument for an option that
  /// changes the result and is not supported.
  static ImageProcessorConfig from_published(const Json& preprocessor_config,
                                             const std::string& where);

  Modality modality() const override { return Modality::kImage; }
  TensorMap process(const std::vector<const Value*>& values,
                    const std::string& where) const override;
  Json config() const override;
  /// Nothing to write: config() says it all.
  void save(const std::string&) const override {}

  /// One decoded picture, uint8 [H, W, 3], after resizing and cropping.
  at::Tensor resize(const at::Tensor& image) const;
  /// uint8 [H, W, 3] → float [3, H, W].
  at::Tensor normalise(const at::Tensor& image) const;

 private:
  ImageProcessorConfig config_;
  Resample resample_;
  std::array<std::array<float, 256>, 3> table_;  ///< Normalised value of each byte by channel.
};

}  // namespace plait::data
