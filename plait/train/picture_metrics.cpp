#include "plait/train/picture_metrics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "plait/core/error.h"

namespace plait::train {
namespace {

constexpr const char* kUnit = "metrics";
constexpr int kOverlaps = 10;  // 0.5, 0.55 … 0.95
constexpr int kRecalls = 101;
constexpr size_t kBoxes = 100;

using Box = std::array<double, 4>;

double overlap_threshold(int i) { return 0.5 + 0.05 * i; }

double iou(const Box& a, const Box& b) {
  const double width = std::min(a[2], b[2]) - std::max(a[0], b[0]);
  const double height = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  auto area = [](const Box& box) { return (box[2] - box[0]) * (box[3] - box[1]); };
  return width * height / (area(a) + area(b) - width * height);
}

std::vector<Box> boxes_of(const at::Tensor& boxes, const at::Tensor& classes) {
  if (boxes.dim() != 2 || boxes.size(1) != 4 || classes.dim() != 1 ||
      classes.size(0) != boxes.size(0)) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected boxes [N, 4] and classes [N], got " + describe(boxes) + " and " +
             describe(classes));
  }
  at::Tensor plain = boxes.detach().to(at::kCPU, at::kDouble).contiguous();
  require(at::isfinite(plain).all().item<bool>(), kUnit, "expected finite boxes");
  std::vector<Box> out(static_cast<size_t>(plain.size(0)));
  const double* p = plain.const_data_ptr<double>();
  for (size_t i = 0; i < out.size(); ++i) std::copy(p + 4 * i, p + 4 * i + 4, out[i].begin());
  return out;
}

std::vector<int64_t> classes_of(const at::Tensor& classes, size_t count) {
  at::Tensor plain = classes.detach().to(at::kCPU, at::kLong).contiguous();
  const int64_t* p = plain.const_data_ptr<int64_t>();
  std::vector<int64_t> out(p, p + plain.numel());
  for (int64_t c : out)
    require(c >= 0 && c < static_cast<int64_t>(count), kUnit,
            "expected classes from 0 below the number of classes");
  return out;
}

/// Those of one class.
std::vector<size_t> of_class(const std::vector<int64_t>& classes, int64_t kind) {
  std::vector<size_t> out;
  for (size_t i = 0; i < classes.size(); ++i) {
    if (classes[i] == kind) out.push_back(i);
  }
  return out;
}

}  // namespace

AveragePrecision::AveragePrecision(int64_t classes) {
  require(classes >= 1 && classes <= 1000000, kUnit, "expected from 1 to 1,000,000 classes");
  found_.resize(static_cast<size_t>(classes));
  objects_.resize(static_cast<size_t>(classes));
}

void AveragePrecision::add(const models::Detections& found, const models::TrueObjects& truth) {
  const std::vector<Box> boxes = boxes_of(found.boxes, found.classes);
  const std::vector<Box> objects = boxes_of(truth.boxes, truth.classes);
  const std::vector<int64_t> kinds = classes_of(found.classes, objects_.size());
  const std::vector<int64_t> true_kinds = classes_of(truth.classes, objects_.size());
  at::Tensor plain = found.scores.detach().to(at::kCPU, at::kDouble).contiguous();
  require(plain.dim() == 1 && plain.numel() == static_cast<int64_t>(boxes.size()) &&
              at::isfinite(plain).all().item<bool>(),
          kUnit, "expected one finite score for each box");
  const double* scores = plain.const_data_ptr<double>();

  std::vector<int64_t> present = kinds;
  present.insert(present.end(), true_kinds.begin(), true_kinds.end());
  std::sort(present.begin(), present.end());
  present.erase(std::unique(present.begin(), present.end()), present.end());
  for (int64_t kind : present) {
    const std::vector<size_t> real = of_class(true_kinds, kind);
    std::vector<size_t> order = of_class(kinds, kind);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    if (order.size() > kBoxes) order.resize(kBoxes);
    const size_t first = found_[static_cast<size_t>(kind)].size();
    for (size_t i : order) found_[static_cast<size_t>(kind)].push_back({scores[i], 0});
    objects_[static_cast<size_t>(kind)] += static_cast<int64_t>(real.size());
    for (int t = 0; t < kOverlaps; ++t) {
      std::vector<bool> taken(real.size());
      for (size_t d = 0; d < order.size(); ++d) {
        // Among equally good objects the last one, as COCO's own code has it.
        double best = std::min(overlap_threshold(t), 1 - 1e-10);
        size_t match = real.size();
        for (size_t g = 0; g < real.size(); ++g) {
          if (taken[g]) continue;
          const double shared = iou(boxes[order[d]], objects[real[g]]);
          if (shared < best) continue;
          best = shared;
          match = g;
        }
        if (match == real.size()) continue;
        taken[match] = true;
        found_[static_cast<size_t>(kind)][first + d].right |= static_cast<uint16_t>(1U << t);
      }
    }
  }
}

