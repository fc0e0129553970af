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

  /// Class of an English word or sign, as it stands in the text.
  int word_class(std::string_view word) const;
  int begin_class() const { return static_cast<int>(classes_) - 2; }
  int end_class() const { return static_cast<int>(classes_) - 1; }
  /// log P(a, b) / (P(a) P(b)) in nats for neighbours, and for words with one between.
  double near(int a, int b) const { return (near_[a * classes_ + b] - 128) / 16.0; }
  double skip(int a, int b) const { return (skip_[a * classes_ + b] - 128) / 16.0; }
  /// Whether a lower-case word is known (a Bloom filter: of unknown words about 1 in 100 passes).
  bool known(std::string_view word) const;
  /// Mean −log P(letter | two before) of a lower-case word, nats.
  double spelling(std::string_view word) const;
  /// Whether two Chinese characters are often neighbours.
  bool known_pair(std::string_view pair) const;

 private:
  TextModel();
  bool contains(const std::vector<uint8_t>& bloom, std::string_view item) const;

  uint32_t classes_ = 0, first_special_ = 0, hashes_ = 0;
  std::unordered_map<std::string, int> vocabulary_;
  std::vector<uint8_t> near_, skip_, letters_, words_, pairs_;
};

}  // namespace plait::models
