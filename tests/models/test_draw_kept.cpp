#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "plait/models/layers/draw_kept.h"
#include "plait/models/layers/layers.h"

namespace plait::models {
namespace {

TEST(DrawKept, DrawsAsTheGeneratorItselfAndLeavesItAsThatDoes) {
  at::Generator ours = at::detail::createCPUGenerator(7),
                theirs = at::detail::createCPUGenerator(7);
  auto* reference = at::check_generator<at::CPUGeneratorImpl>(theirs);
  for (double p : {0.8, 0.3, 0.5, 1.0, 0.0}) {
    // An odd number of words puts the pairs across the ends of the generator's blocks.
    EXPECT_EQ(at::check_generator<at::CPUGeneratorImpl>(ours)->random(), reference->random());
    for (int64_t count : {1, 5, 311, 312, 313, 1024, 5000}) {
      std::vector<float> kept(static_cast<size_t>(count), -1);
      draw_kept(ours, p, 1.25f, kept.data(), count);
      for (int64_t i = 0; i < count; ++i) {
        const double drawn =
            static_cast<double>(reference->random64() & ((uint64_t{1} << 53) - 1)) * 0x1.0p-53;
        ASSERT_EQ(kept[static_cast<size_t>(i)], drawn < p ? 1.25f : 0.0f) << p << " " << i;
      }
    }
  }
  EXPECT_EQ(at::check_generator<at::CPUGeneratorImpl>(ours)->random64(), reference->random64());
}

TEST(DrawKept, DropoutKeepsTheMeanAndTheGradient) {
  Dropout dropout(0.25);
  dropout.set_generator(at::detail::createCPUGenerator(3));
  dropout.train();
  at::Tensor x = at::ones({100, 1000}).requires_grad_(true);
  at::Tensor y = dropout(x);
  EXPECT_NEAR(y.mean().item<double>(), 1, 0.01);
  EXPECT_NEAR(y.ne(0).to(at::kDouble).mean().item<double>(), 0.75, 0.01);
  y.sum().backward();
  EXPECT_TRUE(x.grad().equal(y.detach()));
  dropout.train(false);
  EXPECT_TRUE(dropout(x).equal(x));
}

}  // namespace
}  // namespace plait::models
