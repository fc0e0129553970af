#include "plait/train/picture_training.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "plait/core/error.h"
#include "plait/train/picture_metrics.h"

namespace plait::train {
namespace {

/// As COCO's own evaluation: nearly every box counts.
constexpr models::DetectOptions kAllBoxes = {
    .score_threshold = 0.01, .iou_threshold = 0.65, .max_detections = 100};

const TensorMap& inputs_of(const Batch& batch, const std::string& stream) {
  auto found = batch.streams.find(stream);
  if (found == batch.streams.end())
    fail(ErrorCode::kInvalidArgument, "train", "expected a stream \"" + stream + "\" in the batch");
  return found->second.inputs;
}

void for_each_batch(BatchSource& source, int64_t batch_size, at::Device device,
                    const std::function<void(const Batch&)>& use) {
  const int64_t n = source.size();
  require(n > 0, "train", "expected at least one item to evaluate");
  for (int64_t start = 0; start < n; start += batch_size) {
    std::vector<int64_t> indices(static_cast<size_t>(std::min(batch_size, n - start)));
    std::iota(indices.begin(), indices.end(), start);
    use(to(source.batch(indices, kEvaluationSeed), device));
  }
}

}  // namespace

DetectionTraining::DetectionTraining(std::shared_ptr<models::Detector> detector, std::string stream,
                                     std::string target)
    : detector_(std::move(detector)), stream_(std::move(stream)), target_(std::move(target)) {}

LossOutput DetectionTraining::loss(const Batch& batch) {
  TensorMap outputs = detector_->forward(inputs_of(batch, stream_));
  return {detector_->loss(outputs, get(batch.targets, target_, "train")), {}};
}

Scalars DetectionTraining::evaluate(BatchSource& source, int64_t batch_size) {
  AveragePrecision precision(detector_->classes());
  double sum = 0;
  for_each_batch(
      source, batch_size, detector_->parameters().front().device(), [&](const Batch& batch) {
        TensorMap outputs = detector_->forward(inputs_of(batch, stream_));
        const at::Tensor& target = get(batch.targets, target_, "train");
        sum += detector_->loss(outputs, target).item<double>() * static_cast<double>(batch.size);
        auto found =
            models::select_detections(outputs.at("boxes"), outputs.at("scores"), kAllBoxes);
        auto truth = models::true_objects(target, batch.size, detector_->classes(),
                                          outputs.at("boxes"), "train");
        for (size_t i = 0; i < found.size(); ++i) precision.add(found[i], truth[i]);
      });
  Scalars out = precision.result();
  out.erase("n");
  out["loss"] = sum / static_cast<double>(source.size());
  return out;
}

SegmentationTraining::SegmentationTraining(std::shared_ptr<models::Segmenter> segmenter,
                                           std::string stream, std::string target)
    : segmenter_(std::move(segmenter)), stream_(std::move(stream)), target_(std::move(target)) {}

LossOutput SegmentationTraining::loss(const Batch& batch) {
  TensorMap outputs = segmenter_->forward(inputs_of(batch, stream_));
  return {segmenter_->loss(outputs, get(batch.targets, target_, "train")), {}};
}

Scalars SegmentationTraining::evaluate(BatchSource& source, int64_t batch_size) {
  const int64_t classes = segmenter_->classes();
  at::Tensor confusion = at::zeros({classes, classes}, at::kLong);
  double sum = 0;
  for_each_batch(
      source, batch_size, segmenter_->parameters().front().device(), [&](const Batch& batch) {
        TensorMap outputs = segmenter_->forward(inputs_of(batch, stream_));
        const at::Tensor& target = get(batch.targets, target_, "train");
        sum += segmenter_->loss(outputs, target).item<double>() * static_cast<double>(batch.size);
        confusion = confusion + mask_confusion(outputs.at("logits").argmax(1), target, classes);
      });
  Scalars out = mask_metrics(confusion);
  out.erase("n");
  out["loss"] = sum / static_cast<double>(source.size());
  return out;
}

}  // namespace plait::train
