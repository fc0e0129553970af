#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/runtime/generate/generate_steps.h"
#include "plait/runtime/generate/writer.h"

// Prompts of different lengths side by side: padded on the left, so that every row's next token
// stands in the same column, and taken out of the cache when their text ends.
namespace plait::runtime {
namespace {

constexpr const char* kUnit = "generate";

int64_t length_of(const Prompt& prompt) {
  return static_cast<int64_t>(prompt.ids.size()) +
         (prompt.prefix.defined() ? prompt.prefix.size(0) : 0);
}

/// What the decoder is to see of one prompt, [P + T, D].
at::Tensor embeddings_of(const models::Decoder& decoder, const Prompt& prompt) {
  std::vector<at::Tensor> parts;
  if (prompt.prefix.defined()) parts.push_back(prompt.prefix.to(decoder.device()));
  if (prompt.embeddings.defined()) {
    parts.push_back(prompt.embeddings.to(decoder.device()));
  } else if (!prompt.ids.empty()) {
    parts.push_back(
        decoder.embed(at::tensor(prompt.ids, at::kLong).unsqueeze(0).to(decoder.device()))[0]);
  }
  for (at::Tensor& part : parts) {
    require(part.dim() == 2 && part.size(1) == decoder.width(), kUnit,
            "expected embeddings [P, width of the decoder]");
    part = part.to(parts.back().scalar_type());
  }
  return at::cat(parts);
}

at::Tensor prefill_all(const models::Decoder& decoder, std::span<const Prompt> prompts,
                       int64_t longest, models::KvCache& cache) {
  std::vector<at::Tensor> rows;
  at::Tensor mask = at::ones({static_cast<int64_t>(prompts.size()), longest}, at::kBool);
  for (size_t i = 0; i < prompts.size(); ++i) {
    const int64_t padding = longest - length_of(prompts[i]);
    rows.push_back(at::constant_pad_nd(embeddings_of(decoder, prompts[i]), {0, 0, padding, 0}));
    if (padding > 0) mask[static_cast<int64_t>(i)].narrow(0, 0, padding).fill_(false);
  }
  at::Tensor hidden = decoder.hidden_states(
      {{"inputs_embeds", at::stack(rows)}, {"attention_mask", mask.to(decoder.device())}}, &cache);
  return decoder.word_logits(hidden.select(1, longest - 1)).to(at::kCPU, at::kFloat).contiguous();
}

std::vector<Generation> one_by_one(const models::Decoder& decoder, std::span<const Prompt> prompts,
                                   const GenerateOptions& options, std::stop_token cancel) {
  std::vector<Generation> out;
  for (const Prompt& prompt : prompts)
    out.push_back(std::move(generate(decoder, prompt, options, {}, cancel).front()));
  return out;
}

}  // namespace

std::vector<Generation> generate_batch(const models::Decoder& decoder,
                                       std::span<const Prompt> prompts,
                                       const GenerateOptions& options, std::stop_token cancel) {
  options.validate();
  require(options.num_return_sequences == 1, kUnit, "expected one sequence for each prompt");
  int64_t longest = 0, most = 0;
  bool plain = prompts.size() > 1 && options.num_beams == 1;
  for (const Prompt& prompt : prompts) {
    plain = plain && !prompt.encoder_hidden_states.defined();
    longest = std::max(longest, length_of(prompt));
    most = std::max(most, room_for(decoder, prompt, options));
  }
  // Beside a longer prompt a shorter one would have less room than it has alone.
  if (!plain || longest + most > decoder.max_length())
    return one_by_one(decoder, prompts, options, cancel);

  c10::InferenceMode inference;
  std::vector<Writer> writers;
  for (const Prompt& prompt : prompts) {
    writers.emplace_back(prompt, options.ignore_eos ? std::vector<int64_t>() : prompt.end_of_text,
                         options, sequence_seed(options, 0), room_for(decoder, prompt, options));
  }
  models::KvCache cache = decoder.make_cache(static_cast<int64_t>(prompts.size()),
                                             longest + std::min<int64_t>(most, 256));
  at::Tensor scores = prefill_all(decoder, prompts, longest, cache);
  std::vector<size_t> rows(prompts.size());  // which prompt each row of the cache belongs to
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = i;
  while (true) {
    std::vector<int64_t> tokens, kept;
    std::vector<size_t> going;
    for (size_t r = 0; r < rows.size(); ++r) {
      Writer& writer = writers[rows[r]];
      if (cancel.stop_requested()) writer.cancel();
      if (writer.ended()) continue;
      float* row = scores.mutable_data_ptr<float>() + static_cast<int64_t>(r) * scores.size(1);
      const auto id = writer.choose({row, static_cast<size_t>(scores.size(1))}, {});
      if (!id) continue;
      tokens.push_back(*id);
      kept.push_back(static_cast<int64_t>(r));
      going.push_back(rows[r]);
    }
    if (going.empty()) break;
    if (going.size() < rows.size()) cache.select(at::tensor(kept, at::kLong).to(decoder.device()));
    rows = std::move(going);
    scores = step(decoder, tokens, cache);
  }
  std::vector<Generation> out;
  for (Writer& writer : writers) out.push_back(writer.take());
  return out;
}

}  // namespace plait::runtime
