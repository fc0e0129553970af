#include <csignal>
#include <cstdio>
#include <filesystem>

#include "plait/api/speech_recognizer.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/error.h"
#include "plait/models/catalogue.h"

namespace plait::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) { interrupted = 1; }

/// Fetches a published model with a progress bar; anything else is looked up when it is loaded.
void prepare(const std::string& name, Stages& stages) {
  for (const auto& model : models::list_models()) {
    if (model.name == name && !std::filesystem::exists(name) && !models::is_model_ready(name))
      models::get_model(name, stages.fetch("Model: " + name));
  }
}

void print_text(const api::Transcript& transcript, bool words) {
  for (const runtime::TranscriptSegment& segment : transcript.segments) {
    std::printf(
        "[%s → %s] %s\n", format("%7.2f", segment.start).c_str(),
        format("%7.2f", segment.end).c_str(),
        segment.text.substr(std::min(segment.text.find_first_not_of(' '), segment.text.size()))
            .c_str());
    if (!words) continue;
    for (const runtime::TimedWord& word : segment.words) {
      std::printf("    %s %s %s %s\n", format("%7.2f", word.start).c_str(),
                  format("%7.2f", word.end).c_str(),
                  format("%3.0f %%", 100 * word.probability).c_str(), word.text.c_str());
    }
  }
}

}  // namespace

int transcribe(const TranscribeArgs& args) {
  require(
      static_cast<int>(args.srt) + static_cast<int>(args.vtt) + static_cast<int>(args.json) <= 1,
      "transcribe", "expected one of --json, --srt and --vtt");
  runtime::TranscribeOptions options;
  options.language = args.language;
  options.task = args.translate ? "translate" : "transcribe";
  options.words = args.words;
  options.initial_prompt = args.prompt;
  options.beam_size = args.beam_size;
  options.condition_on_previous_text = !args.independent;
  options.validate();
  Stages stages;
  prepare(args.model, stages);
  if (args.speech_only) prepare("silero-vad", stages);
  stages.finish();
  api::ModelOptions how;
  how.backend = args.backend;
  how.dtype = args.dtype;
  auto recognizer = api::SpeechRecognizer::from_pretrained(args.model, how);
  // Ctrl-C ends the work; what was understood until then is printed.
  auto before = std::signal(SIGINT, on_interrupt);
  options.cancelled = [] { return interrupted != 0; };
  Json all = Json::array();
  for (const std::string& file : args.files) {
    ProgressBar bar(std::filesystem::path(file).filename().string());
    options.progress = [&](double done, double total) {
      bar.update(done, total, format("%.0f s", done) + format(" of %.0f s", total));
    };
    const api::Transcript transcript =
        recognizer->transcribe(Path{file}, options, args.speech_only);
    bar.finish();
    if (args.json) {
      Json row = Json::object({{"file", file}});
      const Json told = api::to_json(transcript);
      for (const auto& [key, value] : told.members()) row[key] = value;
      all.push_back(std::move(row));
    } else if (args.srt) {
      std::printf("%s", api::to_srt(transcript).c_str());
    } else if (args.vtt) {
      std::printf("%s", api::to_vtt(transcript).c_str());
    } else {
      if (args.files.size() > 1)
        std::printf("%s (%s)\n", file.c_str(), transcript.language.c_str());
      print_text(transcript, args.words);
    }
    std::fflush(stdout);
    if (transcript.cancelled) break;
  }
  if (args.json)
    std::printf("%s\n", Json::object({{"model", args.model}, {"files", all}}).dump().c_str());
  std::signal(SIGINT, before);
  return interrupted != 0 ? 130 : 0;
}

}  // namespace plait::cli
