#include "plait/models/encoders/vector.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

at::Tensor row(std::vector<double> values) { return at::tensor(values, at::kFloat).unsqueeze(0); }

TEST(Vector, FitsAsTheReferenceDoes) {
  tests::Golden golden = tests::load_golden("standard_scaler");
  TensorMap state = Vector::fit(golden.inputs.at("rows"));
  for (const auto& [name, expected] : golden.weights)
    EXPECT_TRUE(tests::close(state.at(name), expected, {1e-6, 1e-6})) << name;
}

TEST(Vector, IsTheIdentityUntilItIsFitted) {
  Vector encoder({.features = 3});
  EXPECT_FALSE(encoder.fitted());
  at::Tensor x = row({1, -2, 30});
  EncoderOutput out = encoder.encode({{"values", x}});
  EXPECT_TRUE(out.pooled.equal(x));
  EXPECT_TRUE(out.tokens.equal(x.unsqueeze(1)));
  EXPECT_FALSE(out.mask.defined());
  at::Tensor rows = at::randn({100, 3}) * 40 + at::tensor({5.f, 1000.f, -3.f});
  encoder.load_state_dict(Vector::fit(rows));
  EXPECT_TRUE(encoder.fitted());
  at::Tensor standard = encoder.encode({{"values", rows}}).pooled;
  EXPECT_LT(standard.mean(0).abs().max().item<double>(), 1e-4);
  EXPECT_LT((standard.std(0, /*unbiased=*/false) - 1).abs().max().item<double>(), 1e-4);
}

TEST(Vector, MissingNumbersTakeTheMean) {
  Vector encoder({.features = 3});
  encoder.load_state_dict(
      {{"mean", at::tensor({5.f, 6.f, 7.f})}, {"deviation", at::tensor({2.f, 2.f, 0.5f})}});
  at::Tensor out = encoder.encode({{"values", row({kNaN, 8, 7})}}).pooled;
  EXPECT_TRUE(out.equal(row({0, 1, 0})));
  // And do not count when the mean is fitted.
  at::Tensor rows = at::cat({row({1, kNaN, 4}), row({3, kNaN, 4}), row({kNaN, kNaN, 4})});
  TensorMap state = Vector::fit(rows);
  EXPECT_TRUE(state.at("mean").equal(at::tensor({2.f, 0.f, 4.f})));
  EXPECT_TRUE(state.at("deviation").equal(at::tensor({1.f, 1.f, 1.f})));
}

TEST(Vector, SaysWhatIsWrong) {
  Vector encoder({.features = 3});
  EXPECT_THROW(encoder.encode({{"values", row({1, kInfinity, 2})}}), Error);
  EXPECT_THROW(encoder.encode({{"values", row({1, 2})}}), Error);
  EXPECT_THROW(encoder.encode({{"values", at::zeros({0, 3})}}), Error);
  EXPECT_THROW(encoder.encode({{"values", at::zeros({2, 3}, at::kLong)}}), Error);
  EXPECT_THROW(Vector::fit(row({1, -kInfinity})), Error);
  EXPECT_THROW(Vector::fit(at::zeros({0, 3})), Error);
  EXPECT_THROW(Vector::fit(at::zeros({3})), Error);
  EXPECT_THROW(Vector::fit({}), Error);
}

}  // namespace
}  // namespace plait::models
