// From the network's output to predictions.
#include <ATen/ATen.h>

#include "plait/api/answer.h"
#include "plait/api/multimodal_model.h"
#include "plait/api/retrieval_trust.h"
#include "plait/api/task_targets.h"
#include "plait/core/error.h"
#include "plait/models/tasks/retrieval.h"

namespace plait::api {
namespace {

std::vector<std::string> labels_of(const Json& task, int64_t classes) {
  if (const Json* labels = task.find("labels")) return labels->as_strings();
  std::vector<std::string> out;
  for (int64_t i = 0; i < classes; ++i) out.push_back(std::to_string(i));
  return out;
}

}  // namespace

at::Tensor MultimodalModel::label_embeddings(const std::vector<std::string>& labels,
                                             const std::string& task) {
  std::string text_stream;
  for (const std::string& name : network_->stream_names()) {
    if (network_->modality(name) == Modality::kText && text_stream.empty()) text_stream = name;
  }
  if (text_stream.empty()) {
    fail(ErrorCode::kInvalidArgument, "predict",
         "zero-shot labels need a model with a text stream");
  }
  std::vector<Sample> samples;
  for (const std::string& label : labels) {
    Sample sample;
    sample.streams[text_stream] = label;
    samples.push_back(std::move(sample));
  }
  std::vector<at::Tensor> parts;
  for (size_t begin = 0; begin < samples.size(); begin += static_cast<size_t>(max_batch_)) {
    size_t end = std::min(samples.size(), begin + static_cast<size_t>(max_batch_));
    std::vector<Sample> part(samples.begin() + static_cast<long>(begin),
                             samples.begin() + static_cast<long>(end));
    parts.push_back(get(network_->forward(prepare(part)).tasks.at(task), "embedding", "predict"));
  }
  return at::cat(parts, 0);
}

std::string MultimodalModel::task_of(const PredictOptions& options) const {
  std::string task = options.task.empty() ? task_ : options.task;
  if ((!options.labels.empty() || options.gallery.defined()) && options.task.empty()) {
    for (const std::string& name : network_->task_names()) {
      if (network_->task_config(name).get("type", "") == "retrieval") task = name;
    }
  }
  return task;
}

void MultimodalModel::search(const models::FusedOutput& output, const models::TrustModel& trusted,
                             const at::Tensor& gallery, const PredictOptions& options,
                             AnswerContext& context) const {
  const at::Tensor rows = has_query(*network_, context.task, output.present).nonzero().squeeze(1);
  if (rows.size(0) == 0) return;
  AnswerContext::Searched& found = context.searched;
  found.trust = &trusted;
  found.rows = rows;
  found.evidence = look_at_gallery(trusted, *network_, context.task, output, rows, gallery);
  const models::TrustModel::Verdict verdict = trusted.decide(found.evidence);
  if (trusted.has_sets()) found.sets = trusted.prediction_sets(verdict, options.coverage);
  context.logits.index_copy_(0, rows, verdict.log_probabilities);
  context.weights = output.weights.to(at::kCPU, at::kDouble);
  context.weights.index_copy_(0, rows, among_all_streams(*network_, context.task, verdict.weights));
  context.decided_by.resize(static_cast<size_t>(output.present.size(0)));
  for (int64_t i = 0; i < rows.size(0); ++i)
    context.decided_by[static_cast<size_t>(rows[i].item<int64_t>())] =
        models::to_string(verdict.deciders[static_cast<size_t>(i)]);
}

std::vector<Prediction> MultimodalModel::answer(const models::FusedOutput& output,
                                                const PredictOptions& options,
                                                const Details& details) {
  AnswerContext context{*network_, task_of(options), {}, {}, nullptr,
                        nullptr,   nullptr,          {}, {}, version()};
  const Json& task = network_->task_config(context.task);
  const TensorMap& raw = output.tasks.at(context.task);
  context.calibration = calibration_.find(context.task);
  const auto trusted = trust(context.task);
  if (kind_of(task) != TaskKind::kOther) context.trust = trusted.get();
  if (raw.count("logits")) {
    context.logits = raw.at("logits").to(at::kCPU, at::kFloat);
    context.labels = labels_of(task, context.logits.size(1));
    context.engine = engine(context.task);
  } else if (kind_of(task) == TaskKind::kLabels) {
    context.labels = labels_of(task, raw.at("label_logits").size(1));
  } else if (raw.count("embedding") && (!options.labels.empty() || options.gallery.defined())) {
    require(options.labels.empty() || !options.gallery.defined(), "predict",
            "expected labels or a gallery, got both");
    require(
        !options.gallery.defined() || (options.gallery.dim() == 2 && options.gallery.size(0) > 0 &&
                                       options.gallery.isfinite().all().item<bool>()),
        "predict", "expected finite embeddings [K, E] as a gallery");
    at::Tensor against = options.gallery.defined() ? options.gallery.to(device_, dtype_)
                                                   : label_embeddings(options.labels, context.task);
    context.logits = models::zero_shot_logits(raw.at("embedding"), against, raw.at("logit_scale"))
                         .to(at::kCPU, at::kFloat);
    context.labels = options.labels;
    const bool comparable =
        options.gallery.defined() ||
        network_->modality(gallery_stream(*network_, context.task)) == Modality::kText;
    require(options.gallery_names.empty() ||
                (options.gallery.defined() &&
                 static_cast<int64_t>(options.gallery_names.size()) == options.gallery.size(0)),
            "predict", "expected one name for every row of the gallery");
    context.candidates = options.gallery_names;
    if (trusted && comparable && against.size(0) >= 2)
      search(output, *trusted, against, options, context);
  }
  return make_predictions(output, context, options, details);
}

}  // namespace plait::api
