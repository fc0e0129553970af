// Each step against transformers' processor of that name (tools/golden/logit_processors.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/runtime/generate/logit_processors.h"

namespace plait::runtime {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::span<float> row_of(at::Tensor& scores, int64_t row) {
  return {scores.mutable_data_ptr<float>() + row * scores.size(1),
          static_cast<size_t>(scores.size(1))};
}

TEST(LogitProcessors, EqualTheReferences) {
  TensorMap golden =
      load_safetensors(PLAIT_SOURCE_DIR "/tests/golden/generate/logit_processors.safetensors");
  at::Tensor ids = golden.at("ids").contiguous();
  int checked = 0;
  for (const auto& [name, expected] : golden) {
    if (name == "ids" || name == "scores") continue;
    at::Tensor scores = golden.at("scores").clone();
    const size_t dot = name.find('.');
    const std::string step = name.substr(0, dot);
    const double value = dot == std::string::npos ? 0 : std::stod(name.substr(dot + 1));
    for (int64_t row = 0; row < scores.size(0); ++row) {
      std::span<float> s = row_of(scores, row);
      std::span<const int64_t> seen(ids.const_data_ptr<int64_t>() + row * ids.size(1),
                                    static_cast<size_t>(ids.size(1)));
      if (step == "repetition_penalty") penalize_repetition(s, seen, value);
      if (step == "no_repeat_ngram_size")
        forbid_repeated_ngrams(s, seen, static_cast<int64_t>(value));
      if (step == "temperature") apply_temperature(s, value);
      if (step == "top_k") keep_top_k(s, static_cast<int64_t>(value));
      if (step == "top_p") keep_top_p(s, value);
      if (step == "min_p") keep_min_p(s, value);
      if (step == "together") {
        penalize_repetition(s, seen, 1.2);
        apply_temperature(s, 0.8);
        keep_top_k(s, 50);
        keep_top_p(s, 0.9);
        keep_min_p(s, 0.05);
      }
    }
    EXPECT_TRUE(scores.isneginf().equal(expected.isneginf())) << name;
    EXPECT_TRUE(at::allclose(scores, expected, 1e-6, 0)) << name;
    EXPECT_FALSE(scores.equal(golden.at("scores")) && name != "top_k.1000") << name;
    ++checked;
  }
  EXPECT_EQ(checked, 19);
}

TEST(LogitProcessors, DrawAsOftenAsProbable) {
  std::vector<float> scores = {std::log(0.1F), -kInfinity, std::log(0.6F), std::log(0.3F)};
  std::mt19937_64 generator(5);
  std::vector<int> counts(4);
  for (int i = 0; i < 20000; ++i) ++counts[static_cast<size_t>(draw_from(scores, generator))];
  EXPECT_EQ(counts[1], 0);
  EXPECT_NEAR(counts[0], 2000, 150);
  EXPECT_NEAR(counts[2], 12000, 250);
  EXPECT_EQ(best_of(scores), 2);
}

TEST(LogitProcessors, RefuseScoresThatLeaveNothing) {
  std::vector<float> none(5, -kInfinity), broken = {0, std::nanf(""), 1}, high = {0, kInfinity};
  std::mt19937_64 generator(5);
  EXPECT_THROW(best_of(none), Error);
  EXPECT_THROW(draw_from(none, generator), Error);
  EXPECT_THROW(keep_top_p(broken, 0.5), Error);
  EXPECT_THROW(best_of(high), Error);
  EXPECT_THROW(best_of({}), Error);
}

}  // namespace
}  // namespace plait::runtime
