#include "plait/models/detection/simota.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/models/tasks/boxes.h"

namespace plait::models {
namespace {

constexpr double kRadius = 1.5;  // strides
constexpr double kOverlapCost = 3.0;
constexpr double kOutside = 1e6;
constexpr int64_t kBest = 10;
constexpr double kBoxWeight = 5.0;

/// [G, A] bool: the cell's centre is near the object's.
at::Tensor near(const at::Tensor& cells, const at::Tensor& boxes) {
  at::Tensor centre = (boxes.slice(1, 0, 2) + boxes.slice(1, 2)) * 0.5;
  at::Tensor away = (cells.slice(1, 0, 2).unsqueeze(0) - centre.unsqueeze(1)).abs();
  return (away < kRadius * cells.slice(1, 2).unsqueeze(0)).all(2);
}

at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& target) {
  return at::binary_cross_entropy_with_logits(logits, target, {}, {}, at::Reduction::Sum);
}

}  // namespace

Assignment assign_simota(const at::Tensor& all_boxes, const at::Tensor& objectness,
                         const at::Tensor& all_classes, const at::Tensor& cells,
                         const TrueObjects& truth) {
  at::NoGradGuard no_grad;
  const int64_t objects = truth.boxes.size(0);
  auto whole = all_boxes.options().requires_grad(false);
  Assignment none{at::empty({0}, whole.dtype(at::kLong)), at::empty({0}, whole.dtype(at::kLong)),
                  at::empty({0}, whole)};
  if (objects == 0) return none;
  at::Tensor close = near(cells, truth.boxes);
  at::Tensor index = close.any(0).nonzero().squeeze(1);
  const int64_t candidates = index.size(0);
  if (candidates == 0) return none;
  close = close.index_select(1, index);

  // Boxes of a network that diverges overlap with nothing; the loss itself will say so.
  at::Tensor places = at::nan_to_num(all_boxes.index_select(0, index), 0, 1e9, -1e9);
  at::Tensor overlap = box_iou(truth.boxes, places).to(places.options());
  at::Tensor likely = (all_classes.index_select(0, index).sigmoid() *
                       objectness.index_select(0, index).sigmoid().unsqueeze(1))
                          .sqrt();
  // Cross-entropy against a one-hot target: only the object's own class differs from the sum of
  // −log(1 − p). The logarithm is clamped as torch's own is.
  at::Tensor absent = -at::log1p(-likely).clamp_min(-100);
  at::Tensor present = -likely.log().clamp_min(-100);
  at::Tensor own = (present - absent).index_select(1, truth.classes).t();
  at::Tensor cost = absent.sum(1).unsqueeze(0) + own - kOverlapCost * (overlap + 1e-8).log() +
                    kOutside * at::logical_not(close).to(overlap.scalar_type());

  at::Tensor sums = std::get<0>(overlap.topk(std::min(kBest, candidates), 1)).sum(1);
  at::Tensor counts = sums.to(at::kLong).clamp_min(1).cpu();
  at::Tensor match = at::zeros({objects, candidates}, overlap.options().dtype(at::kBool));
  for (int64_t g = 0; g < objects; ++g) {
    const int64_t count = std::min(counts[g].item<int64_t>(), candidates);
    at::Tensor chosen = std::get<1>(cost[g].topk(count, 0, /*largest=*/false));
    match[g].index_fill_(0, chosen, true);
  }
  // A candidate that several objects want goes to the cheapest.
  at::Tensor several = (match.sum(0) > 1).unsqueeze(0);
  at::Tensor cheapest = at::zeros_like(match).scatter_(0, cost.argmin(0, true), true);
  match = at::where(several, cheapest, match);

  at::Tensor taken = match.any(0).nonzero().squeeze(1);
  at::Tensor object = match.index_select(1, taken).to(at::kByte).argmax(0);
  at::Tensor shared = overlap.index_select(1, taken).gather(0, object.unsqueeze(0)).squeeze(0);
  return {index.index_select(0, taken), object, shared};
}

at::Tensor paired_iou(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor low = at::max(a.slice(1, 0, 2), b.slice(1, 0, 2));
  at::Tensor high = at::min(a.slice(1, 2), b.slice(1, 2));
  at::Tensor size = (high - low).clamp_min(0);
  at::Tensor shared = size.select(1, 0) * size.select(1, 1);
  auto area = [](const at::Tensor& box) {
    at::Tensor extent = box.slice(1, 2) - box.slice(1, 0, 2);
    return extent.select(1, 0) * extent.select(1, 1);
  };
  return shared / (area(a) + area(b) - shared + 1e-16);
}

at::Tensor simota_loss(const TensorMap& outputs, const at::Tensor& targets, const char* unit) {
  at::Tensor boxes = get(outputs, "boxes", unit).to(at::kFloat);
  at::Tensor logits = get(outputs, "logits", unit).to(at::kFloat);
  const at::Tensor& cells = get(outputs, "cells", unit);
  const int64_t batch = boxes.size(0), classes = logits.size(2) - 5;
  std::vector<TrueObjects> truth = true_objects(targets, batch, classes, boxes, unit);

  at::Tensor present = at::zeros({batch, boxes.size(1)}, boxes.options().requires_grad(false));
  at::Tensor box_loss = at::zeros({}, present.options()), class_loss = box_loss;
  int64_t assigned = 0;
  for (int64_t i = 0; i < batch; ++i) {
    at::Tensor kinds = logits[i].slice(1, 5);
    Assignment a = assign_simota(boxes[i], logits[i].select(1, 4), kinds, cells[i], truth[i]);
    if (a.candidates.size(0) == 0) continue;
    assigned += a.candidates.size(0);
    present[i].index_fill_(0, a.candidates, 1);
    at::Tensor wanted = truth[i].boxes.index_select(0, a.objects);
    at::Tensor iou = paired_iou(boxes[i].index_select(0, a.candidates), wanted);
    box_loss = box_loss + (1 - iou.square()).sum();
    at::Tensor target =
        at::one_hot(truth[i].classes.index_select(0, a.objects), classes).to(at::kFloat) *
        a.overlap.unsqueeze(1);
    class_loss = class_loss + cross_entropy(kinds.index_select(0, a.candidates), target);
  }
  at::Tensor object_loss = cross_entropy(logits.select(2, 4), present);
  return (kBoxWeight * box_loss + object_loss + class_loss) /
         static_cast<double>(std::max<int64_t>(assigned, 1));
}

}  // namespace plait::models
