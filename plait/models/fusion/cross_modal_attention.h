#pragma once
#include "plait/core/config.h"
#include "plait/models/layers/layers.h"
#include "plait/models/model.h"

namespace plait::models {

/// Cross-modal attention as a layer of its own: text tokens ask, image tokens answer.
/// softmax(q(text) k(image)ᵀ/√d) v(image), projected: text [B, T, Dt], image [B, N, Di] → [B, T,
/// embed_dim].
class CrossModalAttention : public Model {
 public:
  struct Config {
    int64_t text_dim = 512;
    int64_t image_dim = 512;
    int64_t embed_dim = 512;
    int64_t num_heads = 8;
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };
  explicit CrossModalAttention(const Config& config);
  /// `image_mask` [B, N]: true for real image tokens, undefined when all are. What stands under the
  /// mask has no effect, and an item without any image token gives zeros.
  at::Tensor operator()(const at::Tensor& text, const at::Tensor& image,
                        const at::Tensor& image_mask = {}) const;
  /// Inputs text, image and, optionally, image_mask → output.
  TensorMap forward(const TensorMap& inputs) override;
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
  std::shared_ptr<Linear> q_proj_, k_proj_, v_proj_, out_proj_;
};

}  // namespace plait::models
