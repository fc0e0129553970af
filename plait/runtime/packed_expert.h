#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "plait/models/trust/trust_fusion.h"
#include "plait/runtime/vector_loops.h"

namespace plait::runtime {

/// A matrix packed for VectorLoops. Immutable.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// [D, O]: D inputs, O columns.
  explicit PackedMatrix(const at::Tensor& matrix);
  Panels panels() const { return {values_.data(), inputs_, blocks_}; }
  int64_t inputs() const { return inputs_; }
  int64_t columns() const { return columns_; }
  /// Room for what VectorLoops write: columns rounded up to whole blocks.
  int64_t room() const { return blocks_ * Panels::kLanes; }
  int64_t multiply_adds() const { return inputs_ * columns_; }

 private:
  std::vector<float> values_;
  int64_t inputs_ = 0, columns_ = 0, blocks_ = 0;
};

/// Memory that grows to what was needed once and stays.
class Arena {
 public:
  /// Uninitialised; valid until the next `reset`.
  float* take(int64_t count);
  double* take_doubles(int64_t count);
  void reset() { used_ = used_doubles_ = 0; }

 private:
  std::vector<std::vector<float>> parts_;
  std::vector<std::vector<double>> doubles_;
  size_t used_ = 0, used_doubles_ = 0;
};

/// One stream of a TrustFusion in plain loops: expert, density, and what it tells of the others.
/// Immutable, thread-safe.
class PackedExpert {
 public:
  static constexpr int64_t kMostItems = 8;  ///< At once

  /// `weights`: the fusion's state_dict.
  PackedExpert(const models::TrustFusion& fusion, const TensorMap& weights, size_t stream);

  /// Where a record of `size` numbers, what the stream says of an item, keeps them.
  struct Layout {
    int64_t log_probabilities = 0;  ///< K
    int64_t coordinates = 0;        ///< P + 1
    int64_t told = 0;               ///< Coordinates of the other streams, one after the other
    int64_t alone = 0;              ///< Log density of the coordinates
    int64_t p_value = 0, unusual = 0, excess = 0;
    int64_t size = 0;
  };
  const Layout& layout() const { return layout_; }
  int64_t width() const { return static_cast<int64_t>(mean_.size()); }
  int64_t multiply_adds() const;

  /// x[i] [D] of `items` items, at most kMostItems → records[i].
  /// @throws Error kInvalidArgument for features that are not numbers.
  void look(const VectorLoops& loops, const float* const* x, int64_t items, float* const* records,
            Arena& arena) const;

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
