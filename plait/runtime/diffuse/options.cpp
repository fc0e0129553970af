#include "plait/runtime/diffuse/options.h"

namespace plait::runtime {

void DiffusionOptions::visit(ConfigVisitor& v) {
  v.field("num_inference_steps", num_inference_steps, "Steps from noise to the picture",
          {.min = 1, .max = 10000});
  v.field("guidance_scale", guidance_scale,
          "How far beyond the text alone to go, away from the negative prompt; 1: not at all",
          {.min = 1, .max = 1000});
  v.field("eta", eta, "Share of fresh noise in each step of DDIM", {.min = 0, .max = 1});
  v.field("strength", strength, "With a picture: share of the steps that change it",
          {.min = 0, .max = 1});
  v.field("num_images_per_prompt", num_images_per_prompt, "Pictures drawn at once",
          {.min = 1, .max = 64});
  v.field("seed", seed, "Of the noise", {.min = 0, .max = 9e15});
}

DiffusionOptions DiffusionOptions::tiny() {
  DiffusionOptions o;
  o.num_inference_steps = 2;
  return o;
}

void DiffusionOptions::validate() const {}

}  // namespace plait::runtime
