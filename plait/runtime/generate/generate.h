#pragma once
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "plait/models/decoders/decoder.h"
#include "plait/runtime/generate/options.h"

namespace plait::runtime {

/// What may come next. One object follows one text.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  /// Sets the scores of tokens that may not come next to -infinity; end-of-text tokens may come
  /// only where the text may end.
  virtual void mask(std::span<float> scores) = 0;
  /// The next token was chosen. @throws Error kInvalidArgument when it may not come.
  virtual void accept(int64_t token) = 0;
  /// Nothing may follow.
  virtual bool finished() const = 0;
  virtual std::unique_ptr<TokenConstraint> clone() const = 0;
};

/// What is continued. Without ids, a prefix is needed.
struct Prompt {
  std::vector<int64_t> ids;
  at::Tensor prefix;                 ///< Embeddings in front [P, D]; undefined: none
  at::Tensor embeddings;             ///< Of `ids` [T, D], where they are not the decoder's own
  at::Tensor encoder_hidden_states;  ///< For cross-attention [S, E]; undefined: none
  std::vector<int64_t> end_of_text;  ///< Tokens that end the text
  std::shared_ptr<const TokenConstraint> constraint;  ///< In its first state; null: none
};

/// Called with each token as it is chosen (not the one that ends the text); false cancels.
using OnToken = std::function<bool(const GeneratedToken&)>;

/// Continues a prompt with a key/value cache: greedy, sampled, or by beam search; as many
/// continuations as asked for, best first. Sampling is the same for the same seed on the same
/// machine. `on_token` is called while the text is made, for beam search after the search, and only
/// for the first continuation. Thread-safe for a decoder in eval mode.
/// @throws Error kInvalidArgument for options or a prompt that cannot be.
std::vector<Generation> generate(const models::Decoder& decoder, const Prompt& prompt,
                                 const GenerateOptions& options, const OnToken& on_token = {},
                                 std::stop_token cancel = {});

/// Continues several prompts of any lengths at once, by one pass over all of them for each token:
/// the first continuation that `generate` gives for each alone (up to rounding: where two words
/// score the same to the last digits, the other may be taken). @throws Error as `generate` does,
/// and kInvalidArgument for more than one sequence a prompt.
std::vector<Generation> generate_batch(const models::Decoder& decoder,
                                       std::span<const Prompt> prompts,
                                       const GenerateOptions& options, std::stop_token cancel = {});

}  // namespace plait::runtime
