#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace plait::models {

/// The statistics behind text_quality, made by tools/quality_text_model.py.
class TextModel {
 public:
  /// Decoded on first use.
  static const TextModel& get();

  /// Share of words, 0 to 1, that seem to have been moved or to lack their neighbours: the small
  /// network of tools/quality_order_net.py. `words` are English words and signs as they stand in
  /// the text, at least one.
  double disorder(const std::vector<std::string>& words) const;
  /// Whether a lower-case word is known (a Bloom filter: of unknown words about 1 in 100 passes).
  bool known(std::string_view word) const;
  /// Mean −log P(letter | two before) of a lower-case word, nats.
  double spelling(std::string_view word) const;
  /// Whether two Chinese characters are often neighbours.
  bool known_pair(std::string_view pair) const;

 private:
  TextModel();
  size_t symbol(std::string_view word) const;
  bool contains(const std::vector<uint8_t>& bloom, std::string_view item) const;

  uint32_t hashes_ = 0, dimensions_ = 0, side_ = 0, hidden_ = 0, pooled_ = 0;
  std::unordered_map<std::string, uint32_t> vocabulary_;
  /// Weights of the network, outputs first: [symbols, D], [H, 2 side D], [H], [P, H], [P], [P],
  /// [1].
  std::vector<float> embedding_, hidden_weight_, hidden_bias_, pooled_weight_, pooled_bias_,
      share_weight_, share_bias_;
  std::vector<uint8_t> letters_, words_, pairs_;
};

}  // namespace plait::models
