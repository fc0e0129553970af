// Continues a text, token by token as it is written.
//
//   generate_text MODEL PROMPT        e.g. generate_text smollm2 "The capital of France is"
#include <iostream>

#include "plait/api/text_generator.h"
#include "plait/core/error.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: generate_text MODEL PROMPT\n";
    return 2;
  }
  try {
    // [snippet: generate]
    auto model = plait::api::TextGenerator::from_pretrained(argv[1]);
    plait::api::TextOptions options;
    options.max_new_tokens = 32;
    auto made = model->generate(argv[2], options, [](const std::string& piece) {
      std::cout << piece << std::flush;
      return true;  // false would stop it
    });
    std::cout << "\n" << made.tokens.size() << " tokens in " << made.seconds << " s\n";
    // [end]
  } catch (const plait::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
