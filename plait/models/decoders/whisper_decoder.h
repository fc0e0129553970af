#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/decoders/decoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

class WhisperDecoderLayers;

/// What a decoder with cross-attention reads of encoded sound: keys and values of every layer,
/// [A, heads, S, width of a head]. Computed once per sound; immutable.
using CrossKeys = std::vector<std::pair<at::Tensor, at::Tensor>>;

/// The text decoder of Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356): learned
/// positions, pre-norm Transformer with causal self-attention and attention to the encoder's
/// tokens, output tied to the embedding. Weight names of transformers' WhisperDecoder. forward
/// takes input_ids [B, T] and encoder_hidden_states [B, S, d_model] and gives last_hidden_state
/// [B, T, d_model], logits [B, T, vocabulary] and mask where one was given. Thread-safe in eval
/// mode when each thread has its own cache.
class WhisperDecoder : public Decoder {
 public:
  struct Config {
    int64_t vocab_size = 51865;
    int64_t d_model = 384;
    int64_t decoder_layers = 4;
    int64_t decoder_attention_heads = 6;
    int64_t decoder_ffn_dim = 1536;
    std::string activation_function = "gelu";
    double dropout = 0;
    int64_t max_target_positions = 448;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit WhisperDecoder(Config config);
  Json config() const override { return write_config(config_); }

  at::Tensor hidden_states(const TensorMap& inputs, KvCache* cache = nullptr) const override;
  at::Tensor word_logits(const at::Tensor& hidden) const override;
  KvCache make_cache(int64_t batch, int64_t capacity) const override;
  at::Tensor embed(const at::Tensor& ids) const override;
  int64_t vocab_size() const override { return config_.vocab_size; }
  int64_t width() const override { return config_.d_model; }
  int64_t max_length() const override { return config_.max_target_positions; }
  at::Device device() const override { return words_->weight.device(); }
  int64_t layers() const { return config_.decoder_layers; }
  int64_t heads() const { return config_.decoder_attention_heads; }

  /// Keys and values of the encoder's tokens [A, S, d_model].
  CrossKeys read(const at::Tensor& encoder_tokens) const;
  /// ids [R, T] behind what the cache holds → the last layer's tokens, normalised [R, T, d_model].
  /// Sound of one row serves all R rows without being copied.
  at::Tensor step(const at::Tensor& ids, const CrossKeys& sound, KvCache& cache) const;
  /// How well each token matches each encoder token before the softmax, by (layer, head), for
  /// word times: ids [T] and sound of one row → [heads, T, S]. Also gives the tokens [T, d_model]
  /// of the last layer. @throws Error kInvalidArgument for a layer or head that is not there.
  std::pair<at::Tensor, at::Tensor> alignment(
      const at::Tensor& ids, const CrossKeys& sound,
      const std::vector<std::pair<int64_t, int64_t>>& heads) const;

 private:
  Config config_;
  std::shared_ptr<Embedding> words_, places_;
  std::shared_ptr<Dropout> dropout_;
  std::shared_ptr<WhisperDecoderLayers> layers_;
  std::shared_ptr<LayerNorm> norm_;

  at::Tensor check_encoder(const at::Tensor& tokens) const;
  at::Tensor run(at::Tensor x, const at::Tensor& real, const CrossKeys& sound,
                 const at::Tensor& sound_mask, KvCache* cache,
                 std::vector<at::Tensor>* scores) const;
};

}  // namespace plait::models
