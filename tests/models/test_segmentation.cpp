#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/segmentation/unet.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

using tests::close;

TensorMap golden() {
  return load_safetensors(PLAIT_SOURCE_DIR "/tests/golden/segmentation/dice_ce.safetensors");
}

TEST(Segmentation, LossEqualsMonai) {
  TensorMap g = golden();
  at::Tensor logits = g.at("logits").clone().set_requires_grad(true);
  at::Tensor loss = segmentation_loss(logits, g.at("target"));
  EXPECT_TRUE(close(loss, g.at("loss"), {1e-6, 1e-6}));
  loss.backward();
  EXPECT_TRUE(close(logits.grad(), g.at("gradient"), {1e-8, 1e-5}));
}

TEST(Segmentation, UnknownPlacesDoNotCount) {
  TensorMap g = golden();
  at::Tensor target = g.at("target").clone();
  target.slice(1, 5).fill_(-1);
  at::Tensor logits = g.at("logits").clone();
  at::Tensor before = segmentation_loss(logits, target);
  EXPECT_TRUE(
      close(before, segmentation_loss(logits.slice(2, 0, 5), target.slice(1, 0, 5)), {1e-6, 1e-6}));
  logits.slice(2, 5).fill_(3);
  EXPECT_TRUE(close(segmentation_loss(logits, target), before, {1e-6, 1e-6}));
  EXPECT_EQ(segmentation_loss(logits, at::full_like(target, -1), 0).item<double>(), 0);
}

TEST(Segmentation, RefusesWhatDoesNotFit) {
  at::Tensor logits = at::zeros({1, 2, 4, 4});
  EXPECT_THROW(segmentation_loss(logits, at::zeros({1, 4, 5}, at::kLong)), Error);
  EXPECT_THROW(segmentation_loss(logits, at::zeros({1, 4, 4})), Error);
  EXPECT_THROW(segmentation_loss(logits, at::full({1, 4, 4}, 2, at::kLong)), Error);
  EXPECT_THROW(segmentation_loss(logits, at::full({1, 4, 4}, -2, at::kLong)), Error);
  UNet net(UNet::Config::tiny());
  EXPECT_THROW(net.forward({{"pixel_values", at::zeros({1, 2, 15, 64})}}), Error);
  EXPECT_THROW(net.forward({{"voxel_values", at::zeros({1, 2, 16, 16, 16})}}), Error);
  EXPECT_EQ(net.segment({{"pixel_values", at::zeros({1, 2, 17, 31})}}).sizes(),
            at::IntArrayRef({1, 17, 31}));
}

}  // namespace
}  // namespace plait::models
