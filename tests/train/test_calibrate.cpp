#include "plait/train/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/train/metrics.h"
#include "toy.h"

namespace plait::train {
namespace {

const std::vector<std::string> kNames = {"image", "text"};

/// Labels drawn from softmax(z): the right temperature of k · z is k.
struct Synthetic {
  at::Tensor logits, target;
  Synthetic(int64_t n, double factor, uint64_t seed) {
    at::Tensor z = toy::randn({n, 5}, seed) * 2;
    target = at::multinomial(at::softmax(z, 1), 1, false, at::detail::createCPUGenerator(seed + 1))
                 .squeeze(1);
    logits = z * factor;
  }
  double nll(double t) const {
    return negative_log_likelihood(at::softmax(logits.to(at::kDouble) / t, 1), target);
  }
};

TEST(Calibrate, FindsTheMinimum) {
  for (double factor : {0.25, 1.0, 4.0}) {
    Synthetic data(4000, factor, 3);
    double t = fit_temperature(data.logits, data.target);
    EXPECT_NEAR(t / factor, 1, 0.05) << factor;
    for (double other : {0.99, 1.01}) EXPECT_LE(data.nll(t), data.nll(t * other));
  }
}

TEST(Calibrate, IsExactWhereTheMinimumIsKnown) {
  // Logits (a, 0), right in 3 of 4: softmax(a / T) = 3/4 exactly when T = a / ln 3.
  at::Tensor logits = at::tensor({5.0, 0.0}).repeat({8, 1});
  at::Tensor target = at::tensor({0, 0, 0, 1, 0, 0, 0, 1}, at::kLong);
  EXPECT_NEAR(fit_temperature(logits, target), 5 / std::log(3.0), 1e-4);
}

TEST(Calibrate, OneTemperaturePerSubset) {
  Synthetic both(600, 3, 1), image(600, 0.5, 2), text(10, 9, 3);
  at::Tensor logits = at::cat({both.logits, image.logits, text.logits});
  at::Tensor target = at::cat({both.target, image.target, text.target});
  at::Tensor present = at::ones({1210, 2}, at::kBool);
  present.narrow(0, 600, 600).select(1, 1).fill_(false);
  present.narrow(0, 1200, 10).select(1, 0).fill_(false);
  Json c = Json::parse(calibrate(logits, target, present, kNames).dump());
  EXPECT_NEAR(c.at("subsets").at("image+text").at("temperature").as_double(), 3, 0.4);
  EXPECT_NEAR(c.at("subsets").at("image").at("temperature").as_double(), 0.5, 0.08);
  const Json& few = c.at("subsets").at("text");
  EXPECT_EQ(few.at("n").as_int(), 10);
  EXPECT_EQ(few.at("temperature").as_double(), c.at("default").as_double());
  for (const char* name : {"image", "image+text"}) {
    const Json& s = c.at("subsets").at(name);
    EXPECT_LT(s.at("nll_after").as_double(), s.at("nll_before").as_double());
  }
  at::Tensor calibrated = apply_calibration(c, logits, present, kNames);
  EXPECT_LT(negative_log_likelihood(at::softmax(calibrated, 1), target),
            negative_log_likelihood(at::softmax(logits, 1), target));
  EXPECT_TRUE(at::equal(calibrated.argmax(1), logits.argmax(1)));
  EXPECT_NEAR(expected_calibration_error(at::softmax(calibrated, 1), target), 0, 0.05);
}

TEST(Calibrate, ItemsWithoutALabelDoNotCount) {
  Synthetic data(300, 2, 1);
  double t = fit_temperature(data.logits.narrow(0, 0, 200), data.target.narrow(0, 0, 200));
  data.target.narrow(0, 200, 100).fill_(-1);
  EXPECT_EQ(fit_temperature(data.logits, data.target), t);
}

TEST(Calibrate, ExtremesStayInRange) {
  at::Tensor logits = at::tensor({1.0, 0.0}).repeat({60, 1});
  double cold = fit_temperature(logits, at::zeros({60}, at::kLong)),
         hot = fit_temperature(logits, at::ones({60}, at::kLong));
  EXPECT_NEAR(cold, 0.05, 0.01);
  EXPECT_NEAR(hot, 20, 0.01);
}

TEST(Calibrate, RefusesBadInput) {
  at::Tensor logits = at::zeros({4, 2}), target = at::zeros({4}, at::kLong),
             present = at::ones({4, 2}, at::kBool);
  EXPECT_THROW(calibrate(logits, at::zeros({3}, at::kLong), present, kNames), Error);
  EXPECT_THROW(calibrate(logits, target, at::ones({4, 3}, at::kBool), kNames), Error);
  EXPECT_THROW(calibrate(at::full({4, 2}, std::nan("")), target, present, kNames), Error);
  EXPECT_THROW(calibrate(logits, at::full({4}, -1, at::kLong), present, kNames), Error);
  for (const char* text :
       {R"({"default": 0})", R"({"default": "hot"})", R"({"subsets": {"image+text": {}}})"}) {
    EXPECT_THROW(temperatures(Json::parse(text), present, kNames), Error) << text;
  }
  EXPECT_TRUE(at::equal(temperatures(Json(), present, kNames), at::ones({4})));
}

}  // namespace
}  // namespace plait::train
