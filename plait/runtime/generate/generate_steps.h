#pragma once
#include "plait/runtime/generate/generate.h"

/// What sampling and beam search share.
namespace plait::runtime {

/// Runs the prompt through the decoder; gives the scores of the next token [1, vocabulary] float.
at::Tensor prefill(const models::Decoder& decoder, const Prompt& prompt, models::KvCache& cache);
/// Runs one token of each row; gives the scores of the next [B, vocabulary] float.
at::Tensor step(const models::Decoder& decoder, const std::vector<int64_t>& tokens,
                models::KvCache& cache);
/// Penalties and bans that hold for every way of choosing. `ids`: prompt and text so far, of which
/// `generated` are new.
void process(std::span<float> scores, const std::vector<int64_t>& ids, int64_t generated,
             const std::vector<int64_t>& end_of_text, const GenerateOptions& options);
/// The token with its log-probability and the best alternatives, from the model's own scores.
GeneratedToken describe_token(std::span<const float> scores, int64_t id, int64_t alternatives);
/// New tokens that fit: max_new_tokens, or what the model's longest text leaves.
int64_t room_for(const models::Decoder& decoder, const Prompt& prompt,
                 const GenerateOptions& options);

std::vector<Generation> beam_search(const models::Decoder& decoder, const Prompt& prompt,
                                    const std::vector<int64_t>& end_of_text,
                                    const GenerateOptions& options, std::stop_token cancel);

}  // namespace plait::runtime
