#pragma once
#include "plait/core/config.h"
#include "plait/models/fusion/streams.h"

namespace plait::models {

/// Static fusion, the baseline: the streams' features side by side through an MLP. An absent stream
/// is replaced by a learned placeholder. `weights` are the norms of what each present stream adds
/// to the hidden layer, ‖W_m f_m‖, as shares.
class Concatenation : public Fusion {
 public:
  struct Config {
    int64_t streams = 3;
    int64_t width = 256;
    int64_t hidden = 512;
    double dropout = 0.1;
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const {}
  };
  explicit Concatenation(const Config& config);
  FusionOutput fuse(const FusionInput& in) override;
  Json config() const override { return write_config(config_); }
  void reset_parameters(at::Generator& generator) override;

 private:
  Config config_;
  at::Tensor placeholder_;  // [M, D]
  std::shared_ptr<Linear> input_, output_;
  std::shared_ptr<Dropout> dropout_;
};

}  // namespace plait::models
