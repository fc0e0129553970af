#pragma once
#include "plait/core/config.h"
#include "plait/models/layers/layers.h"
#include "plait/models/tasks/head.h"

namespace plait::models {

/// A projection into a space that several models share: features [B, D] → embedding [B, E] of
/// length 1, with the learned logit_scale (a log) and, for the sigmoid loss, logit_bias, each
/// repeated over the rows [B]. Loss: `target` [B, E] holds the embeddings of the other side, row i
/// belonging to item i; rows with a NaN do not count. "contrastive" is CLIP's symmetric
/// cross-entropy (Radford et al. 2021), "sigmoid" SigLIP's (Zhai et al. 2023).
class Retrieval : public Head {
 public:
  struct Config {
    int64_t width = 256;
    int64_t embedding = 256;
    int64_t hidden = 0;
    std::string objective = "contrastive";
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const {}
  };
  explicit Retrieval(const Config& config);
  TensorMap forward(const TensorMap& inputs) override;
  at::Tensor loss(const TensorMap& outputs, const at::Tensor& target) const override;
  Json config() const override { return write_config(config_); }
  void reset_parameters(at::Generator& generator) override;

 private:
  Config config_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> hidden_, output_;
  at::Tensor logit_scale_, logit_bias_;
};

/// CLIP's loss: the mean of both directions' cross-entropy of exp(logit_scale)·abᵀ, a and b [B, E]
/// of length 1, logit_scale [].
at::Tensor contrastive_loss(const at::Tensor& a, const at::Tensor& b,
                            const at::Tensor& logit_scale);

/// SigLIP's loss: −Σ log σ(±(exp(logit_scale)·abᵀ + logit_bias)) / B, + on the diagonal.
at::Tensor sigmoid_loss(const at::Tensor& a, const at::Tensor& b, const at::Tensor& logit_scale,
                        const at::Tensor& logit_bias);

/// Zero-shot classification: logits [B, K] of embeddings [B, E] over any label embeddings [K, E],
/// which are normalised here; logit_scale [] or [B], a log.
at::Tensor zero_shot_logits(const at::Tensor& embedding, const at::Tensor& label_embeddings,
                            const at::Tensor& logit_scale);

}  // namespace plait::models
