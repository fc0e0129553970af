#pragma once
#include "plait/core/config.h"
#include "plait/models/fusion/streams.h"

namespace plait::models {

/// Fusions of the experts' decisions: logits [B, M, K] → log-probabilities [B, K]. `weights` are
/// equal over the present streams. With `learned_temperature` each expert's logits are divided by
/// exp(log_temperature_m) first.
struct DecisionConfig {
  int64_t streams = 3;
  int64_t width = 256;
  bool learned_temperature = false;
  void visit(ConfigVisitor& v);
  static DecisionConfig tiny();
  void validate() const {}
};

/// The log of the mean over present streams of softmax(logits_m).
class MeanOfExperts : public Fusion {
 public:
  using Config = DecisionConfig;
  explicit MeanOfExperts(const Config& config);
  FusionOutput fuse(const FusionInput& in) override;
  bool fuses_decisions() const override { return true; }
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
  at::Tensor log_temperature_;
};

/// A product of experts. pooling "mean" (tempered): log softmax of the mean over present streams of
/// log p_m; "sum": log softmax of Σ log p_m − (n − 1) log prior for n present streams, which is
/// exact when the streams are independent given the class. The prior is the buffer "log_prior"
/// [classes]; with classes = 0 it is uniform and there is no buffer.
class ProductOfExperts : public Fusion {
 public:
  struct Config : DecisionConfig {
    std::string pooling = "mean";
    int64_t classes = 0;
    void visit(ConfigVisitor& v);
    static Config tiny();
  };
  explicit ProductOfExperts(const Config& config);
  FusionOutput fuse(const FusionInput& in) override;
  bool fuses_decisions() const override { return true; }
  Json config() const override { return write_config(config_); }
  /// Class frequencies [classes] (any positive scale). @throws Error kInvalidArgument for another
  /// shape or a zero.
  void set_prior(const at::Tensor& frequencies);

 private:
  Config config_;
  at::Tensor log_temperature_, log_prior_;
};

}  // namespace plait::models
