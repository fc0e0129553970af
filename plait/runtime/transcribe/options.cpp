#include "plait/runtime/transcribe/options.h"

#include "plait/core/error.h"

namespace plait::runtime {

void TranscribeOptions::visit(ConfigVisitor& v) {
  v.field("language", language, "Code of the spoken language; empty: detect it");
  v.field("task", task, "What to write", {.one_of = {"transcribe", "translate"}});
  v.field("words", words, "Also when each word was spoken");
  v.field("initial_prompt", initial_prompt, "Names and spellings to expect");
  v.field("condition_on_previous_text", condition_on_previous_text,
          "Each window sees the text before it");
  v.field("beam_size", beam_size, "Texts followed at once; 1: greedy", {.min = 1, .max = 64});
  v.field("patience", patience, "Beams to finish, as a multiple of beam_size",
          {.min = 0.1, .max = 16});
  v.field("length_penalty", length_penalty, "Exponent of the length; below 0: mean over tokens",
          {.min = -1, .max = 1});
  v.field("best_of", best_of, "Samples at temperatures above 0", {.min = 1, .max = 64});
  v.field("temperatures", temperatures, "Tried in order until a text is good enough");
  v.field("compression_ratio_threshold", compression_ratio_threshold,
          "A text that zlib compresses further repeats itself", {.min = 0});
  v.field("logprob_threshold", logprob_threshold, "A lower mean log-probability is improbable");
  v.field("no_speech_threshold", no_speech_threshold,
          "Above it, and improbable, a window is silence", {.min = 0, .max = 1});
  v.field("max_initial_timestamp", max_initial_timestamp,
          "Latest start of a window's text, seconds", {.min = 0, .max = 30});
  v.field("suppress_blank", suppress_blank, "No text starts with nothing");
  v.field("suppress_non_speech", suppress_non_speech, "No brackets, notes and other symbols");
  v.field("padding", padding, "What fills a window behind the sound",
          {.one_of = {"silence", "zeros"}});
  v.field("seed", seed, "Of samples at temperatures above 0", {.min = 0, .max = 9e15});
}

void TranscribeOptions::validate() const {
  require(!temperatures.empty() && temperatures.size() <= 32, "transcribe",
          "expected 1 to 32 temperatures");
  for (double t : temperatures)
    require(t >= 0 && t <= 10, "transcribe", "expected temperatures from 0 to 10");
  require(padding == "silence" || padding == "zeros", "transcribe",
          "expected padding to be silence or zeros");
  require(task == "transcribe" || task == "translate", "transcribe",
          "expected the task transcribe or translate");
  require(beam_size >= 1 && beam_size <= 64 && best_of >= 1 && best_of <= 64 && patience > 0,
          "transcribe", "expected beam_size and best_of from 1 to 64 and some patience");
  require(initial_prompt.size() <= 16384, "transcribe",
          "expected an initial prompt of at most 16 KiB");
}

}  // namespace plait::runtime
