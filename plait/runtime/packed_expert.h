#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "plait/models/trust/trust_fusion.h"
#include "plait/runtime/packed_matrix.h"

namespace plait::runtime {

/// One stream of a TrustFusion in plain loops: expert, density, and what it tells of the others.
/// Immutable, thread-safe.
class PackedExpert {
 public:
  static constexpr int64_t kMostItems = 8;  ///< At once

  /// `weights`: the fusion's state_dict; `token`: how many numbers a joint expert keeps of it.
  PackedExpert(const models::TrustFusion& fusion, const TensorMap& weights, size_t stream,
               int64_t token = 0);

  /// Where a record of `size` numbers, what the stream says of an item, keeps them.
  struct Layout {
    int64_t log_probabilities = 0;  ///< K
    int64_t coordinates = 0;        ///< P + 1
    int64_t told = 0;               ///< Coordinates of the other streams, one after the other
    int64_t alone = 0;              ///< Log density of the coordinates
    int64_t p_value = 0, unusual = 0, excess = 0;
    int64_t token = 0;  ///< Of the joint expert, which writes it: none without one
    int64_t size = 0;
  };
  const Layout& layout() const { return layout_; }
  int64_t width() const { return static_cast<int64_t>(mean_.size()); }
  int64_t multiply_adds() const;

  /// x[i] [D] of `items` items, at most kMostItems → records[i], their tokens excepted. Returns
  /// [items, D], the features standardised and bounded, in the arena.
  /// @throws Error kInvalidArgument for features that are not numbers.
  const float* look(const VectorLoops& loops, const float* const* x, int64_t items,
                    float* const* records, Arena& arena) const;

 private:
  void standardise(const float* x, float* near, float* far) const;
  void look_at_density(const VectorLoops& loops, const float* far, int64_t items,
                       float* const* records, Arena& arena) const;
  void ask_network(const VectorLoops& loops, const float* near, int64_t items, float* logits,
                   int64_t stride, Arena& arena) const;
  void ask_radial(const VectorLoops& loops, const float* near, int64_t items, float* logits,
                  int64_t stride, float* const* records, Arena& arena) const;

  std::string name_;
  int64_t classes_ = 0;
  Layout layout_;
  std::vector<float> mean_, deviation_;
  // The network.
  PackedMatrix hidden_, output_;
  std::vector<float> hidden_bias_, output_bias_;
  float temperature_ = 1;
  // The regression; no landmarks: the network alone.
  PackedMatrix landmarks_, radial_, teller_;  ///< Weights of the classes, of what is told
  std::vector<float> radial_mean_, frequency_;
  float gamma_ = 1, radial_temperature_ = 1, share_ = 1;
  // The density.
  PackedMatrix components_, whitening_, class_means_;
  std::vector<float> center_, scale_, reference_;
  float log_volume_ = 0, median_ = 1, limit_ = 1;
};

}  // namespace plait::runtime
