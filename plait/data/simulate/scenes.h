#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait::data {

/// A question about a scene with its one right answer.
struct SceneQuestion {
  std::string kind;  ///< "what", "colour", "count" or "where"
  std::string question;
  std::string answer;
};

/// A synthetic picture of coloured shapes whose contents are known.
struct Scene {
  at::Tensor picture;  ///< uint8 [size, size, 3]
  /// {"groups": [{"shape", "colour", "count", "place"}], "background"}; the place is "left",
  /// "right", "top" or "bottom".
  Json truth;
  std::string caption;     ///< "two red circles on the left and a blue star on the right"
  std::string caption_zh;  ///< "左边有两个红色的圆形，右边有一个蓝色的星形"
  std::vector<SceneQuestion> questions;
};

/// One or two groups of one to three equal shapes on opposite sides of a plain background; all
/// random, by the seed alone. @throws Error kInvalidArgument for a size outside [32, 1024].
Scene make_scene(uint64_t seed, int64_t size = 224);

/// The shapes and colours that scenes are made of.
const std::vector<std::string>& scene_shapes();
const std::vector<std::string>& scene_colours();

}  // namespace plait::data
