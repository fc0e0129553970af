#pragma once
#include "plait/core/config.h"
#include "plait/models/fusion/streams.h"

namespace plait::models {

/// Modality-aware attention over all streams' tokens: Transformer layers whose attention is
/// softmax(QKᵀ/√d + M)V with M_ij = −β·1[m_i ≠ m_j] + s·log(quality of m_j), on the fused kernel; β
/// per head and the strength s are learned, or set with learn_bias = false. A learned query then
/// reads all tokens (with the quality term alone); `weights` is the share of its attention that
/// each stream received, and fused = norm(readout + Σ w_m f_m). The streams' pooled features are
/// tokens too, so it also works without tokens.
class ModalityAttention : public Fusion {
 public:
  struct Config {
    int64_t streams = 3;
    int64_t width = 256;
    int64_t heads = 8;
    int64_t layers = 1;
    double beta = 0.0;
    double reliability = 1.0;
    bool learn_bias = true;
    double dropout = 0.1;
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };
  explicit ModalityAttention(const Config& config);
  FusionOutput fuse(const FusionInput& in) override;
  bool needs_tokens() const override { return true; }
  Json config() const override { return write_config(config_); }
  void reset_parameters(at::Generator& generator) override;

 private:
  Config config_;
  at::Tensor beta_, reliability_, query_;
  std::shared_ptr<Embedding> stream_;
  std::shared_ptr<ModuleList<TransformerLayer>> layers_;
  std::shared_ptr<LayerNorm> token_norm_, norm_;
  std::shared_ptr<MultiheadAttention> readout_;
};

}  // namespace plait::models
