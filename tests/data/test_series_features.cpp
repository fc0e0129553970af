#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/data/series/series_features.h"

namespace plait::data {
namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

at::Tensor sine(double period, double offset = 0) {
  return ((at::arange(128, at::kFloat) + 0.3) * (2 * M_PI / period)).sin() + offset;
}

TEST(SeriesFeatures, SayWhatASineIsLike) {
  at::Tensor got = series_features(sine(16, 5));
  ASSERT_EQ(got.sizes(), at::IntArrayRef({series_feature_count(1)}));
  auto at = [&](int64_t i) { return got[i].item<double>(); };
  EXPECT_NEAR(at(0), 5, 0.01);
  EXPECT_NEAR(at(1), std::log(std::sqrt(0.5)), 0.01);
  EXPECT_NEAR(at(2), std::log(4.0 / 16), 0.05);  // Up and down by two in a period.
  EXPECT_NEAR(at(4), 0, 0.2);
  EXPECT_NEAR(at(3), -at(5), 0.1);
  EXPECT_NEAR(at(6), 2.0 / 16, 0.01);
  EXPECT_NEAR(at(9), 0, 0.05);                // A quarter of a period.
  EXPECT_NEAR(at(10), -1, 0.1);               // Half of one.
  EXPECT_NEAR(at(11), 1 - 16.0 / 128, 0.05);  // A whole one.
  // Slow and fast: the band with the power moves up.
  int64_t last = -1;
  for (double period : {64, 24, 8, 3}) {
    int64_t band = series_features(sine(period)).slice(0, 12).argmax().item<int64_t>();
    EXPECT_GT(band, last) << period;
    last = band;
  }
}

TEST(SeriesFeatures, ChannelsAndTheirLength) {
  at::Tensor two = at::stack({sine(16), -sine(16)}, 1);
  at::Tensor got = series_features(two);
  EXPECT_EQ(got.size(0), series_feature_count(2));
  EXPECT_EQ(series_feature_count(2), 3 * series_feature_count(1) + 1);
  EXPECT_NEAR(got[-1].item<double>(), -1, 1e-4);
  EXPECT_TRUE(got.slice(0, 0, 22).equal(series_features(sine(16))));
  at::Tensor length = (two * two).sum(1).sqrt();
  EXPECT_TRUE(at::allclose(got.slice(0, 44, 66), series_features(length), 1e-3, 1e-3));
}

TEST(SeriesFeatures, GapsAreBridged) {
  at::Tensor whole = sine(40);
  at::Tensor holes = whole.clone();
  for (int64_t i = 0; i < 128; i += 3) holes[i] = i % 2 ? kNone : kNone * -1;
  EXPECT_TRUE(at::allclose(series_features(holes), series_features(whole), 0.05, 0.12));
  at::Tensor ramp = at::tensor({kNone, 1.f, kNone, kNone, 4.f, kNone});
  at::Tensor filled = at::tensor({1.f, 1.f, 2.f, 3.f, 4.f, 4.f});
  EXPECT_TRUE(series_features(ramp).equal(series_features(filled)));
  EXPECT_TRUE(series_features(at::full({9}, kNone)).equal(series_features(at::zeros({9}))));
}

TEST(SeriesFeatures, AreFiniteForWhateverComes) {
  for (const at::Tensor& x :
       {at::zeros({1}), at::zeros({1, 3}), at::full({50, 2}, 1e30), at::full({3, 3}, kNone),
        at::tensor({-3e38f, 3e38f, 0.f, std::numeric_limits<float>::infinity()}),
        at::randn({100, 3}) * 1e-30, at::randint(0, 5, {20, 2}, at::kLong)}) {
    at::Tensor got = series_features(x);
    EXPECT_TRUE(got.isfinite().all().item<bool>()) << x.sizes();
    EXPECT_EQ(got.scalar_type(), at::kFloat);
  }
  EXPECT_THROW(series_features(at::zeros({0, 3})), Error);
  EXPECT_THROW(series_features(at::zeros({2, 2, 2})), Error);
  EXPECT_THROW(series_features(at::Tensor()), Error);
}

}  // namespace
}  // namespace plait::data
