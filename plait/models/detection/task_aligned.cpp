#include "plait/models/detection/task_aligned.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numbers>

#include "plait/models/tasks/boxes.h"

namespace plait::models {
namespace {

constexpr int64_t kBest = 13;
constexpr double kOverlapPower = 6;
constexpr double kBoxWeight = 7.5, kClassWeight = 0.5, kSpreadWeight = 1.5;
constexpr double kTiny = 1e-9;

/// Cross-entropy [P] of logits [P, 4, bins] at distances [P, 4] in strides, mean over the sides.
at::Tensor spread_loss(const at::Tensor& logits, const at::Tensor& distance) {
  const int64_t bins = logits.size(2);
  at::Tensor wanted = distance.clamp(0, static_cast<double>(bins) - 1.01).unsqueeze(2);
  at::Tensor low = wanted.floor();
  at::Tensor share = wanted - low, index = low.to(at::kLong);
  at::Tensor log = logits.log_softmax(2);
  at::Tensor loss = -(log.gather(2, index) * (1 - share) + log.gather(2, index + 1) * share);
  return loss.squeeze(2).mean(1);
}

}  // namespace

AlignedAssignment assign_task_aligned(const at::Tensor& all_boxes, const at::Tensor& all_scores,
                                      const at::Tensor& cells, const TrueObjects& truth) {
  at::NoGradGuard no_grad;
  const int64_t objects = truth.boxes.size(0);
  auto real = all_boxes.options().requires_grad(false), whole = real.dtype(at::kLong);
  AlignedAssignment none{{at::empty({0}, whole), at::empty({0}, whole), at::empty({0}, real)},
                         at::empty({0}, real)};
  if (objects == 0) return none;
  at::Tensor centre = cells.slice(1, 0, 2).unsqueeze(0), box = truth.boxes.unsqueeze(1);
  at::Tensor inside = at::logical_and(centre > box.slice(2, 0, 2), centre < box.slice(2, 2)).all(2);
  at::Tensor index = inside.any(0).nonzero().squeeze(1);
  const int64_t candidates = index.size(0);
  if (candidates == 0) return none;
  inside = inside.index_select(1, index);

  at::Tensor places = at::nan_to_num(all_boxes.index_select(0, index), 0, 1e9, -1e9);
  at::Tensor overlap = box_iou(truth.boxes, places).to(places.options());
  at::Tensor named = all_scores.index_select(0, index).index_select(1, truth.classes).t();
  at::Tensor alignment = named * overlap.pow(kOverlapPower);
  // Where nothing is aligned yet the nearest to nothing still has to be told apart from outside.
  at::Tensor rank = at::where(inside, alignment + kTiny, at::zeros_like(alignment));
  auto [value, place] = rank.topk(std::min(kBest, candidates), 1);
  at::Tensor match = at::zeros_like(inside).scatter_(1, place, value > 0);
  at::Tensor several = (match.sum(0) > 1).unsqueeze(0);
  at::Tensor most = at::zeros_like(match).scatter_(
      0, at::where(match, overlap, at::full_like(overlap, -1)).argmax(0, true), true);
  match = at::where(several, most, match);

  at::Tensor chosen = match.to(overlap.scalar_type());
  at::Tensor best_alignment = (alignment * chosen).amax({1}, true);
  at::Tensor best_overlap = (overlap * chosen).amax({1}, true);
  at::Tensor weight = alignment / (best_alignment + kTiny) * best_overlap;
  at::Tensor taken = match.any(0).nonzero().squeeze(1);
  at::Tensor object = match.index_select(1, taken).to(at::kByte).argmax(0);
  auto of_pair = [&](const at::Tensor& x) {
    return x.index_select(1, taken).gather(0, object.unsqueeze(0)).squeeze(0);
  };
  return {{index.index_select(0, taken), object, of_pair(overlap)}, of_pair(weight)};
}

at::Tensor complete_iou(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor iou = paired_iou(a, b);
  at::Tensor low = at::min(a.slice(1, 0, 2), b.slice(1, 0, 2));
  at::Tensor high = at::max(a.slice(1, 2), b.slice(1, 2));
  at::Tensor diagonal = (high - low).square().sum(1) + kTiny;
  auto middle = [](const at::Tensor& x) { return (x.slice(1, 0, 2) + x.slice(1, 2)) * 0.5; };
  at::Tensor apart = (middle(a) - middle(b)).square().sum(1) / diagonal;
  auto angle = [](const at::Tensor& x) {
    at::Tensor size = x.slice(1, 2) - x.slice(1, 0, 2);
    return at::atan(size.select(1, 0) / (size.select(1, 1) + kTiny));
  };
  at::Tensor shape = 4 / (std::numbers::pi * std::numbers::pi) * (angle(b) - angle(a)).square();
  at::Tensor share = (shape / (1 - iou + shape + kTiny)).detach();
  return iou - apart - share * shape;
}

at::Tensor task_aligned_loss(const TensorMap& outputs, const at::Tensor& targets, int64_t reg_max,
                             const char* unit) {
  at::Tensor boxes = get(outputs, "boxes", unit).to(at::kFloat);
  at::Tensor logits = get(outputs, "logits", unit).to(at::kFloat);
  const at::Tensor& cells = get(outputs, "cells", unit);
  const int64_t batch = boxes.size(0), classes = logits.size(2) - 4 * reg_max;
  std::vector<TrueObjects> truth = true_objects(targets, batch, classes, boxes, unit);

  at::Tensor kinds = logits.slice(2, 4 * reg_max);
  at::Tensor scores = kinds.detach().sigmoid();
  at::Tensor wanted_kinds = at::zeros(kinds.sizes(), kinds.options().requires_grad(false));
  at::Tensor box_loss = at::zeros({}, wanted_kinds.options()), spread = box_loss;
  at::Tensor total = box_loss;
  for (int64_t i = 0; i < batch; ++i) {
    const TrueObjects& here = truth[static_cast<size_t>(i)];
    AlignedAssignment a = assign_task_aligned(boxes[i], scores[i], cells[i], here);
    if (a.weight.size(0) == 0) continue;
    const at::Tensor& index = a.pairs.candidates;
    wanted_kinds[i].index_put_({index, here.classes.index_select(0, a.pairs.objects)}, a.weight);
    at::Tensor wanted = here.boxes.index_select(0, a.pairs.objects);
    at::Tensor iou = complete_iou(boxes[i].index_select(0, index), wanted);
    box_loss = box_loss + ((1 - iou) * a.weight).sum();
    at::Tensor cell = cells[i].index_select(0, index), centre = cell.slice(1, 0, 2);
    at::Tensor distance =
        at::cat({centre - wanted.slice(1, 0, 2), wanted.slice(1, 2) - centre}, 1) /
        cell.slice(1, 2);
    at::Tensor bins =
        logits[i].index_select(0, index).slice(1, 0, 4 * reg_max).reshape({-1, 4, reg_max});
    spread = spread + (spread_loss(bins, distance) * a.weight).sum();
    total = total + a.weight.sum();
  }
  at::Tensor class_loss =
      at::binary_cross_entropy_with_logits(kinds, wanted_kinds, {}, {}, at::Reduction::Sum);
  return (kBoxWeight * box_loss + kClassWeight * class_loss + kSpreadWeight * spread) /
         total.clamp_min(1);
}

}  // namespace plait::models
