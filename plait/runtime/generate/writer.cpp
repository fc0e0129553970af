#include "plait/runtime/generate/writer.h"

#include <algorithm>

#include "plait/runtime/generate/generate_steps.h"
#include "plait/runtime/generate/logit_processors.h"

namespace plait::runtime {

Writer::Writer(const Prompt& prompt, std::vector<int64_t> end_of_text,
               const GenerateOptions& options, uint64_t seed, int64_t room)
    : options_(options),
      ids_(prompt.ids),
      end_of_text_(std::move(end_of_text)),
      constraint_(prompt.constraint ? prompt.constraint->clone() : nullptr),
      generator_(seed),
      room_(room),
      ended_(room <= 0) {}

std::optional<int64_t> Writer::choose(std::span<float> scores, const OnToken& on_token) {
  own_.assign(scores.begin(), scores.end());
  const auto generated = static_cast<int64_t>(made_.tokens.size());
  process(scores, ids_, generated, end_of_text_, options_);
  if (constraint_) constraint_->mask(scores);
  int64_t id;
  if (options_.temperature > 0) {
    apply_temperature(scores, options_.temperature);
    keep_top_k(scores, options_.top_k);
    keep_top_p(scores, options_.top_p);
    keep_min_p(scores, options_.min_p);
    id = draw_from(scores, generator_);
  } else {
    id = best_of(scores);
  }
  if (std::find(end_of_text_.begin(), end_of_text_.end(), id) != end_of_text_.end()) {
    end(Finish::kStop);
    return std::nullopt;
  }
  if (constraint_) constraint_->accept(id);
  ids_.push_back(id);
  made_.tokens.push_back(describe_token(own_, id, options_.logprobs));
  made_.score += made_.tokens.back().logprob;
  if (on_token && !on_token(made_.tokens.back())) {
    end(Finish::kCancelled);
  } else if (constraint_ && constraint_->finished()) {
    end(Finish::kStop);
  } else if (generated + 1 >= room_) {
    end(Finish::kLength);
  }
  return ended_ ? std::nullopt : std::optional(id);
}

void Writer::cancel() { end(Finish::kCancelled); }

void Writer::end(Finish finish) {
  made_.finish = finish;
  ended_ = true;
}

uint64_t sequence_seed(const GenerateOptions& options, int64_t i) {
  uint64_t seed =
      static_cast<uint64_t>(options.seed) + static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15u;
  seed = (seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9u;
  seed = (seed ^ (seed >> 27)) * 0x94D049BB133111EBu;
  return seed ^ (seed >> 31);
}

}  // namespace plait::runtime
