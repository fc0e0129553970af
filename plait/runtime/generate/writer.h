#pragma once
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "plait/runtime/generate/generate.h"

namespace plait::runtime {

/// One text as it is written, token by token, from the decoder's scores; beam search apart. Not
/// thread-safe.
class Writer {
 public:
  /// `room`: most tokens to write. `options` must outlive the writer.
  Writer(const Prompt& prompt, std::vector<int64_t> end_of_text, const GenerateOptions& options,
         uint64_t seed, int64_t room);

  /// Chooses the next token by the scores of all words (changed on the way). No value: the text
  /// has ended, and `take` says how.
  std::optional<int64_t> choose(std::span<float> scores, const OnToken& on_token);
  void cancel();
  bool ended() const { return ended_; }
  Generation take() { return std::move(made_); }

 private:
  void end(Finish finish);

  const GenerateOptions& options_;
  std::vector<int64_t> ids_, end_of_text_;
  std::unique_ptr<TokenConstraint> constraint_;
  std::mt19937_64 generator_;
  int64_t room_;
  bool ended_ = false;
  std::vector<float> own_;
  Generation made_;
};

/// The seed of sequence `i` of a call, different in every bit from its neighbours' (Steele et al.
/// 2014, SplitMix64).
uint64_t sequence_seed(const GenerateOptions& options, int64_t i);

}  // namespace plait::runtime
