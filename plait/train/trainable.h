#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "plait/core/sample.h"
#include "plait/models/layers/module.h"

namespace plait::train {

/// Named figures of an evaluation ("loss", "accuracy", "ece" ...).
using Scalars = std::map<std::string, double>;

/// Items by index that are collated on demand. Batches of the same indices and seed are equal, bit
/// for bit.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual int64_t size() const = 0;
  /// Row i is item indices[i]. What is random about an item (augmentation, damage) comes from
  /// mix_seed(epoch_seed, index) alone; evaluation passes kEvaluationSeed, for which nothing is
  /// random.
  virtual Batch batch(const std::vector<int64_t>& indices, uint64_t epoch_seed) = 0;
  /// By stream [N] bool: which items have it. By default all batches are made to find out.
  virtual TensorMap presence();
};

/// The seed that asks a source for its items as they are.
constexpr uint64_t kEvaluationSeed = 0;

struct LossOutput {
  at::Tensor loss;  ///< 0-dim, mean over the batch's items
  TensorMap
      scalars;  ///< 0-dim, detached, for the log ("weight/image"); read only when a line is written
};

/// What a Trainer trains.
class Trainable {
 public:
  virtual ~Trainable() = default;
  virtual models::Module& module() = 0;
  /// Training mode on or off; overridden where parts stay frozen.
  virtual void set_training(bool on) { module().train(on); }
  virtual LossOutput loss(const Batch& batch) = 0;
  /// Called in eval mode without gradients; by default the mean loss over the items as "loss".
  virtual Scalars evaluate(BatchSource& source, int64_t batch_size);
};

/// Copies a batch's tensors to a device (shared when they are there already).
Batch to(const Batch& batch, at::Device device);

}  // namespace plait::train
