#pragma once
#include "plait/core/json.h"
#include "plait/models/layers/module.h"

namespace plait::models {

/// A registered module: made from a JSON config, called with named tensors. One test suite walks
/// the registry with this interface, so every model keeps to it; callers inside the house use the
/// typed interfaces below.
class Model : public Module {
 public:
  /// @throws Error kInvalidArgument for a missing input or a wrong shape.
  virtual TensorMap forward(const TensorMap& inputs) = 0;
  /// The config that makes this model again, without "type".
  virtual Json config() const = 0;
};

}  // namespace plait::models
