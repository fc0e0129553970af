#pragma once
#include <memory>
#include <string>

#include "plait/core/config.h"
#include "plait/models/decoders/decoder.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

/// A language model that sees or hears: an encoder's tokens, projected to the decoder's width, take
/// the places of placeholder tokens in the text. With an image encoder and two projection layers
/// this is LLaVA (Liu et al. 2023, https://arxiv.org/abs/2304.08485; 1.5: 2310.03744), with
/// Whisper's encoder, its tokens averaged in pairs, and one layer Qwen2-Audio (Chu et al. 2024,
/// https://arxiv.org/abs/2407.10759). Weights are named encoder.*, projector.* and decoder.*.
class MultimodalLm : public Model {
 public:
  struct Config {
    Json encoder;             ///< {"type": registry name, ...}
    Json decoder;             ///< Likewise
    int64_t skip_tokens = 0;  ///< Of the encoder's, from the first on: ViT's class token
    int64_t grid = 0;  ///< Mean of a square map's tokens in grid · grid fields; 0: as they are
    std::string projector = "mlp";
    std::string projector_act = "gelu";
    bool projector_bias = true;
    int64_t placeholder = 32000;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit MultimodalLm(Config config);
  /// The same around an encoder and a decoder that are there.
  MultimodalLm(Config config, std::shared_ptr<Encoder> encoder, std::shared_ptr<Decoder> decoder);
  Json config() const override { return write_config(config_); }

  /// input_ids [B, T] int64 with a placeholder for every token of the encoder, attention_mask
  /// [B, T] (optional), and the encoder's inputs: pixel_values [N, 3, H, W], or input_features
  /// [N, mels, frames] with feature_attention_mask [N, frames]; the N items in the order of their
  /// placeholders. Without the encoder's inputs the text stands alone. Gives last_hidden_state
  /// [B, T, D], logits [B, T, vocabulary], and the mask where one was given.
  TensorMap forward(const TensorMap& inputs) override;

  /// The projected tokens of each of N items: [N, P, D], with their mask in `mask` (undefined: all
  /// are real). Takes the encoder's inputs by the names of `forward`, and ignores others.
  struct Features {
    at::Tensor tokens, mask;
    /// The real ones of all items, one after the other [M, D].
    at::Tensor flat() const;
  };
  Features features(const TensorMap& inputs) const;
  /// What `features` projects: the encoder's tokens without those skipped, in their fields.
  Features encode(const TensorMap& inputs) const;
  /// Such tokens [N, P, E] → [N, P, D].
  at::Tensor project(const at::Tensor& tokens) const;
  /// Embeddings of ids [B, T] with `features` [M, D] in the places of the placeholders; undefined:
  /// none. @throws Error kInvalidArgument unless there are M placeholders.
  at::Tensor embed(const at::Tensor& ids, const at::Tensor& features) const;

  const std::shared_ptr<Encoder>& encoder() const { return encoder_; }
  const std::shared_ptr<Decoder>& decoder() const { return decoder_; }
  int64_t placeholder() const { return config_.placeholder; }

 private:
  class Projector;
  Config config_;
  std::shared_ptr<Encoder> encoder_;
  std::shared_ptr<Projector> projector_;
  std::shared_ptr<Decoder> decoder_;
};

}  // namespace plait::models
