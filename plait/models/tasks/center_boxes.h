#pragma once
#include <ATen/core/Tensor.h>

namespace plait::models {

/// What a detector proposes for one picture, best first.
struct BoxCandidates {
  at::Tensor boxes;    ///< float32 [K, 4]: x1, y1, x2, y2 in the network's input
  at::Tensor scores;   ///< float32 [K]
  at::Tensor classes;  ///< int64 [K]
};

/// The boxes of a CenterNet (Zhou, Wang and Krähenbühl, "Objects as Points", 2019, arXiv
/// 1904.07850): `heat` [H, W, C] holds the probability that a class has a centre in a cell, `sides`
/// [H, W, 4] how far its box reaches to the left, top, right and bottom of the cell's corner, in
/// pixels of the input, where a cell has `stride` of them. Cells below a neighbour of their class
/// are left out, and what is not above `min_score`; at most `limit` remain.
/// @throws Error kInvalidArgument when the maps do not fit each other.
BoxCandidates decode_centers(const at::Tensor& heat, const at::Tensor& sides, int64_t stride,
                             double min_score, int64_t limit = 100);

}  // namespace plait::models
