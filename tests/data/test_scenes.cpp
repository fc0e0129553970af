#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "plait/core/error.h"
#include "plait/data/simulate/scenes.h"

namespace plait::data {
namespace {

TEST(Scenes, FollowTheSeedAlone) {
  Scene a = make_scene(7), b = make_scene(7), c = make_scene(8);
  EXPECT_TRUE(a.picture.equal(b.picture));
  EXPECT_EQ(a.caption, b.caption);
  EXPECT_FALSE(a.picture.equal(c.picture));
  EXPECT_EQ(make_scene(7, 64).caption, a.caption);
  EXPECT_EQ(a.picture.sizes(), (std::vector<int64_t>{224, 224, 3}));
  EXPECT_THROW(make_scene(1, 16), Error);
  EXPECT_THROW(make_scene(1, 4096), Error);
}

/// The picture shows what the truth says: the colour's pixels stand on the side that is named.
TEST(Scenes, ShowWhatTheySay) {
  const std::map<std::string, std::vector<int>> rgb = {
      {"red", {220, 40, 40}},     {"green", {40, 160, 60}},   {"blue", {40, 80, 210}},
      {"yellow", {235, 200, 40}}, {"purple", {140, 60, 170}}, {"orange", {240, 130, 30}},
      {"black", {30, 30, 30}}};
  std::set<std::string> shapes, colours, kinds, answers;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Scene scene = make_scene(seed, 96);
    const auto& groups = scene.truth.at("groups").items();
    ASSERT_EQ(scene.questions.size(), 4 * groups.size());
    for (const SceneQuestion& q : scene.questions) {
      kinds.insert(q.kind);
      answers.insert(q.answer);
    }
    for (const Json& group : groups) {
      const std::string colour = group.at("colour").as_string();
      shapes.insert(group.at("shape").as_string());
      colours.insert(colour);
      EXPECT_NE(scene.caption.find(colour), std::string::npos);
      if (groups.size() == 2 &&
          groups[0].at("colour").as_string() == groups[1].at("colour").as_string())
        continue;
      at::Tensor wanted = at::tensor(rgb.at(colour), at::kInt);
      at::Tensor at_colour = scene.picture.to(at::kInt).eq(wanted).all(-1).to(at::kFloat);
      ASSERT_GT(at_colour.sum().item<float>(), 20) << scene.caption;
      const bool sideways =
          group.at("place").as_string() == "left" || group.at("place").as_string() == "right";
      const bool first =
          group.at("place").as_string() == "left" || group.at("place").as_string() == "top";
      at::Tensor profile = at_colour.sum(sideways ? 0 : 1);
      const double mean =
          (profile * at::arange(96)).sum().item<double>() / profile.sum().item<double>();
      EXPECT_EQ(mean < 48, first) << scene.caption;
    }
  }
  EXPECT_EQ(shapes.size(), scene_shapes().size());
  EXPECT_EQ(colours.size(), scene_colours().size());
  EXPECT_EQ(kinds, (std::set<std::string>{"what", "colour", "count", "where"}));
  EXPECT_GE(answers.size(), 7U + 7 + 3 + 4);
}

}  // namespace
}  // namespace plait::data
