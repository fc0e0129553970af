#include "plait/train/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/train/schedule.h"

namespace plait::train {
namespace {

/// Replays tools/golden/adamw.py. `strided`: parameters that the fused kernel does not take.
void replay(bool strided) {
  TensorMap golden = load_safetensors(PLAIT_SOURCE_DIR "/tests/golden/train/adamw.safetensors");
  auto parameter = [&](const std::string& name) {
    at::Tensor value = golden.at("inputs." + name).clone();
    if (strided && value.dim() == 2) value = value.t().contiguous().t();
    value.set_requires_grad(true);
    return value;
  };
  NamedTensors all = {
      {"weight", parameter("weight")}, {"rare", parameter("rare")}, {"bias", parameter("bias")}};
  AdamW optimizer({{{all[0], all[1]}, 1.0, 0.1}, {{all[2]}, 0.5, 0.0}}, {0.85, 0.97, 1e-6});
  for (int64_t step = 0; step < 12; ++step) {
    std::string at = std::to_string(step) + ".";
    optimizer.zero_grad();
    for (auto& [name, p] : all) {
      auto grad = golden.find("inputs." + at + name);
      if (grad != golden.end()) p.mutable_grad() = grad->second.clone();
    }
    double norm = optimizer.clip_grad_norm(1.5);
    EXPECT_NEAR(norm, golden.at("outputs." + at + "norm").item<double>(), 1e-5);
    optimizer.step(3e-2 * learning_rate_factor("cosine", step, 3, 12));
    for (auto& [name, p] : all) {
      EXPECT_TRUE(at::allclose(p.detach(), golden.at("outputs." + at + name), 1e-5, 1e-6))
          << name << " after " << step;
    }
  }
}

TEST(AdamW, EqualsTorchOptim) { replay(false); }
TEST(AdamW, EqualsTorchOptimWithoutTheFusedKernel) { replay(true); }

TEST(AdamW, ClipsToTheJointNorm) {
  at::Tensor a = at::zeros({2}).set_requires_grad(true),
             b = at::zeros({2, 2}).set_requires_grad(true);
  AdamW optimizer({{{{"a", a}}, 1, 0}, {{{"b", b}}, 1, 0}}, {});
  a.mutable_grad() = at::full({2}, 3.0);
  b.mutable_grad() = at::full({2, 2}, 4.0);
  double norm = std::sqrt(2 * 9 + 4 * 16);
  EXPECT_NEAR(optimizer.clip_grad_norm(0), norm, 1e-6);
  EXPECT_NEAR(optimizer.clip_grad_norm(100), norm, 1e-6);
  EXPECT_EQ(a.grad()[0].item<double>(), 3);
  optimizer.clip_grad_norm(1);
  EXPECT_NEAR(a.grad()[0].item<double>(), 3 / norm, 1e-6);
  EXPECT_NEAR(optimizer.clip_grad_norm(0), 1, 1e-6);
  a.mutable_grad()[0] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(optimizer.clip_grad_norm(1)));
}

TEST(AdamW, RefusesAStateThatDoesNotFit) {
  at::Tensor a = at::zeros({2}).set_requires_grad(true);
  AdamW optimizer({{{{"a", a}}, 1, 0}}, {});
  TensorMap state = optimizer.state();
  EXPECT_EQ(state.size(), 3u);
  state["a.exp_avg"] = at::zeros({3});
  EXPECT_THROW(optimizer.load_state(state), Error);
  state.erase("a.exp_avg");
  EXPECT_THROW(optimizer.load_state(state), Error);
}

TEST(Schedule, WarmsUpThenFalls) {
  EXPECT_DOUBLE_EQ(learning_rate_factor("linear", 0, 4, 14), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate_factor("linear", 3, 4, 14), 0.8);
  EXPECT_DOUBLE_EQ(learning_rate_factor("linear", 4, 4, 14), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_factor("linear", 9, 4, 14), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_factor("linear", 14, 4, 14), 0.0);
  EXPECT_DOUBLE_EQ(learning_rate_factor("linear", 99, 4, 14), 0.0);
  EXPECT_NEAR(learning_rate_factor("cosine", 9, 4, 14), 0.5, 1e-12);
  EXPECT_NEAR(learning_rate_factor("cosine", 13, 4, 14), 0.5 * (1 + std::cos(0.9 * M_PI)), 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate_factor("cosine", 0, 0, 10), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_factor("constant", 50, 4, 14), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_factor("cosine", 5, 10, 10), 6.0 / 11);
  EXPECT_THROW(learning_rate_factor("square", 0, 0, 1), Error);
}

}  // namespace
}  // namespace plait::train
