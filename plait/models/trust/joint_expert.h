#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "plait/models/fusion/streams.h"
#include "plait/models/layers/layers.h"
#include "plait/models/trust/value_grid.h"

namespace plait::models {

/// What streams say together that none says alone (a temperature means nothing without the load):
/// one token per stream, a small network of its standardised features, and two Transformer layers
/// over the tokens of the streams that are heard and one that gathers the answer. Thread-safe in
/// eval mode.
class JointExpert : public Module {
 public:
  struct Shape {
    std::vector<int64_t> widths;  ///< Of each stream's features
    int64_t width = 0;            ///< Of the tokens; a multiple of kHeads
    int64_t classes = 0, questions = 1;
    std::shared_ptr<const ValueGrid> grid = nullptr;  ///< Of values: its bins are the classes
  };
  static constexpr int64_t kHeads = 4;
  static constexpr int64_t kLayers = 2;

  explicit JointExpert(const Shape& shape);
  /// features[m] [B, D_m] standardised and bounded, finite in every row → [B, M, D].
  at::Tensor tokens(const std::vector<at::Tensor>& features) const;
  /// tokens [B, M, D], heard [B, M] bool → logits [B, K], not tempered.
  at::Tensor logits(const at::Tensor& tokens, const at::Tensor& heard) const;
  double temperature() const;
  void set_temperature(double value);
  void reset_parameters(at::Generator& generator) override;

 private:
  std::shared_ptr<const ValueGrid> grid_;
  int64_t questions_;
  std::shared_ptr<ModuleList<Linear>> hidden_, output_;
  at::Tensor stream_, answer_, temperature_;
  std::shared_ptr<ModuleList<TransformerLayer>> layers_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> head_;
};

}  // namespace plait::models
