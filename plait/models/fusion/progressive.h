#pragma once
#include "plait/core/config.h"
#include "plait/models/fusion/streams.h"

namespace plait::models {

/// Progressive fusion (the "sandwich"): a Transformer of its own over each stream's tokens, then a
/// cross-modal Transformer over all tokens, then a gated output. With p_m the mean of stream m's
/// tokens, s_m = gate(p_m) + log(quality_m) and w = softmax over present streams of s: fused =
/// norm(Σ w_m · σ(G p_m) ⊙ p_m). `weights` is w.
class Progressive : public Fusion {
 public:
  struct Config {
    int64_t streams = 3;
    int64_t width = 256;
    int64_t heads = 8;
    int64_t stream_layers = 1;
    int64_t cross_layers = 1;
    double dropout = 0.1;
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };
  explicit Progressive(const Config& config);
  FusionOutput fuse(const FusionInput& in) override;
  bool needs_tokens() const override { return true; }
  Json config() const override { return write_config(config_); }

 private:
  using Layers = ModuleList<TransformerLayer>;
  Config config_;
  std::shared_ptr<ModuleList<Layers>> towers_;
  std::shared_ptr<Embedding> stream_;
  std::shared_ptr<Layers> cross_;
  std::shared_ptr<LayerNorm> norm_, output_norm_;
  std::shared_ptr<Linear> score_, gate_;
};

}  // namespace plait::models
