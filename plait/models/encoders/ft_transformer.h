#pragma once
#include <memory>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

class FtBackbone;

/// FT-Transformer (Gorishniy et al. 2021, https://arxiv.org/abs/2106.11959): each field of a table
/// row becomes a token, a pre-norm Transformer with ReGLU mixes them, a token of its own stands for
/// the row. Weight names of FTTransformer in the package rtdl_revisiting_models. Inputs: numeric
/// [B, F], categorical [B, G] int64 (each only when the config has such fields), numeric_mask [B,
/// F] and categorical_mask [B, G] (optional; false: the field is missing and its value, NaN
/// included, does not matter). tokens [B, 1 + F + G, D]: the row's token, then the fields in order.
/// In the last block the reference updates the row's token only; here the fields get their own
/// update too, which the pooled vector does not see.
class FtTransformer : public Encoder {
 public:
  struct Config {
    int64_t numeric_fields = 0;
    std::vector<int64_t> cardinalities = {};
    int64_t hidden_size = 192;
    int64_t num_hidden_layers = 3;
    int64_t num_attention_heads = 8;
    int64_t intermediate_size = 256;
    double dropout = 0.15;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit FtTransformer(Config config);
  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kTable; }
  int64_t width() const override { return config_.hidden_size; }
  Json config() const override { return write_config(config_); }

 private:
  at::Tensor numeric_tokens(const TensorMap& inputs, at::Tensor& mask) const;
  at::Tensor categorical_tokens(const TensorMap& inputs, at::Tensor& mask) const;

  struct Cls;
  struct Numeric;
  struct Categorical;
  Config config_;
  std::shared_ptr<Cls> cls_;
  std::shared_ptr<Numeric> numeric_;
  std::shared_ptr<Categorical> categorical_;
  std::shared_ptr<FtBackbone> backbone_;
};

}  // namespace plait::models
