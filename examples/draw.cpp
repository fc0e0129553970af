// A picture of a text.
//
//   draw MODEL_FOLDER "a red apple" apple.png     a folder of Stable Diffusion 1 or 2, or one that
//                                                 plait train wrote
#include <iostream>

#include "plait/api/picture_generator.h"
#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/image/image.h"

namespace {

// [snippet: draw]
void draw(const std::string& folder, const std::string& prompt, const std::string& output) {
  auto generator = plait::api::PictureGenerator::from_pretrained(folder);
  plait::api::PictureOptions options;
  options.num_inference_steps = 20;
  options.sampler = "dpm++";
  options.seed = 7;
  auto drawn = generator->draw(prompt, options, {}, [](const plait::runtime::DiffusionStep& step) {
    std::cerr << "\r" << step.step << " of " << step.total << std::flush;
    return true;  // false: enough
  });
  plait::write_file_atomic(output, plait::data::encode_png(drawn.pictures.front()));
}
// [end]

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: draw MODEL_FOLDER PROMPT OUTPUT.png\n";
    return 2;
  }
  try {
    draw(argv[1], argv[2], argv[3]);
  } catch (const plait::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  std::cerr << "\n";
  return 0;
}
