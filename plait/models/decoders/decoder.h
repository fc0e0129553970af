#pragma once
#include "plait/models/decoders/kv_cache.h"
#include "plait/models/model.h"

namespace plait::models {

/// A model that scores the next token of a text. Inputs by name, for the tokens of this call:
/// input_ids [B, T] int64; inputs_embeds [B, P, D]: embeddings in front of the tokens (a picture's
/// or a sound's, projected to width D), or instead of them; attention_mask [B, P + T], 1 = real,
/// padding left or right; encoder_hidden_states [B, S, E] and encoder_attention_mask [B, S] for
/// decoders with cross-attention.
class Decoder : public Model {
 public:
  /// last_hidden_state [B, P + T, D], logits [B, P + T, vocabulary], and the mask where one was
  /// given.
  TensorMap forward(const TensorMap& inputs) override;
  /// The last layer's tokens, normalised [B, P + T, D], zero at padding. With a cache, what it
  /// holds comes before, and is added to. @throws Error kInvalidArgument for wrong shapes, ids
  /// outside of the vocabulary, or more tokens than max_length.
  virtual at::Tensor hidden_states(const TensorMap& inputs, KvCache* cache = nullptr) const = 0;
  /// Scores of every word: [..., D] → [..., vocabulary].
  virtual at::Tensor word_logits(const at::Tensor& hidden) const = 0;
  /// An empty cache for `batch` rows, with room for `capacity` tokens (it grows when needed).
  virtual KvCache make_cache(int64_t batch, int64_t capacity) const = 0;
  /// Embeddings of ids [B, T] → [B, T, D].
  virtual at::Tensor embed(const at::Tensor& ids) const = 0;

  virtual at::Device device() const = 0;
  virtual int64_t vocab_size() const = 0;
  virtual int64_t width() const = 0;
  /// Tokens of the longest text.
  virtual int64_t max_length() const = 0;
};

}  // namespace plait::models
