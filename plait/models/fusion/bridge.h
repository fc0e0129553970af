#pragma once
#include "plait/core/config.h"
#include "plait/models/fusion/streams.h"

namespace plait::models {

/// Cross-modal attention bridge with a shared latent space: a few learned latents attend to all
/// streams' tokens and then to each other, layer by layer, so the cost grows with latents × tokens
/// and not with tokens². fused is the mean of the latents, normalised and projected; `weights` the
/// share of the last cross-attention that each stream received.
class Bridge : public Fusion {
 public:
  struct Config {
    int64_t streams = 3;
    int64_t width = 256;
    int64_t latents = 8;
    int64_t heads = 8;
    int64_t layers = 2;
    double dropout = 0.1;
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };
  explicit Bridge(const Config& config);
  FusionOutput fuse(const FusionInput& in) override;
  bool needs_tokens() const override { return true; }
  Json config() const override { return write_config(config_); }
  void reset_parameters(at::Generator& generator) override;

 private:
  /// Latents read the tokens (cross-attention), then a Transformer layer among the latents.
  class Layer : public Module {
   public:
    explicit Layer(const Config& config);
    std::shared_ptr<LayerNorm> latent_norm, token_norm;
    std::shared_ptr<MultiheadAttention> cross;
    std::shared_ptr<TransformerLayer> mix;
  };
  Config config_;
  at::Tensor latents_, reliability_;
  std::shared_ptr<Embedding> stream_;
  std::shared_ptr<ModuleList<Layer>> layers_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> output_;
};

}  // namespace plait::models