struct AveragePrecision::Curve {
  double precision = 0;  ///< Mean over the recalls.
  double recall = 0;     ///< The highest.
};

AveragePrecision::Curve AveragePrecision::curve(int64_t kind, int threshold) const {
  std::vector<Found> all = found_[static_cast<size_t>(kind)];
  std::stable_sort(all.begin(), all.end(),
                   [](const Found& a, const Found& b) { return a.score > b.score; });
  const double total = static_cast<double>(objects_[static_cast<size_t>(kind)]);
  std::vector<double> precision, recall;
  double right = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    right += (all[i].right >> threshold) & 1U;
    recall.push_back(right / total);
    precision.push_back(right /
                        (static_cast<double>(i + 1) + std::numeric_limits<double>::epsilon()));
  }
  for (size_t i = precision.size(); i-- > 1;)
    precision[i - 1] = std::max(precision[i - 1], precision[i]);
  Curve out;
  for (int r = 0; r < kRecalls; ++r) {
    const double wanted = r == kRecalls - 1 ? 1.0 : r * 0.01;
    auto at = std::lower_bound(recall.begin(), recall.end(), wanted);
    if (at != recall.end()) out.precision += precision[static_cast<size_t>(at - recall.begin())];
  }
  out.precision /= kRecalls;
  if (!recall.empty()) out.recall = recall.back();
  return out;
}

std::map<std::string, double> AveragePrecision::result() const {
  double classes = 0, n = 0, ap = 0, ap50 = 0, ap75 = 0, recall = 0;
  for (size_t k = 0; k < objects_.size(); ++k) {
    if (objects_[k] == 0) continue;
    classes += 1;
    n += static_cast<double>(objects_[k]);
    for (int t = 0; t < kOverlaps; ++t) {
      const Curve c = curve(static_cast<int64_t>(k), t);
      ap += c.precision / kOverlaps;
      recall += c.recall / kOverlaps;
      if (t == 0) ap50 += c.precision;
      if (t == 5) ap75 += c.precision;
    }
  }
  require(classes > 0, kUnit, "expected a picture with an object");
  return {{"ap", ap / classes},
          {"ap50", ap50 / classes},
          {"ap75", ap75 / classes},
          {"ar100", recall / classes},
          {"n", n}};
}

std::vector<double> AveragePrecision::per_class() const {
  std::vector<double> out;
  for (size_t k = 0; k < objects_.size(); ++k) {
    double sum = 0;
    for (int t = 0; t < kOverlaps && objects_[k] > 0; ++t)
      sum += curve(static_cast<int64_t>(k), t).precision / kOverlaps;
    out.push_back(objects_[k] > 0 ? sum : -1);
  }
  return out;
}

at::Tensor mask_confusion(const at::Tensor& predicted, const at::Tensor& target, int64_t classes) {
  if (predicted.sizes() != target.sizes() || classes < 1 || classes > 65536) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected predictions and targets of one shape, got " + describe(predicted) + " and " +
             describe(target));
  }
  at::Tensor p = predicted.detach().to(at::kCPU, at::kLong).flatten();
  at::Tensor t = target.detach().to(at::kCPU, at::kLong).flatten();
  at::Tensor known = (t != -1).nonzero().squeeze(1);
  p = p.index_select(0, known);
  t = t.index_select(0, known);
  if (known.size(0) > 0) {
    require(t.min().item<int64_t>() >= 0 && t.max().item<int64_t>() < classes &&
                p.min().item<int64_t>() >= 0 && p.max().item<int64_t>() < classes,
            kUnit, "expected classes from 0 below the number of classes, targets of -1 aside");
  }
  return at::bincount(t * classes + p, {}, classes * classes).view({classes, classes});
}

std::map<std::string, double> mask_metrics(const at::Tensor& confusion) {
  if (confusion.dim() != 2 || confusion.size(0) != confusion.size(1) || confusion.size(0) < 1)
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected a confusion matrix [K, K], got " + describe(confusion));
  at::Tensor counts = confusion.to(at::kCPU, at::kDouble);
  at::Tensor right = counts.diag(), joint = counts.sum(0) + counts.sum(1) - right;
  at::Tensor occurs = (joint > 0).nonzero().squeeze(1);
  require(occurs.size(0) > 0, kUnit, "expected a place with a target");
  at::Tensor each = right.index_select(0, occurs) / joint.index_select(0, occurs);
  const double n = counts.sum().item<double>();
  return {{"mean_iou", each.mean().item<double>()},
          {"accuracy", right.sum().item<double>() / n},
          {"n", n}};
}

}  // namespace plait::train
