// Which way does the square move? One frame says nothing; the video encoder has to learn it.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "plait/models/encoders/temporal_video.h"
#include "plait/train/optimizer.h"

namespace plait::train {
namespace {

constexpr int64_t kFrames = 8, kSide = 24, kShape = 5, kDirections = 4;

struct Clips {
  at::Tensor pixels;      ///< [N, T, 3, H, W]
  at::Tensor directions;  ///< [N]: right, left, down, up
};

/// Squares of random colour that move one pixel a frame from a random place over noise. Any single
/// frame of any direction has its square anywhere: the field is a torus.
Clips make_clips(int64_t count, uint64_t seed) {
  at::Generator g = at::detail::createCPUGenerator(seed);
  Clips out{at::randn({count, kFrames, 3, kSide, kSide}, g) * 0.2,
            at::randint(kDirections, {count}, g).to(at::kLong)};
  at::Tensor places = at::randint(kSide, {count, 2}, g).to(at::kLong);
  at::Tensor colours = at::rand({count, 3}, g) + 0.5;
  constexpr int64_t kSteps[kDirections][2] = {{0, 1}, {0, -1}, {1, 0}, {-1, 0}};
  for (int64_t i = 0; i < count; ++i) {
    const auto& step = kSteps[out.directions[i].item<int64_t>()];
    for (int64_t t = 0; t < kFrames; ++t) {
      auto cover = [&](int axis) {
        at::Tensor covered = at::zeros({kSide});
        int64_t from = places[i][axis].item<int64_t>() + t * step[axis];
        for (int64_t k = 0; k < kShape; ++k) covered[((from + k) % kSide + kSide) % kSide] = 1;
        return covered;
      };
      at::Tensor square = cover(0).unsqueeze(1) * cover(1).unsqueeze(0);
      out.pixels[i][t] += square * colours[i].view({3, 1, 1});
    }
  }
  return out;
}

models::TemporalVideo::Config config() {
  models::TemporalVideo::Config c;
  c.stem_channels = {8, 16};
  c.hidden_size = 32;
  c.num_hidden_layers = 1;
  c.num_attention_heads = 2;
  c.intermediate_size = 64;
  c.window = 8;
  c.dropout = 0;
  return c;
}

/// Share of the test clips whose direction a model tells that was trained on `train`.
double accuracy(const Clips& train, const Clips& test) {
  models::TemporalVideo encoder(config());
  models::Linear head(encoder.width(), kDirections);
  encoder.initialize(1);
  head.initialize(2);
  encoder.train();
  encoder.requires_grad_(true);
  head.requires_grad_(true);
  NamedTensors parameters = encoder.named_parameters();
  for (const auto& parameter : head.named_parameters()) parameters.push_back(parameter);
  AdamW optimizer({{parameters, 1.0, 0.01}}, {});
  at::Generator g = at::detail::createCPUGenerator(9);
  int64_t count = train.directions.size(0);
  for (int epoch = 0; epoch < 12; ++epoch) {
    for (const at::Tensor& rows : at::randperm(count, g).split(32)) {
      optimizer.zero_grad();
      at::Tensor pooled =
          encoder.encode({{"pixel_values", train.pixels.index_select(0, rows)}}).pooled;
      at::cross_entropy_loss(head(pooled), train.directions.index_select(0, rows)).backward();
      optimizer.clip_grad_norm(1);
      optimizer.step(3e-3);
    }
  }
  encoder.train(false);
  at::NoGradGuard no_grad;
  at::Tensor logits = head(encoder.encode({{"pixel_values", test.pixels}}).pooled);
  return (logits.argmax(1) == test.directions).to(at::kDouble).mean().item<double>();
}

TEST(MovingShapes, DirectionNeedsTime) {
  Clips train = make_clips(640, 1), test = make_clips(200, 2);
  double moving = accuracy(train, test);
  auto still = [](const Clips& clips) {
    return Clips{clips.pixels.narrow(1, kFrames / 2, 1), clips.directions};
  };
  double single = accuracy(still(train), still(test));
  RecordProperty("video", std::to_string(moving));
  RecordProperty("one_frame", std::to_string(single));
  EXPECT_GE(moving, 0.9);
  EXPECT_LE(single, 0.4);
}

}  // namespace
}  // namespace plait::train
