#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/sample.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

TEST(SampleTest, ModalitiesHaveNamesAndAliases) {
  for (auto m : {Modality::kText, Modality::kImage, Modality::kAudio, Modality::kVideo,
                 Modality::kSeries, Modality::kTable, Modality::kVolume, Modality::kGraph}) {
    EXPECT_EQ(modality_from_string(to_string(m)), m);
  }
  EXPECT_EQ(modality_from_string("numeric"), Modality::kTable);
  EXPECT_EQ(modality_from_string("sensor"), Modality::kSeries);
  tests::expect_error(ErrorCode::kInvalidArgument, "text, image, audio",
                      [] { modality_from_string("Text"); });
}

TEST(SampleTest, PresenceFollowsTheOrderOfNames) {
  Batch batch;
  batch.size = 3;
  batch.streams["image"].present = at::tensor({1, 0, 1}).to(at::kBool);
  batch.streams["text"].present = at::tensor({0, 1, 1}).to(at::kBool);
  at::Tensor expected = at::tensor({0, 1, 0, 1, 0, 0, 1, 1, 0}).reshape({3, 3}).to(at::kBool);
  EXPECT_TRUE(at::equal(batch.presence({"text", "image", "audio"}), expected));
  EXPECT_EQ(batch.presence({}).sizes(), (std::vector<int64_t>{3, 0}));
}

TEST(TensorMapTest, MissingTensorsAreNamed) {
  TensorMap m{{"a", at::ones({2, 3})}, {"b", at::Tensor()}};
  EXPECT_EQ(get(m, "a", "unit").numel(), 6);
  EXPECT_FALSE(get_or_undefined(m, "c").defined());
  tests::expect_error(ErrorCode::kInvalidArgument, "[unit] expected a tensor \"c\", got only: a, b",
                      [&] { get(m, "c", "unit"); });
  tests::expect_error(ErrorCode::kInvalidArgument, "\"b\"", [&] { get(m, "b", "unit"); });
  EXPECT_EQ(describe(at::Tensor()), "no tensor");
  EXPECT_NE(describe(m.at("a")).find("[2, 3]"), std::string::npos);
}

}  // namespace
}  // namespace plait
