// Answers from whatever is there: any of a text, a picture and a sound.
//
//   predict MODEL STREAM=VALUE...      e.g. predict plait-base text="a red apple" image=apple.png
#include <iostream>

#include "plait/plait.h"

namespace {

// [snippet: answer]
void answer(const std::string& folder, const std::map<std::string, plait::Value>& streams) {
  auto model = plait::api::MultimodalModel::from_pretrained(folder);
  plait::api::Prediction p = model->predict(streams);

  std::cout << p.label << ", " << p.confidence << (p.abstain ? " (not sure)" : "") << "\n";
  for (const auto& [stream, weight] : p.modality_weights) {
    std::cout << "  " << stream << ": weight " << weight;
    if (p.quality.count(stream)) std::cout << ", quality " << p.quality.at(stream);
    std::cout << "\n";
  }
}
// [end]

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: predict MODEL STREAM=VALUE...\n";
    return 2;
  }
  try {
    std::map<std::string, plait::Value> streams;
    for (int i = 2; i < argc; ++i) {
      std::string argument = argv[i];
      size_t equals = std::min(argument.find('='), argument.size() - 1);
      std::string name = argument.substr(0, equals), value = argument.substr(equals + 1);
      // Text is the value itself; of everything else a file is expected.
      streams[name] = name == "text" ? plait::Value(value) : plait::Value(plait::Path{value});
    }
    answer(argv[1], streams);
  } catch (const plait::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
