#pragma once
#include <memory>
#include <string>

#include "plait/core/config.h"
#include "plait/models/layers/layers.h"
#include "plait/models/model.h"

namespace plait::models {

class VariancePredictor;

/// How long, how high and how loud each symbol is to be spoken: the variance predictors of
/// FastSpeech 2 (Ren et al. 2020, https://arxiv.org/abs/2006.04558) on an embedding of the symbols.
/// forward takes input_ids [B, T] and attention_mask [B, T] (optional, real symbols first) and
/// gives log_duration (of 1 + frames), pitch and energy (both in the training voice's own mean and
/// spread), each [B, T] and 0 at padding. Names of the predictors' weights as in transformers'
/// FastSpeech2ConformerVariancePredictor.
class ProsodyPredictor : public Model {
 public:
  struct Config {
    int64_t vocab_size = 256;
    int64_t hidden_size = 128;
    int64_t num_layers = 3;
    int64_t num_chans = 128;
    int64_t kernel_size = 5;
    double dropout = 0.2;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit ProsodyPredictor(Config config);
  TensorMap forward(const TensorMap& inputs) override;
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
  std::shared_ptr<Embedding> embed_;
  std::shared_ptr<VariancePredictor> duration_, pitch_, energy_;
};

}  // namespace plait::models
