#include "plait/runtime/generate/generate.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/runtime/generate/generate_steps.h"
#include "plait/runtime/generate/logit_processors.h"
#include "plait/runtime/generate/writer.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "generate";

std::span<float> row_of(const at::Tensor& scores, int64_t row) {
  return {scores.mutable_data_ptr<float>() + row * scores.size(1),
          static_cast<size_t>(scores.size(1))};
}

/// One continuation, from the scores behind the prompt on.
Generation continue_once(const models::Decoder& decoder, Writer writer, models::KvCache& cache,
                         at::Tensor scores, const OnToken& on_token,
                         const std::stop_token& cancel) {
  while (!writer.ended()) {
    if (cancel.stop_requested()) {
      writer.cancel();
    } else if (auto id = writer.choose(row_of(scores, 0), on_token)) {
      scores = step(decoder, {*id}, cache);
    }
  }
  return writer.take();
}

}  // namespace

at::Tensor prefill(const models::Decoder& decoder, const Prompt& prompt, models::KvCache& cache) {
  TensorMap inputs;
  require(!prompt.prefix.defined() || prompt.prefix.dim() == 2, kUnit, "expected prefix [P, D]");
  std::vector<at::Tensor> embedded;
  if (prompt.prefix.defined()) embedded.push_back(prompt.prefix);
  if (prompt.embeddings.defined()) {
    require(prompt.embeddings.dim() == 2 &&
                prompt.embeddings.size(0) == static_cast<int64_t>(prompt.ids.size()),
            kUnit, "expected an embedding of every id");
    embedded.push_back(prompt.embeddings);
  } else if (!prompt.ids.empty()) {
    inputs["input_ids"] = at::tensor(prompt.ids, at::kLong).unsqueeze(0);
  }
  if (!embedded.empty()) inputs["inputs_embeds"] = at::cat(embedded).unsqueeze(0);
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
    made.push_back(continue_once(
        decoder, Writer(prompt, end_of_text, options, sequence_seed(options, i), room), cache,
        scores.clone(), i == 0 ? on_token : OnToken(), cancel));
  }
  return made;
}

}  // namespace plait::runtime
