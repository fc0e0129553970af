// Reads JSON lines from stdin and writes the tokens of each as a JSON line, for comparison with the
// reference:
//   plait_tokenize TOKENIZER [--bench] < lines
// TOKENIZER is what Tokenizer::from_file takes, or a GGUF file. A line is a text ("...") or an
// object {"text", "pair", "special", "decode"}.
#include <chrono>
#include <iostream>

#include "plait/core/error.h"
#include "plait/core/json.h"
#include "plait/core/weights/gguf.h"
#include "plait/data/text/gguf_tokenizer.h"
#include "plait/data/text/tokenizer.h"

namespace {

using plait::Json;

std::shared_ptr<const plait::data::Tokenizer> open(const std::string& path) {
  if (!path.ends_with(".gguf")) return plait::data::Tokenizer::from_file(path);
  auto file = plait::GgufFile::open(path);
  return plait::data::Tokenizer::parse(
      plait::data::tokenizer_json_from_gguf(file.metadata()).dump(), path);
}

Json answer(const plait::data::Tokenizer& tokenizer, const Json& line) {
  Json out = Json::object();
  if (const Json* ids = line.find("decode")) {
    out["text"] = tokenizer.decode(ids->as_ints(), line.get("skip_special", true));
    return out;
  }
  plait::data::EncodeOptions options;
  options.add_special_tokens = line.get("special", true);
  if (line.contains("max_length")) options.max_length = line.at("max_length").as_int();
  std::string text = line.is_string() ? line.as_string() : line.at("text").as_string();
  auto encoding = line.contains("pair")
                      ? tokenizer.encode_pair(text, line.at("pair").as_string(), options)
                      : tokenizer.encode(text, options);
  out["ids"] = encoding.ids;
  out["type_ids"] = encoding.type_ids;
  std::vector<int64_t> offsets;  // begin, end, begin, end ...
  for (auto [begin, end] : encoding.offsets) {
    offsets.push_back(begin);
    offsets.push_back(end);
  }
  out["offsets"] = offsets;
  out["special_mask"] =
      std::vector<int64_t>(encoding.special_mask.begin(), encoding.special_mask.end());
  out["attention_mask"] =
      std::vector<int64_t>(encoding.attention_mask.begin(), encoding.attention_mask.end());
  return out;
}

/// Seconds for all lines, best of seven rounds.
double measure(const plait::data::Tokenizer& tokenizer, const std::vector<std::string>& lines) {
  double best = 1e9;
  for (int round = 0; round < 7; ++round) {
    auto begin = std::chrono::steady_clock::now();
    size_t tokens = 0;
    for (const std::string& line : lines) tokens += tokenizer.encode(line).size();
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = tokens > 0 ? std::min(best, seconds) : best;
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: plait_tokenize TOKENIZER [--bench] < lines\n";
    return 2;
  }
  try {
    auto tokenizer = open(argv[1]);
    bool bench = argc > 2 && std::string(argv[2]) == "--bench";
    std::vector<std::string> lines;
    for (std::string line; std::getline(std::cin, line);) {
      Json json = Json::parse(line, "line");
      if (bench) {
        lines.push_back(json.as_string());
      } else {
        std::cout << answer(*tokenizer, json).dump() << "\n";
      }
    }
    if (bench) std::cout << Json::object({{"seconds", measure(*tokenizer, lines)}}).dump() << "\n";
  } catch (const plait::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
