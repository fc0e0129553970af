#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "plait/core/sample.h"

namespace plait::train {

/// Hides each present stream of each item with probability `of(stream)`, but never the last one:
/// when all would go, one of the present streams stays, drawn evenly or in proportion to
/// `staying(stream)`. The draw for an item follows from (seed, index) alone. `indices` are the
/// items' numbers, one per row. The batch's own presence and quality tensors are replaced, not
/// written.
void drop_modalities(Batch& batch, const std::vector<int64_t>& indices, uint64_t seed,
                     const std::function<double(const std::string&)>& of,
                     const std::function<double(const std::string&)>& staying = {});

}  // namespace plait::train
