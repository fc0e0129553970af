#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait::train {

/// "image+text": the present streams in the order of `names`, joined. `present` [M] bool.
std::string subset_name(const at::Tensor& present, const std::vector<std::string>& names);

/// Temperature T > 0 that minimises the mean negative log likelihood of softmax(logits / T): convex
/// in 1 / T, found by golden-section search on ln T in [ln 0.05, ln 20] to 1e-6. `logits` [N, K],
/// `target` [N] int64 (negative: not counted).
/// @throws Error kInvalidArgument for shapes, values that are not finite, or no counted item.
double fit_temperature(const at::Tensor& logits, const at::Tensor& target);

struct CalibrationOptions {
  int64_t min_items =
      50;  ///< A subset with fewer items takes the temperature of all items together.
};

/// One temperature per subset of present streams (Guo et al. 2017; EVIDENCE a_S). `present` [N, M]
/// bool.
/// @return {"subsets": {"image+text": {"temperature", "n", "nll_before", "nll_after", "pooled"}},
/// "default", "n"}
Json calibrate(const at::Tensor& logits, const at::Tensor& target, const at::Tensor& present,
               const std::vector<std::string>& names, const CalibrationOptions& options = {});

/// The temperature of each row [N] float32: its subset's, else the default, else 1.
/// @throws Error kCorruptData for a temperature that is not a positive number.
at::Tensor temperatures(const Json& calibration, const at::Tensor& present,
                        const std::vector<std::string>& names);

/// logits / temperature by row.
at::Tensor apply_calibration(const Json& calibration, const at::Tensor& logits,
                             const at::Tensor& present, const std::vector<std::string>& names);

}  // namespace plait::train
