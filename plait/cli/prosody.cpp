#include <cstdio>

#include "plait/api/prosody_study.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait::cli {
namespace {

/// A text a line; of lines with tabs what stands behind the last one; no lines that begin with "#".
std::vector<std::string> read_lines(const std::string& path) {
  const std::string text = read_file(path, size_t{64} << 20);
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.starts_with("#")) continue;
    if (size_t tab = line.rfind('\t'); tab != std::string::npos) line = line.substr(tab + 1);
    if (line.find_first_not_of(" \r") != std::string::npos) out.push_back(line);
  }
  return out;
}

Json to_json(const api::ProsodyResult::Errors& e) {
  return Json::object({{"model", e.model}, {"mean", e.mean}, {"symbol_mean", e.symbol_mean}});
}

}  // namespace

int prosody(const ProsodyArgs& args) {
  require(args.seeds >= 1 && args.seeds <= 100, "prosody", "expected 1 to 100 seeds");
  const auto texts = read_lines(args.sentences), held_out = read_lines(args.held_out);
  Stages stages;
  auto voice = api::SpeechSynthesizer::from_pretrained(args.voice, {}, "",
                                                       stages.fetch("Voice: " + args.voice));
  stages.finish();
  auto spoken = [&](const char* title, const std::vector<std::string>& lines, int64_t seed) {
    ProgressBar bar(title);
    auto data = api::speak_for_prosody(*voice, lines, seed, [&](double done, double total) {
      bar.update(done, total, format("%.0f", done) + format(" of %.0f texts", total));
    });
    bar.finish();
    return data;
  };
  const api::ProsodyData train = spoken("Speaking to learn from", texts, 1);
  const api::ProsodyData test = spoken("Speaking to measure on", held_out, 2);
  Json runs = Json::array();
  for (long seed = 0; seed < args.seeds; ++seed) {
    api::ProsodyOptions options;
    options.seed = seed;
    options.epochs = args.epochs;
    ProgressBar bar("Training, seed " + std::to_string(seed));
    const api::ProsodyResult result = api::train_prosody(
        train, test, options, seed == 0 ? args.output : "",
        [&](double done, double total) { bar.update(done, total, format("epoch %.0f", done)); });
    bar.finish();
    runs.push_back(Json::object({{"seed", static_cast<int64_t>(seed)},
                                 {"log_duration", to_json(result.log_duration)},
                                 {"pitch_semitones", to_json(result.pitch)},
                                 {"energy_db", to_json(result.energy)}}));
    if (args.json) continue;
    std::printf("seed %ld, mean absolute errors on held-out sentences:\n", seed);
    const std::pair<const char*, const api::ProsodyResult::Errors*> rows[] = {
        {"log duration", &result.log_duration},
        {"pitch (semitones)", &result.pitch},
        {"energy (dB)", &result.energy}};
    for (const auto& [name, e] : rows) {
      std::printf("  %-18s predicted %.3f, mean of each symbol %.3f, mean %.3f\n", name, e->model,
                  e->symbol_mean, e->mean);
    }
  }
  if (args.json) {
    std::printf("%s\n", Json::object({{"voice", args.voice},
                                      {"train_sentences", train.sentences.size()},
                                      {"train_seconds", train.seconds},
                                      {"held_out_sentences", test.sentences.size()},
                                      {"runs", runs}})
                            .dump()
                            .c_str());
  }
  return 0;
}

}  // namespace plait::cli
