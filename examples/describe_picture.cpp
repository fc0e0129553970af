// Describe a picture and ask about it, with a folder of LLaVA's type or one that
// `plait train-captioner` wrote:
//   describe_picture MODEL_FOLDER picture.jpg "What colour is it?"
#include <cstdio>

#include "plait/api/captioner.h"
#include "plait/core/error.h"

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: describe_picture MODEL_FOLDER PICTURE [QUESTION ...]\n");
    return 2;
  }
  auto captioner = plait::api::Captioner::from_pretrained(argv[1]);
  plait::api::TextOptions options;
  options.max_new_tokens = 40;
  const plait::Path picture{argv[2]};
  std::printf("%s\n", captioner->caption(picture, "en", options).text.c_str());
  for (int i = 3; i < argc; ++i)
    std::printf("%s %s\n", argv[i], captioner->ask(picture, argv[i], options).text.c_str());
  return 0;
} catch (const plait::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
