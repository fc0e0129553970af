#pragma once
#include "plait/core/config.h"
#include "plait/models/fusion/streams.h"

namespace plait::models {

/// Dynamic modality weighting (DMA): the weights follow the streams' quality scores,
/// w = softmax over present streams of log(quality)/temperature + bias, fused = Σ w_m f_m.
/// Temperature and a bias per stream are learned; at the start the weights are proportional to
/// quality.
class DynamicModalityWeighting : public Fusion {
 public:
  struct Config {
    int64_t streams = 3;
    int64_t width = 256;
    double temperature = 1.0;
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const {}
  };
  explicit DynamicModalityWeighting(const Config& config);
  FusionOutput fuse(const FusionInput& in) override;
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
  at::Tensor log_temperature_, bias_;
};

/// Dynamic routing gate (DRG): an MLP of its own per stream scores the stream's feature
/// (normalised, with the log of its quality and an embedding of the task), a softmax over present
/// streams turns scores into weights, fused = Σ w_m f_m. The MLP starts near zero with a residual
/// of quality_scale · log(quality), so that an untrained gate weighs by quality and leaves that
/// only as far as data ask for it. With entropy_weight > 0 the output carries entropy_weight · (log
/// n_present − H(w)) as auxiliary loss: it is 0 for equal weights and keeps the gate from
/// collapsing onto one stream on small data.
class DynamicRoutingGate : public Fusion {
 public:
  struct Config {
    int64_t streams = 3;
    int64_t width = 256;
    int64_t hidden = 32;
    int64_t tasks = 1;
    double entropy_weight = 0.0;
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const {}
  };
  explicit DynamicRoutingGate(const Config& config);
  FusionOutput fuse(const FusionInput& in) override;
  Json config() const override { return write_config(config_); }
  void reset_parameters(at::Generator& generator) override;
  /// The gate's scores [B, M] before the softmax.
  at::Tensor scores(const Streams& streams, const at::Tensor& task) const;

 private:
  Config config_;
  at::Tensor weight1_, bias1_, weight2_, bias2_, quality_weight_, quality_scale_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Embedding> task_;
};

}  // namespace plait::models
