// quality_scores ITEMS.safetensors SENTENCES.txt OUT.tsv LEVELS [KIND...]: quality of every item,
// clean and under every kind of damage (or those named) at LEVELS severities, one line per item and
// kind. Items: tensors
// image.*, audio.<rate>.*, series.*; one sentence per line. benchmarks/quality/measure.py makes the
// items and reads the scores.
#include <ATen/ATen.h>

#include <chrono>
#include <cstdio>
#include <set>
#include <sstream>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/safetensors.h"
#include "plait/data/augment/augment.h"
#include "plait/models/quality/quality.h"

namespace {

struct Item {
  std::string id;
  plait::Modality modality;
  plait::Value value;
};

std::vector<Item> read_items(const std::string& tensors, const std::string& sentences) {
  std::vector<Item> items;
  for (auto& [name, tensor] : plait::load_safetensors(tensors)) {
    plait::Modality modality = plait::modality_from_string(name.substr(0, name.find('.')));
    if (modality == plait::Modality::kAudio) {
      int64_t rate = std::stoll(name.substr(name.find('.') + 1));
      items.push_back({name, modality, plait::Waveform{tensor, rate}});
    } else {
      items.push_back({name, modality, tensor});
    }
  }
  std::istringstream lines(plait::read_file(sentences));
  int64_t n = 0;
  for (std::string line; std::getline(lines, line); ++n) {
    items.push_back({"text." + std::to_string(n), plait::Modality::kText, line});
  }
  return items;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 5) {
    std::fprintf(
        stderr, "usage: quality_scores ITEMS.safetensors SENTENCES.txt OUT.tsv LEVELS [KIND...]\n");
    return 2;
  }
  int levels = std::stoi(argv[4]);
  std::set<std::string> wanted(argv + 5, argv + argc);
  std::FILE* out = std::fopen(argv[3], "w");
  if (!out) throw std::runtime_error(std::string("cannot write ") + argv[3]);
  uint64_t seed = 1;
  for (const Item& item : read_items(argv[1], argv[2])) {
    auto start = std::chrono::steady_clock::now();
    plait::models::Quality clean = plait::models::assess(item.value, item.modality);
    std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    std::fprintf(out, "%s\tmilliseconds\t%.4f\n", item.id.c_str(), took.count());
    for (auto& [name, part] : clean.parts)
      std::fprintf(out, "%s\tpart %s\t%.6f\n", item.id.c_str(), name.c_str(), part);
    for (const std::string& kind : plait::data::damage_kinds(item.modality)) {
      if (!wanted.empty() && !wanted.count(kind)) continue;
      std::fprintf(out, "%s\t%s\t%.6f", item.id.c_str(), kind.c_str(), clean.score);
      for (int level = 1; level <= levels; ++level) {
        double severity = static_cast<double>(level) / levels;
        plait::Value damaged = plait::data::damage(item.value, item.modality, kind, severity, seed);
        std::fprintf(out, "\t%.6f", plait::models::assess(damaged, item.modality).score);
      }
      std::fprintf(out, "\n");
    }
    ++seed;
  }
  std::fclose(out);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "quality_scores: %s\n", e.what());
  return 1;
}
