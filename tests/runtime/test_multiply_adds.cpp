#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "plait/runtime/multiply_adds.h"

namespace plait::runtime {
namespace {

TEST(MultiplyAdds, AreThoseOfTheFormulas) {
  at::NoGradGuard no_grad;
  for (auto type : {at::kFloat, at::kBFloat16}) {
    auto of = [&](at::IntArrayRef shape) { return at::ones(shape, type); };
    EXPECT_EQ(count_multiply_adds([&] {
                at::linear(of({2, 5, 8}), of({3, 8}), of({3}));
              }),
              2 * 5 * 8 * 3);
    EXPECT_EQ(count_multiply_adds([&] {
                at::matmul(of({4, 5, 8}), of({4, 8, 6}));
              }),
              4 * 5 * 8 * 6);
    // 3 → 8 channels, 3 × 3, stride 2: 16 × 16 outputs.
    EXPECT_EQ(count_multiply_adds([&] {
                at::conv2d(of({1, 3, 32, 32}), of({8, 3, 3, 3}), {}, {2, 2}, {1, 1});
              }),
              16 * 16 * 8 * 3 * 9);
    // Depthwise.
    EXPECT_EQ(count_multiply_adds([&] {
                at::conv2d(of({1, 8, 16, 16}), of({8, 1, 3, 3}), {}, {1, 1}, {1, 1}, {1, 1}, 8);
              }),
              16 * 16 * 8 * 9);
    EXPECT_EQ(
        count_multiply_adds([&] {
          at::scaled_dot_product_attention(of({2, 4, 7, 16}), of({2, 4, 9, 16}), of({2, 4, 9, 16}));
        }),
        2 * 2 * 4 * 7 * 9 * 16);
  }
  EXPECT_EQ(count_multiply_adds([] { at::ones({8}).relu().sum(); }), 0);
}

TEST(MultiplyAdds, CountNothingAfterwards) {
  EXPECT_THROW(count_multiply_adds([] { throw std::runtime_error("stop"); }), std::runtime_error);
  at::mm(at::ones({4, 4}), at::ones({4, 4}));
  EXPECT_EQ(count_multiply_adds([] {}), 0);
}

}  // namespace
}  // namespace plait::runtime
