#include "plait/api/image_classifier.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/models/catalogue.h"

namespace plait::api {
namespace {

constexpr const char* kUnit = "image_classifier";

}  // namespace

Json ImageLabel::to_json() const {
  return Json::object({{"label", label}, {"index", index}, {"probability", probability}});
}

std::shared_ptr<ImageClassifier> ImageClassifier::from_pretrained(const std::string& name_or_path,
                                                                  const ModelOptions& options,
                                                                  const data::Progress& progress) {
  const std::string dir = models::resolve_model(name_or_path, progress);
  Json config = Json::read(dir + "/config.json", size_t{16} << 20);
  const Json* classes = config.find("classes");
  if (!classes)
    fail(ErrorCode::kInvalidArgument, kUnit,
         dir + ": expected an encoder with the names of its classes in config.json, got none");
  auto made = std::make_shared<ImageClassifier>();
  made->classes_ = classes->as_strings();
  made->model_ = AutoModel::from_pretrained(dir, options);
  if (made->model_->encoder()->modality() != Modality::kImage)
    fail(ErrorCode::kInvalidArgument, kUnit, dir + ": expected a model of pictures");
  return made;
}

std::vector<ImageLabel> ImageClassifier::classify(const Value& image, int64_t top) const {
  require(top >= 1, kUnit, "expected a top of at least 1, got less");
  at::NoGradGuard no_grad;
  TensorMap out = (*model_)({image});
  auto logits = out.find("logits");
  if (logits == out.end() || logits->second.size(-1) != static_cast<int64_t>(classes_.size()))
    fail(ErrorCode::kCorruptData, kUnit,
         "expected one value of each of the " + std::to_string(classes_.size()) + " classes, got " +
             (logits == out.end() ? "none" : describe(logits->second)));
  at::Tensor probabilities =
      at::softmax(logits->second[0].to(at::kCPU, at::kDouble), 0).contiguous();
  auto [best, index] = probabilities.topk(std::min(top, probabilities.numel()));
  std::vector<ImageLabel> labels;
  for (int64_t i = 0; i < best.numel(); ++i) {
    int64_t at = index[i].item<int64_t>();
    labels.push_back({classes_[static_cast<size_t>(at)], at, best[i].item<double>()});
  }
  return labels;
}

}  // namespace plait::api
