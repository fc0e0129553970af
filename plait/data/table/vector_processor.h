#pragma once
#include "plait/core/config.h"
#include "plait/data/processor.h"

namespace plait::data {

struct VectorProcessorConfig {
  int64_t features = 1;

  void visit(ConfigVisitor& v) {
    v.field("features", features, "Numbers of a row", {.min = 1, .max = 1 << 20});
  }
  static VectorProcessorConfig tiny() { return {.features = 4}; }
  void validate() const {}
};

/// Table rows without named fields, tensors [D] → values [B, D] float32, NaN where a number is
/// missing; rows of items that lack the stream hold zeros. Infinity is an error.
class VectorProcessor : public Processor {
 public:
  explicit VectorProcessor(const VectorProcessorConfig& config) : config_(config) {}
  Modality modality() const override { return Modality::kTable; }
  TensorMap process(const std::vector<const Value*>& values,
                    const std::string& where) const override;
  Json config() const override;
  void save(const std::string&) const override {}

 private:
  VectorProcessorConfig config_;
};

}  // namespace plait::data
