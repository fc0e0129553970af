// A video frame by frame is the video as a whole, and a video is a stream like any other.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "plait/models/encoders/temporal_video.h"
#include "plait/models/fused_network.h"
#include "plait/models/registry.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

std::shared_ptr<TemporalVideo> make(const TemporalVideo::Config& config) {
  auto model = std::make_shared<TemporalVideo>(config);
  model->initialize(3);
  return model;
}

at::Tensor clip(std::vector<int64_t> shape) {
  return at::randn(shape, at::detail::createCPUGenerator(5));
}

void expect_stream_is_whole(const TemporalVideo::Config& config, const at::Tensor& pixels) {
  at::NoGradGuard no_grad;
  auto model = make(config);
  EncoderOutput whole = model->encode({{"pixel_values", pixels}});
  VideoStream stream(model);
  for (int64_t t = 0; t < pixels.size(1); ++t) {
    VideoStream::Output out = stream.push(pixels.select(1, t));
    EXPECT_TRUE(tests::close(out.token, whole.tokens.select(1, t), {1e-5, 1e-5})) << t;
    if (t % 7 == 0 || t + 1 == pixels.size(1)) {
      EncoderOutput so_far = model->encode({{"pixel_values", pixels.narrow(1, 0, t + 1)}});
      EXPECT_TRUE(tests::close(out.pooled, so_far.pooled, {1e-5, 1e-5})) << t;
    }
  }
  EXPECT_EQ(stream.frames(), pixels.size(1));
}

TEST(VideoStream, EqualsTheWholeClip) {
  expect_stream_is_whole(TemporalVideo::Config::tiny(), clip({2, 11, 3, 13, 18}));
}

TEST(VideoStream, EqualsTheWholeClipPastTheWindow) {
  expect_stream_is_whole(TemporalVideo::Config{}, clip({1, 75, 3, 32, 32}));
}

TEST(VideoStream, EqualsTheWholeClipWithOtherKernels) {
  for (int64_t kernel : {1, 2, 5}) {
    auto config = TemporalVideo::Config::tiny();
    config.temporal_kernel = kernel;
    config.window = kernel;
    expect_stream_is_whole(config, clip({1, 8, 3, 16, 16}));
  }
}

TEST(VideoStream, StartsAgain) {
  auto model = make(TemporalVideo::Config::tiny());
  at::Tensor pixels = clip({1, 5, 3, 16, 16});
  VideoStream stream(model);
  at::Tensor first = stream.push(pixels.select(1, 0)).token;
  for (int64_t t = 1; t < 5; ++t) stream.push(pixels.select(1, t));
  stream.reset();
  EXPECT_EQ(stream.frames(), 0);
  EXPECT_TRUE(stream.push(pixels.select(1, 0)).token.equal(first));
}

TEST(VideoStream, RefusesFramesOfAnotherShape) {
  auto model = make(TemporalVideo::Config::tiny());
  VideoStream stream(model);
  EXPECT_THROW(stream.push(at::zeros({3, 8, 8})), Error);
  EXPECT_THROW(stream.push(at::zeros({1, 4, 8, 8})), Error);
  EXPECT_THROW(stream.push(at::zeros({1, 3, 8, 8}, at::kByte)), Error);
  stream.push(at::zeros({1, 3, 8, 8}));
  EXPECT_THROW(stream.push(at::zeros({2, 3, 8, 8})), Error);
  EXPECT_THROW(VideoStream(nullptr), Error);
}

TEST(TemporalVideo, NothingLooksAhead) {
  at::NoGradGuard no_grad;
  auto model = make(TemporalVideo::Config::tiny());
  at::Tensor pixels = clip({1, 6, 3, 16, 16});
  at::Tensor before = model->encode({{"pixel_values", pixels}}).tokens;
  pixels.select(1, 4).fill_(9);
  at::Tensor after = model->encode({{"pixel_values", pixels}}).tokens;
  EXPECT_TRUE(tests::close(after.narrow(1, 0, 4), before.narrow(1, 0, 4), {1e-6, 1e-6}));
  EXPECT_GT((after.select(1, 4) - before.select(1, 4)).abs().max().item<double>(), 1e-3);
}

TEST(TemporalVideo, RefusesWhatIsNoClip) {
  auto model = make(TemporalVideo::Config::tiny());
  EXPECT_THROW(model->encode({{"pixel_values", at::zeros({1, 0, 3, 8, 8})}}), Error);
  EXPECT_THROW(model->encode({{"pixel_values", at::zeros({1, 3, 8, 8})}}), Error);
  EXPECT_THROW(model->encode({{"pixel_values", at::zeros({1, 2, 4, 8, 8})}}), Error);
  auto config = TemporalVideo::Config::tiny();
  config.max_frames = 2;
  EXPECT_THROW(make(config)->encode({{"pixel_values", at::zeros({1, 3, 3, 8, 8})}}), Error);
  config.stem_channels = {6};
  EXPECT_THROW(TemporalVideo{config}, Error);
}

TEST(FusedNetwork, TakesAVideoBesideAPicture) {
  auto tiny = [](const char* type) {
    Json config = registry().at(type).tiny;
    config["type"] = type;
    return config;
  };
  Json config = Json::object({{"width", 32}, {"dropout", 0.0}});
  config["streams"]["clip"] =
      Json::object({{"encoder", tiny("temporal_video")}, {"max_tokens", 2}});
  config["streams"]["photo"] = Json::object({{"encoder", tiny("picture_net")}});
  config["fusion"] = tiny("drg");
  config["tasks"]["category"] =
      Json::object({{"type", "classification"}, {"labels", Json::array({"a", "b", "c"})}});
  auto network = FusedNetwork::create(config);
  network->initialize(7);
  network->train_mode(false);
  EXPECT_EQ(network->modality("clip"), Modality::kVideo);

  at::NoGradGuard no_grad;
  at::Tensor clips = clip({3, 4, 3, 16, 16}), photos = clip({3, 3, 32, 32});
  at::Tensor frames = at::ones({3, 4}, at::kLong);
  frames[1].narrow(0, 2, 2).fill_(0);
  auto batch = [&](const std::vector<int64_t>& rows) {
    // Item 0 has both, item 1 the video alone, item 2 the picture alone.
    at::Tensor index = at::tensor(rows);
    Batch out;
    out.size = static_cast<int64_t>(rows.size());
    at::Tensor has_clip = at::tensor({1, 1, 0}).index_select(0, index).to(at::kBool);
    at::Tensor has_photo = at::tensor({1, 0, 1}).index_select(0, index).to(at::kBool);
    if (has_clip.any().item<bool>()) {
      out.streams["clip"] = {{{"pixel_values", clips.index_select(0, index)},
                              {"attention_mask", frames.index_select(0, index)}},
                             has_clip,
                             has_clip.to(at::kFloat)};
    }
    if (has_photo.any().item<bool>()) {
      out.streams["photo"] = {
          {{"pixel_values", photos.index_select(0, index)}}, has_photo, has_photo.to(at::kFloat)};
    }
    return out;
  };
  at::Tensor together = network->forward(batch({0, 1, 2})).tasks.at("category").at("logits");
  for (int64_t i = 0; i < 3; ++i) {
    at::Tensor alone = network->forward(batch({i})).tasks.at("category").at("logits");
    EXPECT_TRUE(tests::close(alone[0], together[i], {1e-5, 1e-5})) << i;
  }
}

}  // namespace
}  // namespace plait::models
