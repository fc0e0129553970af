#include "plait/models/tasks/center_boxes.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::models {
namespace {

/// True when no neighbour of the cell has a higher probability of its class.
bool is_peak(const float* heat, int64_t height, int64_t width, int64_t classes, int64_t index) {
  const int64_t y = index / classes / width, x = index / classes % width;
  for (int64_t v = std::max<int64_t>(y - 1, 0); v <= std::min(y + 1, height - 1); ++v) {
    for (int64_t u = std::max<int64_t>(x - 1, 0); u <= std::min(x + 1, width - 1); ++u) {
      if (heat[(v * width + u) * classes + index % classes] > heat[index]) return false;
    }
  }
  return true;
}

}  // namespace

BoxCandidates decode_centers(const at::Tensor& heat, const at::Tensor& sides, int64_t stride,
                             double min_score, int64_t limit) {
  if (heat.dim() != 3 || sides.dim() != 3 || sides.size(2) != 4 || heat.size(0) != sides.size(0) ||
      heat.size(1) != sides.size(1) || stride < 1 || limit < 0)
    fail(
        ErrorCode::kInvalidArgument, "center_boxes",
        "expected maps [H, W, C] and [H, W, 4], got " + describe(heat) + " and " + describe(sides));
  const at::Tensor map = heat.detach().to(at::kCPU, at::kFloat).contiguous();
  const at::Tensor reach = sides.detach().to(at::kCPU, at::kFloat).contiguous();
  const int64_t height = map.size(0), width = map.size(1), classes = map.size(2);
  const auto* value = map.const_data_ptr<float>();
  // Few cells are above the score, so that it is looked at before the neighbours.
  std::vector<int64_t> peaks;
  for (int64_t i = 0; i < map.numel(); ++i) {
    if (static_cast<double>(value[i]) > min_score && is_peak(value, height, width, classes, i))
      peaks.push_back(i);
  }
  std::stable_sort(peaks.begin(), peaks.end(),
                   [&](int64_t a, int64_t b) { return value[a] > value[b]; });
  if (static_cast<int64_t>(peaks.size()) > limit) peaks.resize(static_cast<size_t>(limit));

  auto count = static_cast<int64_t>(peaks.size());
  BoxCandidates found{at::empty({count, 4}), at::empty({count}), at::empty({count}, at::kLong)};
  auto* box = found.boxes.mutable_data_ptr<float>();
  for (size_t i = 0; i < peaks.size(); ++i) {
    const int64_t cell = peaks[i] / classes;
    const auto x = static_cast<float>(cell % width * stride);
    const auto y = static_cast<float>(cell / width * stride);
    const float* side = reach.const_data_ptr<float>() + 4 * cell;
    for (float edge : {x - side[0], y - side[1], x + side[2], y + side[3]}) *box++ = edge;
    found.scores.mutable_data_ptr<float>()[i] = value[peaks[i]];
    found.classes.mutable_data_ptr<int64_t>()[i] = peaks[i] % classes;
  }
  return found;
}

}  // namespace plait::models
