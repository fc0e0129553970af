#include "plait/api/retrieval_trust.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "plait/api/fused_trainable.h"
#include "plait/core/error.h"
#include "plait/core/log.h"
#include "plait/train/trust/trust_retrieval.h"
#include "plait/train/trust/trust_sets.h"

namespace plait::api {
namespace {

constexpr int64_t kLeastItems = 40;

at::Tensor unit_length(const at::Tensor& x) {
  at::Tensor rows = x.to(at::kCPU, at::kFloat);
  return rows / rows.norm(2, -1, /*keepdim=*/true).clamp_min(1e-6);
}

/// Columns [M'] int64 of these streams among all.
at::Tensor columns_of(const std::vector<std::string>& all, const std::vector<std::string>& some) {
  std::vector<int64_t> out;
  for (const std::string& name : some)
    out.push_back(std::find(all.begin(), all.end(), name) - all.begin());
  return at::tensor(out, at::kLong);
}

/// Queries of a data set with all their variants, and what each should find.
train::RetrievalData queries_of(models::FusedNetwork& network, const std::string& task,
                                const train::FeatureDataset& data) {
  const auto& all = network.stream_names();
  const std::vector<std::string> names = query_streams(network, task);
  const at::Tensor columns = columns_of(all, names);
  const auto gallery = columns_of(all, {gallery_stream(network, task)}).item<int64_t>();
  int64_t variants = 1;
  for (const std::string& name : names) variants = std::max(variants, data.variants(name));
  train::RetrievalData out;
  out.items.features.resize(names.size());
  out.items.quality.resize(names.size());
  at::Tensor rows;
  for (int64_t v = 0; v < variants; ++v) {
    std::map<std::string, int64_t> shown;
    for (const std::string& name : names) {
      if (v < data.variants(name)) shown[name] = v;
    }
    Answers answers = answer_all(network, *data.fix(shown));
    if (!answers.weights.defined()) return out;
    at::Tensor present = answers.present.index_select(1, columns);
    if (v == 0) {
      rows =
          at::logical_and(present.any(1), answers.present.select(1, gallery)).nonzero().squeeze(1);
      out.items.present = present.index_select(0, rows);
      out.items.group = data.groups().index_select(0, answers.rows.index_select(0, rows));
      out.gallery = unit_length(get(answers.tasks.at(task), "stream_embedding", "trust")
                                    .select(1, gallery)
                                    .index_select(0, rows));
    }
    at::Tensor quality = answers.quality.index_select(1, columns).index_select(0, rows);
    for (size_t m = 0; m < names.size(); ++m) {
      out.items.features[m].push_back(answers.pooled.at(names[m]).index_select(0, rows));
      out.items.quality[m].push_back(quality.select(1, static_cast<int64_t>(m)));
    }
  }
  out.embed = [&network, task, names, columns](size_t m, const at::Tensor& x) {
    const auto column = columns[static_cast<int64_t>(m)].item<int64_t>();
    at::Tensor present =
        at::zeros({x.size(0), static_cast<int64_t>(network.stream_names().size())}, at::kBool);
    present.select(1, column).fill_(true);
    models::FusedOutput output =
        network.decode({{names[m], {{}, {}, x}}}, present, present.to(at::kFloat));
    return unit_length(get(output.tasks.at(task), "stream_embedding", "trust").select(1, column));
  };
  return out;
}

}  // namespace

std::string gallery_stream(const models::FusedNetwork& network, const std::string& task) {
  const auto& names = network.stream_names();
  const std::string given = network.task_config(task).get("gallery", "");
  if (!given.empty()) {
    network.modality(given);
    return given;
  }
  for (const std::string& name : names) {
    if (network.modality(name) == Modality::kText) return name;
  }
  return names.back();
}

std::vector<std::string> query_streams(const models::FusedNetwork& network,
                                       const std::string& task) {
  std::vector<std::string> out = network.stream_names();
  out.erase(std::find(out.begin(), out.end(), gallery_stream(network, task)));
  return out;
}

std::shared_ptr<models::TrustModel> fit_retrieval_trust(models::FusedNetwork& network,
                                                        const std::string& task,
                                                        const train::FeatureDataset& validation,
                                                        const TrustFitting& options) {
  at::NoGradGuard no_grad;
  const std::vector<std::string> names = query_streams(network, task);
  if (names.size() < 2) return nullptr;
  network.train_mode(false);
  const train::RetrievalData data = queries_of(network, task, validation);
  if (data.items.size() < kLeastItems) {
    log_warning("trust", "too few items to fit the trust fusion of \"" + task + "\": expected " +
                             std::to_string(kLeastItems) + " with the stream \"" +
                             gallery_stream(network, task) + "\" and another, got " +
                             std::to_string(data.items.size()));
    return nullptr;
  }
  train::TrustFit fit = train::fit_trust_retrieval(data, names, options.fit);
  auto model = std::make_shared<models::TrustModel>(fit.trust);
  train::TrustCalibrationOptions calibration = options.calibration;
  calibration.costs.clear();
  const train::TrustItems items = train::out_of_fold_items(fit, calibration.seed);
  const train::TrustItems all = train::every_subset(items, calibration.seed);
  train::calibrate_trust(*model, all, calibration);
  train::fit_candidate_sets(*model, all);
  return model;
}

models::Evidence look_at_gallery(const models::TrustModel& trust,
                                 const models::FusedNetwork& network, const std::string& task,
                                 const models::FusedOutput& output, const at::Tensor& rows,
                                 const at::Tensor& gallery) {
  auto pick = [&](const at::Tensor& x) { return x.to(at::kCPU).index_select(0, rows); };
  const std::vector<std::string> names = query_streams(network, task);
  const at::Tensor columns = columns_of(network.stream_names(), names);
  std::vector<at::Tensor> features = in_order(names, output.pooled);
  for (at::Tensor& x : features) {
    if (x.defined()) x = pick(x).to(at::kFloat);
  }
  at::Tensor embeddings =
      unit_length(pick(get(output.tasks.at(task), "stream_embedding", "predict")));
  at::Tensor scores =
      train::candidate_scores(embeddings.index_select(1, columns), unit_length(gallery));
  return trust.fusion().gather_candidates(
      features, scores, pick(output.quality).to(at::kFloat).index_select(1, columns),
      pick(output.present).index_select(1, columns));
}

at::Tensor among_all_streams(const models::FusedNetwork& network, const std::string& task,
                             const at::Tensor& weights) {
  at::Tensor columns = columns_of(network.stream_names(), query_streams(network, task));
  at::Tensor out = at::zeros({weights.size(0), static_cast<int64_t>(network.stream_names().size())},
                             at::kDouble);
  return out.index_copy_(1, columns, weights.to(at::kDouble));
}

at::Tensor has_query(const models::FusedNetwork& network, const std::string& task,
                     const at::Tensor& present) {
  at::Tensor columns = columns_of(network.stream_names(), query_streams(network, task));
  return present.to(at::kCPU).index_select(1, columns).any(1);
}

}  // namespace plait::api
