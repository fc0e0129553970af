#pragma once
#include <memory>
#include <string>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

class BertEmbeddings;
class BertLayers;
class BertMaskedLanguageHead;
class BertPooler;

/// BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) and the sentence encoders of its
/// shape (MiniLM, E5): bidirectional Transformer with learned positions and normalisation after
/// each residual. Weight names are those of transformers' BertModel; the masked-language head's are
/// those of BertForMaskedLM ("cls.predictions…"). Inputs: input_ids [B, T], attention_mask [B, T]
/// (optional), token_type_ids [B, T] (optional).
class Bert : public Encoder {
 public:
  struct Config {
    int64_t vocab_size = 30522;
    int64_t hidden_size = 384;
    int64_t num_hidden_layers = 6;
    int64_t num_attention_heads = 12;
    int64_t intermediate_size = 1536;
    std::string hidden_act = "gelu";
    double hidden_dropout_prob = 0.1;
    int64_t max_position_embeddings = 512;
    int64_t type_vocab_size = 2;
    double layer_norm_eps = 1e-12;
    int64_t pad_token_id = 0;
    std::string pooling = "mean";
    bool normalize = false;
    bool masked_language_head = false;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit Bert(Config config);
  EncoderOutput encode(const TensorMap& inputs) override;
  /// last_hidden_state, pooled, mask and, with a masked-language head, logits [B, T, vocabulary].
  TensorMap forward(const TensorMap& inputs) override;
  /// Scores of each word at each token; needs `masked_language_head`. tokens [B, T, D] → [B, T,
  /// vocabulary].
  at::Tensor word_logits(const at::Tensor& tokens) const;
  Modality modality() const override { return Modality::kText; }
  int64_t width() const override { return config_.hidden_size; }
  Json config() const override { return write_config(config_); }

 protected:
  enum class Positions { kFromZero, kAfterPadding };
  Bert(Config config, Positions positions);

 private:
  Config config_;
  Positions positions_;
  std::shared_ptr<BertEmbeddings> embeddings_;
  std::shared_ptr<BertLayers> encoder_;
  std::shared_ptr<BertPooler> pooler_;
  std::shared_ptr<BertMaskedLanguageHead> head_;
};

/// XLM-RoBERTa (Conneau et al. 2020, https://arxiv.org/abs/1911.02116): BERT whose positions count
/// the real tokens from pad_token_id + 1. Weight names of transformers' XLMRobertaModel; the head
/// keeps BertForMaskedLM's names.
class XlmRoberta : public Bert {
 public:
  struct Config : Bert::Config {
    Config();
    static Config tiny();
    void validate() const;
  };
  explicit XlmRoberta(const Config& config);
};

}  // namespace plait::models
