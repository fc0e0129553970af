#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace plait::train {

/// Frozen features of N items as the trust fusion and its baselines take them. Variant 0 of a
/// stream is clean, further ones are the same items encoded from damaged inputs.
struct TrustData {
  std::vector<std::vector<at::Tensor>> features;  ///< [M][variants] of [N, D_m]
  std::vector<std::vector<at::Tensor>> quality;   ///< [M][variants] of [N]; empty: 1 everywhere
  at::Tensor present;                             ///< [N, M] bool
  at::Tensor target;  ///< [N] int64 classes; [N, Q] of several questions (see questions.h)
  /// [N] int64: items of one group (copies, recordings of one thing) are learnt from together or
  /// not at all; undefined: every item is its own.
  at::Tensor group = {};
  int64_t size() const;
  /// D_m
  std::vector<int64_t> widths() const;
  /// The clean features, [M] of [N, D_m].
  std::vector<at::Tensor> clean() const;
};

/// @throws Error kInvalidArgument, beginning with `what`, for shapes that do not match, no item, a
/// target outside of [0, classes), targets of one question that are not [N], or features that are
/// not finite where present.
void check(const TrustData& data, int64_t classes, const std::string& what);

/// One stream's features for an epoch: clean for half of the items, for the others one of the
/// damaged copies. `variants` of [N, D]; with one alone nothing is drawn.
at::Tensor draw_copies(const std::vector<at::Tensor>& variants, at::Generator& generator);

/// Presence [B, M] with streams hidden by chance, but where none would be left the item keeps all.
at::Tensor hide_streams(const at::Tensor& present, double probability, at::Generator& generator);

}  // namespace plait::train
