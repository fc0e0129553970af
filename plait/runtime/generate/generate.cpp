#include "plait/runtime/generate/generate.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/runtime/generate/generate_steps.h"
#include "plait/runtime/generate/logit_processors.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "generate";

std::span<float> row_of(const at::Tensor& scores, int64_t row) {
  return {scores.mutable_data_ptr<float>() + row * scores.size(1),
          static_cast<size_t>(scores.size(1))};
}

/// One continuation, from the scores behind the prompt on.
Generation continue_once(const models::Decoder& decoder, const Prompt& prompt,
                         const std::vector<int64_t>& end_of_text, const GenerateOptions& options,
                         uint64_t seed, models::KvCache& cache, at::Tensor scores,
                         const OnToken& on_token, const std::stop_token& cancel) {
  Generation made;
  std::mt19937_64 generator(seed);
  std::vector<int64_t> ids = prompt.ids;
  auto constraint = prompt.constraint ? prompt.constraint->clone() : nullptr;
  const int64_t room = room_for(decoder, prompt, options);
  std::vector<float> own;
  for (int64_t generated = 0; generated < room; ++generated) {
    if (cancel.stop_requested()) {
      made.finish = Finish::kCancelled;
      return made;
    }
    std::span<float> row = row_of(scores, 0);
    own.assign(row.begin(), row.end());
    process(row, ids, generated, end_of_text, options);
    if (constraint) constraint->mask(row);
    int64_t id;
    if (options.temperature > 0) {
      apply_temperature(row, options.temperature);
      keep_top_k(row, options.top_k);
      keep_top_p(row, options.top_p);
      keep_min_p(row, options.min_p);
      id = draw_from(row, generator);
    } else {
      id = best_of(row);
    }
    if (std::find(end_of_text.begin(), end_of_text.end(), id) != end_of_text.end()) {
      made.finish = Finish::kStop;
      return made;
    }
    if (constraint) constraint->accept(id);
    ids.push_back(id);
    made.tokens.push_back(describe_token(own, id, options.logprobs));
    made.score += made.tokens.back().logprob;
    if (on_token && !on_token(made.tokens.back())) {
      made.finish = Finish::kCancelled;
      return made;
    }
    if (constraint && constraint->finished()) {
      made.finish = Finish::kStop;
      return made;
    }
    if (generated + 1 < room) scores = step(decoder, {id}, cache);
  }
  return made;
}

}  // namespace

at::Tensor prefill(const models::Decoder& decoder, const Prompt& prompt, models::KvCache& cache) {
  TensorMap inputs;
  if (!prompt.ids.empty()) inputs["input_ids"] = at::tensor(prompt.ids, at::kLong).unsqueeze(0);
  if (prompt.prefix.defined()) {
    require(prompt.prefix.dim() == 2, kUnit, "expected prefix [P, D]");
    inputs["inputs_embeds"] = prompt.prefix.unsqueeze(0);
  }
  if (prompt.encoder_hidden_states.defined()) {
    require(prompt.encoder_hidden_states.dim() == 2, kUnit,
            "expected encoder_hidden_states [S, E]");
    inputs["encoder_hidden_states"] = prompt.encoder_hidden_states.unsqueeze(0);
  }
  const at::Device device = decoder.device();
  for (auto& [name, tensor] : inputs) tensor = tensor.to(device);
  at::Tensor hidden = decoder.hidden_states(inputs, &cache);
  return decoder.word_logits(hidden.select(1, hidden.size(1) - 1)).to(at::kCPU, at::kFloat);
}

at::Tensor step(const models::Decoder& decoder, const std::vector<int64_t>& tokens,
                models::KvCache& cache) {
  at::Tensor ids = at::tensor(tokens, at::kLong).unsqueeze(1);
  ids = ids.to(decoder.device());
  at::Tensor hidden = decoder.hidden_states({{"input_ids", ids}}, &cache);
  return decoder.word_logits(hidden.select(1, 0)).to(at::kCPU, at::kFloat).contiguous();
}

void process(std::span<float> scores, const std::vector<int64_t>& ids, int64_t generated,
             const std::vector<int64_t>& end_of_text, const GenerateOptions& options) {
  penalize_repetition(scores, ids, options.repetition_penalty);
  forbid_repeated_ngrams(scores, ids, options.no_repeat_ngram_size);
  if (generated < options.min_new_tokens) forbid(scores, end_of_text);
}

GeneratedToken describe_token(std::span<const float> scores, int64_t id, int64_t alternatives) {
  GeneratedToken token;
  token.id = id;
  const double all = log_sum_exp(scores);
  token.logprob = scores[static_cast<size_t>(id)] - all;
  if (alternatives <= 0) return token;
  std::vector<int64_t> order(scores.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  const auto count = std::min(order.size(), static_cast<size_t>(alternatives));
  std::partial_sort(order.begin(), order.begin() + static_cast<long>(count), order.end(),
                    [&](int64_t a, int64_t b) {
                      const float x = scores[static_cast<size_t>(a)],
                                  y = scores[static_cast<size_t>(b)];
                      return x > y || (x == y && a < b);
                    });
  for (size_t i = 0; i < count; ++i)
    token.top.emplace_back(order[i], scores[static_cast<size_t>(order[i])] - all);
  return token;
}

int64_t room_for(const models::Decoder& decoder, const Prompt& prompt,
                 const GenerateOptions& options) {
  const int64_t used = static_cast<int64_t>(prompt.ids.size()) +
                       (prompt.prefix.defined() ? prompt.prefix.size(0) : 0);
  require(used > 0, kUnit, "expected a prompt of at least one token");
  if (used >= decoder.max_length()) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected a prompt of fewer than " + std::to_string(decoder.max_length()) +
             " tokens, got " + std::to_string(used));
  }
  return std::min(options.max_new_tokens, decoder.max_length() - used);
}

std::vector<Generation> generate(const models::Decoder& decoder, const Prompt& prompt,
                                 const GenerateOptions& options, const OnToken& on_token,
                                 std::stop_token cancel) {
  options.validate();
  c10::InferenceMode inference;
  const std::vector<int64_t> end_of_text =
      options.ignore_eos ? std::vector<int64_t>() : prompt.end_of_text;
  if (options.num_beams > 1) {
    auto made = beam_search(decoder, prompt, end_of_text, options, cancel);
    for (const GeneratedToken& token : made.front().tokens) {
      if (on_token && !on_token(token)) break;
    }
    return made;
  }
  const int64_t room = room_for(decoder, prompt, options);
  const int64_t used = static_cast<int64_t>(prompt.ids.size()) +
                       (prompt.prefix.defined() ? prompt.prefix.size(0) : 0);
  // Room for a few hundred tokens at first: most texts end early, and the cache grows by doubling.
  models::KvCache cache = decoder.make_cache(1, used + std::min<int64_t>(room, 256));
  at::Tensor scores = prefill(decoder, prompt, cache);
  std::vector<Generation> made;
  for (int64_t i = 0; i < options.num_return_sequences; ++i) {
    cache.truncate(used);
    // Seeds of neighbouring sequences differ in every bit (Steele et al. 2014, SplitMix64).
    uint64_t seed =
        static_cast<uint64_t>(options.seed) + static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15u;
    seed = (seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9u;
    seed = (seed ^ (seed >> 27)) * 0x94D049BB133111EBu;
    made.push_back(continue_once(decoder, prompt, end_of_text, options, seed ^ (seed >> 31), cache,
                                 scores.clone(), i == 0 ? on_token : OnToken(), cancel));
  }
  return made;
}

}  // namespace plait::runtime
