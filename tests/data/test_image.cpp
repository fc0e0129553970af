#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/weights/safetensors.h"
#include "plait/data/decode.h"
#include "plait/data/image/header.h"
#include "plait/data/image/image_processor.h"
#include "tests/data/media_files.h"

namespace plait::data {
namespace {

TensorMap golden() {
  return load_safetensors(PLAIT_SOURCE_DIR "/tests/golden/preprocess/preprocess.safetensors");
}

int64_t worst(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.to(at::kLong) - b.to(at::kLong)).abs().max().item<int64_t>();
}

TEST(Image, DecodesEveryFormat) {
  at::Tensor pixels = golden().at("pixels");
  for (const char* name : {"picture.png", "picture.webp", "picture.tiff", "picture.bmp"}) {
    EXPECT_EQ(worst(load_image(media_file(name)), pixels), 0) << name;
  }
  at::Tensor jpeg = load_image(media_file("picture.jpg"));
  EXPECT_LT((jpeg.to(at::kFloat) - pixels.to(at::kFloat)).abs().mean().item<float>(),
            12);  // Saturated edges, coarse chroma.
  at::Tensor turned = load_image(media_file("turned.jpg"));
  EXPECT_EQ(worst(turned, jpeg.transpose(0, 1).flip({1})), 0);
}

TEST(Image, RoundTripsThroughPngAndJpeg) {
  at::Tensor pixels = golden().at("pixels");
  EXPECT_EQ(worst(decode_image(encode_png(pixels), "x"), pixels), 0);
  at::Tensor jpeg = decode_image(encode_jpeg(pixels, 95), "x");
  EXPECT_LT((jpeg.to(at::kFloat) - pixels.to(at::kFloat)).abs().mean().item<float>(),
            12);  // Saturated edges, coarse chroma.
}

TEST(Image, ResizesAsPillow) {
  TensorMap g = golden();
  EXPECT_EQ(
      worst(resize_image(g.at("pixels"), 13, 20, Resample::kBicubic), g.at("resized.bicubic")), 0);
  EXPECT_EQ(
      worst(resize_image(g.at("pixels"), 50, 64, Resample::kBilinear), g.at("resized.bilinear")),
      0);
  EXPECT_EQ(worst(resize_image(g.at("pixels"), 30, 9, Resample::kLanczos), g.at("resized.lanczos")),
            0);
}

TEST(Image, ProcessesAsClip) {
  Json published =
      Json::parse(R"({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 24},
    "crop_size": {"height": 24, "width": 24}, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3})");
  auto processor = make_processor(published, ".", "test");
  Value file = Path{media_file("picture.png")};
  std::vector<const Value*> values = {&file, nullptr};
  at::Tensor out = processor->process(values, "image").at("pixel_values");
  EXPECT_LE((out[0] - golden().at("clip")[0]).abs().max().item<float>(), 1e-6);
  EXPECT_EQ(out[1].abs().max().item<float>(), 0);
  auto again = make_processor(processor->config(), ".", "test");
  EXPECT_TRUE(at::equal(again->process(values, "image").at("pixel_values"), out));
}

TEST(Image, TakesPathsBytesAndTensors) {
  at::Tensor pixels = golden().at("pixels");
  std::vector<Value> values = {Path{media_file("picture.png")}, media_file("picture.png"),
                               Bytes{read_file(media_file("picture.png"))}, pixels,
                               pixels.permute({2, 0, 1}).to(at::kFloat) / 255};
  for (const Value& value : values) EXPECT_EQ(worst(decode_image_value(value, "image"), pixels), 0);
  EXPECT_EQ(decode_image_value(at::zeros({4, 5}, at::kByte), "image").sizes(),
            at::IntArrayRef({4, 5, 3}));
  for (const Value& bad : {Value(at::zeros({2, 3, 4, 5})), Value(at::full({3, 4, 4}, NAN)),
                           Value(at::full({3, 4, 4}, 9.0)), Value(Json(3)), Value(at::Tensor()),
                           Value(at::zeros({0, 4, 3}, at::kByte))}) {
    EXPECT_NE(std::string(error_of([&] { decode_image_value(bad, "photo"); }).what()).find("photo"),
              std::string::npos);
  }
}

TEST(Image, RefusesBombsByTheirHeader) {
  std::string png = encode_png(at::zeros({8, 8, 3}, at::kByte));
  for (int i : {16, 20}) png[static_cast<size_t>(i)] = 0x7f;  // 2 billion by 2 billion pixels.
  Error e = error_of([&] { decode_image_value(Bytes{png}, "photo"); });
  EXPECT_EQ(e.code(), ErrorCode::kResourceLimit) << e.what();
  EXPECT_NE(std::string(e.what()).find("photo"), std::string::npos);
  EXPECT_EQ(
      error_of([&] {
        decode_image(encode_png(at::zeros({50, 50, 3}, at::kByte)), "x", {.max_pixels = 2499});
      }).code(),
      ErrorCode::kResourceLimit);
  EXPECT_EQ(decode_image(encode_jpeg(at::zeros({4320, 7680, 3}, at::kByte)), "8k").size(1), 7680);
}

TEST(Image, NamesFileAndStream) {
  std::string path = media_file("sound.wav");
  std::string message =
      error_of([&] { decode(Path{path}, Modality::kImage, "photo of item 3"); }).what();
  EXPECT_NE(message.find("photo of item 3"), std::string::npos) << message;
  EXPECT_NE(message.find(path), std::string::npos) << message;
  EXPECT_EQ(error_of([&] { decode(Path{"/no/such.png"}, Modality::kImage, "photo"); }).code(),
            ErrorCode::kNotFound);
  EXPECT_EQ(error_of([&] { decode(Bytes{""}, Modality::kImage, "photo"); }).code(),
            ErrorCode::kCorruptData);
}

TEST(Image, SurvivesDamage) {
  for (const char* name : {"picture.png", "picture.jpg", "turned.jpg", "picture.webp",
                           "picture.tiff", "picture.bmp"}) {
    attack(read_file(media_file(name)), "photo",
           [](const std::string& b) { decode_image_value(Bytes{b}, "photo"); });
  }
}

TEST(Image, TruncatedFilesAreErrors) {
  for (const char* name :
       {"picture.png", "picture.jpg", "picture.webp", "picture.tiff", "picture.bmp"}) {
    std::string bytes = read_file(media_file(name));
    for (size_t part = 0; part < 8; ++part) {
      EXPECT_THROW(decode_image(bytes.substr(0, bytes.size() * part / 8), "x"), Error)
          << name << " " << part;
    }
  }
}

TEST(ImageProcessor, RefusesWrongConfigs) {
  for (const char* text :
       {R"({"type": "image", "size": 0})", R"({"type": "image", "size": [1]})",
        R"({"type": "image", "std": [1, 0, 1]})", R"({"type": "image", "resample": "cubic"})",
        R"({"type": "image", "unknown": 1})", R"({"type": "picture"})", R"([])",
        R"({"image_processor_type": "DonutImageProcessor", "do_pad": true})"}) {
    EXPECT_THROW(make_processor(Json::parse(text), ".", "test"), Error) << text;
  }
}

}  // namespace
}  // namespace plait::data
