#pragma once
#include <cstdint>

#include "plait/core/config.h"

namespace plait::runtime {

/// How pictures are drawn from noise. Names and meanings of diffusers' pipelines.
struct DiffusionOptions {
  int64_t num_inference_steps = 30;
  double guidance_scale = 7.5;
  double eta = 0;
  double strength = 0.8;
  int64_t num_images_per_prompt = 1;
  int64_t seed = 0;

  void visit(ConfigVisitor& v);
  static DiffusionOptions tiny();
  void validate() const;
};

}  // namespace plait::runtime
