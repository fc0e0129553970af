#include "plait/models/tasks/center_boxes.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::models {

BoxCandidates decode_centers(const at::Tensor& heat, const at::Tensor& sides, int64_t stride,
                             double min_score, int64_t limit) {
  if (heat.dim() != 3 || sides.dim() != 3 || sides.size(2) != 4 || heat.size(0) != sides.size(0) ||
      heat.size(1) != sides.size(1) || stride < 1 || limit < 0)
    fail(
        ErrorCode::kInvalidArgument, "center_boxes",
        "expected maps [H, W, C] and [H, W, 4], got " + describe(heat) + " and " + describe(sides));
  at::Tensor planes = heat.permute({2, 0, 1}).unsqueeze(0);
  at::Tensor highest = at::max_pool2d(planes, {3, 3}, {1, 1}, {1, 1});
  at::Tensor peaks = (planes * planes.eq(highest)).squeeze(0).permute({1, 2, 0}).flatten();
  auto [scores, index] = peaks.topk(std::min(limit, peaks.numel()));
  at::Tensor kept = scores.gt(min_score);
  scores = scores.masked_select(kept);
  index = index.masked_select(kept);
  at::Tensor cell = index.div(heat.size(2), "floor");
  at::Tensor column = cell.remainder(heat.size(1)).to(at::kFloat) * stride;
  at::Tensor row = cell.div(heat.size(1), "floor").to(at::kFloat) * stride;
  at::Tensor reach = sides.reshape({-1, 4}).index_select(0, cell).to(at::kFloat);
  at::Tensor boxes = at::stack({column - reach.select(1, 0), row - reach.select(1, 1),
                                column + reach.select(1, 2), row + reach.select(1, 3)},
                               1);
  return {boxes, scores, index.remainder(heat.size(2))};
}

}  // namespace plait::models
