#include "plait/runtime/generate/options.h"

#include "plait/core/error.h"

namespace plait::runtime {

void GenerateOptions::visit(ConfigVisitor& v) {
  v.field("max_new_tokens", max_new_tokens, "Most tokens to generate", {.min = 1, .max = 1e6});
  v.field("min_new_tokens", min_new_tokens, "Fewest tokens before the text may end",
          {.min = 0, .max = 1e6});
  v.field("temperature", temperature, "0: the most probable token; above: sample, flatter the more",
          {.min = 0, .max = 100});
  v.field("top_k", top_k, "Sample among so many most probable tokens; 0: all",
          {.min = 0, .max = 1e7});
  v.field("top_p", top_p, "Sample among the most probable tokens that together reach this",
          {.min = 0, .max = 1});
  v.field("min_p", min_p, "Sample among tokens at least this share as probable as the best",
          {.min = 0, .max = 1});
  v.field("repetition_penalty", repetition_penalty,
          "Divides the scores of tokens that occurred; 1: none", {.min = 1e-3, .max = 1e3});
  v.field("no_repeat_ngram_size", no_repeat_ngram_size, "No run of so many tokens twice; 0: off",
          {.min = 0, .max = 1e6});
  v.field("num_beams", num_beams, "Beams of the beam search; 1: none", {.min = 1, .max = 64});
  v.field("length_penalty", length_penalty,
          "Beam search: power of the length that scores are divided by", {.min = -10, .max = 10});
  v.field("early_stopping", early_stopping,
          "Beam search: end with as many finished beams (true), when the best running beam of this "
          "length cannot beat them (false), or of any length (never)",
          {.one_of = {"false", "true", "never"}});
  v.field("num_return_sequences", num_return_sequences, "Continuations of one prompt",
          {.min = 1, .max = 64});
  v.field("seed", seed, "Of sampling", {.min = 0, .max = 9e15});
  v.field("stop", stop, "Texts that end the generation; they are cut off");
  v.field("logprobs", logprobs, "So many most probable tokens are told for each token",
          {.min = 0, .max = 100});
  v.field("ignore_eos", ignore_eos, "Go on past the end-of-text token");
}

GenerateOptions GenerateOptions::tiny() {
  GenerateOptions o;
  o.max_new_tokens = 8;
  return o;
}

void GenerateOptions::validate() const {
  constexpr const char* kUnit = "generate";
  require(min_new_tokens <= max_new_tokens, kUnit,
          "expected min_new_tokens to be at most max_new_tokens");
  require(num_beams == 1 || temperature == 0, kUnit, "expected temperature 0 with several beams");
  require(num_beams == 1 || num_return_sequences <= num_beams, kUnit,
          "expected num_return_sequences to be at most num_beams");
  require(num_beams > 1 || temperature > 0 || num_return_sequences == 1, kUnit,
          "expected a temperature, or beams, for several sequences: they would all be the same");
  for (const std::string& text : stop)
    require(!text.empty() && text.size() <= 4096, kUnit, "expected stop texts of 1 to 4,096 bytes");
  require(stop.size() <= 64, kUnit, "expected at most 64 stop texts");
}

std::string to_string(Finish finish) {
  switch (finish) {
    case Finish::kStop: return "stop";
    case Finish::kLength: return "length";
    case Finish::kCancelled: return "cancelled";
  }
  return "";
}

std::vector<int64_t> Generation::ids() const {
  std::vector<int64_t> out;
  for (const GeneratedToken& token : tokens) out.push_back(token.id);
  return out;
}

}  // namespace plait::runtime
