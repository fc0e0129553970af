#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/runtime/generate/generate_steps.h"
#include "plait/runtime/generate/logit_processors.h"

// Beam search with the scores, the order and the end of transformers': a text that ends is kept
// when it was among the best num_beams of its step; its score is the sum of log-probabilities, the
// end-of-text token's included, over length^length_penalty.
namespace plait::runtime {
namespace {

/// So low that nothing is chosen by it, as transformers has it.
constexpr float kNever = -1.0e9F;

struct Beam {
  std::vector<GeneratedToken> tokens;
  std::unique_ptr<TokenConstraint> constraint;
  float score = 0;  ///< Sum of log-probabilities
};

struct Candidate {
  int64_t beam, token;
  float score;
  bool ends = false;
};

struct Ended {
  std::vector<GeneratedToken> tokens;
  float score;
  Finish finish;
};

float over_length(float score, int64_t length, double penalty) {
  return score / static_cast<float>(std::pow(static_cast<double>(length), penalty));
}

std::vector<Candidate> best_candidates(const at::Tensor& summed, int64_t count) {
  auto [scores, places] = summed.flatten().topk(std::min(count, summed.numel()));
  std::vector<Candidate> out;
  for (int64_t i = 0; i < scores.size(0); ++i) {
    const int64_t place = places.const_data_ptr<int64_t>()[i];
    out.push_back(
        {place / summed.size(1), place % summed.size(1), scores.const_data_ptr<float>()[i]});
  }
  return out;
}

}  // namespace

std::vector<Generation> beam_search(const models::Decoder& decoder, const Prompt& prompt,
                                    const std::vector<int64_t>& end_of_text,
                                    const GenerateOptions& options, std::stop_token cancel) {
  const int64_t width = options.num_beams, room = room_for(decoder, prompt, options);
  const auto ends = static_cast<int64_t>(end_of_text.size());
  // Enough that `width` go on even when the best ones all end.
  const int64_t keep = std::max<int64_t>(2, 1 + ends) * width;
  const int64_t used = static_cast<int64_t>(prompt.ids.size()) +
                       (prompt.prefix.defined() ? prompt.prefix.size(0) : 0);
  models::KvCache cache = decoder.make_cache(1, used + std::min<int64_t>(room, 64));
  at::Tensor scores = prefill(decoder, prompt, cache);
  cache.select(at::zeros({width}, at::TensorOptions(at::kLong).device(decoder.device())));
  scores = scores.expand({width, -1}).contiguous();

  std::vector<Beam> beams(static_cast<size_t>(width));
  for (size_t i = 0; i < beams.size(); ++i) {
    // All start alike: only the first may go on, or they would stay alike.
    beams[i].score = i == 0 ? 0 : kNever;
    if (prompt.constraint) beams[i].constraint = prompt.constraint->clone();
  }
  std::vector<Ended> ended;
  bool improvable = true, cancelled = false;
  for (int64_t length = 1; length <= room; ++length) {
    if (cancel.stop_requested()) {
      cancelled = true;
      break;
    }
    at::Tensor raw = scores.clone(), summed = at::log_softmax(scores, -1);
    for (int64_t b = 0; b < width; ++b) {
      Beam& beam = beams[static_cast<size_t>(b)];
      std::vector<int64_t> ids = prompt.ids;
      for (const GeneratedToken& token : beam.tokens) ids.push_back(token.id);
      std::span<float> row(summed.mutable_data_ptr<float>() + b * summed.size(1),
                           static_cast<size_t>(summed.size(1)));
      process(row, ids, length - 1, end_of_text, options);
      if (beam.constraint) beam.constraint->mask(row);
      for (float& score : row) score += beam.score;
    }
    std::vector<Candidate> candidates = best_candidates(summed, keep);
    const bool full = static_cast<int64_t>(ended.size()) == width;
    const bool closed = !improvable || (full && options.early_stopping == "true");
    auto tokens_of = [&](const Candidate& c) {
      std::vector<GeneratedToken> tokens = beams[static_cast<size_t>(c.beam)].tokens;
      std::span<const float> row(raw.const_data_ptr<float>() + c.beam * raw.size(1),
                                 static_cast<size_t>(raw.size(1)));
      tokens.push_back(describe_token(row, c.token, options.logprobs));
      return tokens;
    };
    bool all_end = true;
    for (size_t i = 0; i < candidates.size(); ++i) {
      Candidate& c = candidates[i];
      const bool eos =
          std::find(end_of_text.begin(), end_of_text.end(), c.token) != end_of_text.end();
      bool complete = eos;
      if (!eos && prompt.constraint && std::isfinite(c.score)) {
        auto after = beams[static_cast<size_t>(c.beam)].constraint->clone();
        after->accept(c.token);
        complete = after->finished();
      }
      c.ends = complete || length == room;
      all_end = all_end && c.ends;
      if (!c.ends || closed || i >= static_cast<size_t>(width) || c.score <= kNever / 2) continue;
      Ended done{tokens_of(c), over_length(c.score, length, options.length_penalty),
                 complete ? Finish::kStop : Finish::kLength};
      if (eos) done.tokens.pop_back();
      ended.push_back(std::move(done));
    }
    std::stable_sort(ended.begin(), ended.end(),
                     [](const Ended& a, const Ended& b) { return a.score > b.score; });
    if (ended.size() > beams.size()) ended.resize(beams.size());
    if (all_end) break;

    // Those that go on, best first.
    std::stable_partition(candidates.begin(), candidates.end(),
                          [](const Candidate& c) { return !c.ends; });
    candidates.resize(std::min(candidates.size(), beams.size()));
    std::vector<int64_t> rows, next;
    std::vector<Beam> running;
    for (const Candidate& c : candidates) {
      Beam beam;
      beam.tokens = tokens_of(c);
      beam.score = c.ends ? c.score + kNever : c.score;
      if (prompt.constraint) {
        beam.constraint = beams[static_cast<size_t>(c.beam)].constraint->clone();
        if (!c.ends && std::isfinite(c.score)) beam.constraint->accept(c.token);
      }
      rows.push_back(c.beam);
      next.push_back(c.token);
      running.push_back(std::move(beam));
    }
    beams = std::move(running);
    cache.select(at::tensor(rows, at::kLong).to(decoder.device()));
    const int64_t hoped =
        options.early_stopping == "never" && options.length_penalty > 0 ? room : length;
    const float possible = over_length(beams.front().score, hoped, options.length_penalty);
    const bool enough = static_cast<int64_t>(ended.size()) == width;
    improvable = improvable && (!enough || possible > ended.back().score);
    if (!improvable || (enough && options.early_stopping == "true")) break;
    scores = step(decoder, next, cache);
  }

  std::vector<Generation> made;
  for (Ended& done : ended) {
    Generation one;
    one.tokens = std::move(done.tokens);
    one.score = done.score;
    one.finish = done.finish;
    made.push_back(std::move(one));
  }
  if (made.empty()) {
    // Cancelled, or nothing could end: the best running beam is what there is.
    Generation one;
    one.tokens = std::move(beams.front().tokens);
    one.score = beams.front().score;
    one.finish = cancelled ? Finish::kCancelled : Finish::kLength;
    made.push_back(std::move(one));
  }
  if (static_cast<int64_t>(made.size()) > options.num_return_sequences)
    made.resize(static_cast<size_t>(options.num_return_sequences));
  return made;
}

}  // namespace plait::runtime
