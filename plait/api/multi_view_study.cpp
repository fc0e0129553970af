#include "plait/api/multi_view_study.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "plait/api/features.h"
#include "plait/core/error.h"
#include "plait/core/parallel.h"
#include "plait/models/encoders/vector.h"
#include "plait/train/calibrate.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/baselines.h"

namespace plait::api {
namespace {

using models::Evidence;
using models::TrustFusion;
using train::FeatureTables;

constexpr double kStaticFloor = 0.05;

train::TrustData trust_data(const FeatureTables& tables, const at::Tensor& target) {
  train::TrustData out;
  std::vector<at::Tensor> present;
  for (const auto& [name, table] : tables) {
    out.features.push_back({table.pooled});
    at::Tensor here = table.present.defined() ? table.present.to(at::kBool)
                                              : at::ones({table.pooled.size(0)}, at::kBool);
    present.push_back(here);
    out.quality.push_back({table.quality.defined() ? table.quality : here.to(at::kFloat)});
  }
  out.present = at::stack(present, 1);
  out.target = target;
  return out;
}

struct StudyCondition {
  std::string name;
  train::DamagedViews views;
};

/// Every feature times its factor [D].
FeatureTables scaled(FeatureTables tables, const std::map<std::string, at::Tensor>& factors) {
  for (auto& [name, table] : tables) table.pooled = table.pooled * factors.at(name);
  return tables;
}

/// Noise in units of each feature's range over the training items, as published studies have it:
/// several times stronger than the same number of deviations.
train::DamagedViews add_range_noise(const MultiViewSplits& data, double deviation, uint64_t seed) {
  std::map<std::string, at::Tensor> range, inverse;
  for (const auto& [name, table] : data.train) {
    at::Tensor width = table.pooled.amax(0) - table.pooled.amin(0);
    range[name] = at::where(width > 0, width, at::ones_like(width));
    inverse[name] = range[name].reciprocal();
  }
  train::DamagedViews out = train::add_view_noise(scaled(data.test, inverse), deviation, seed);
  out.tables = scaled(std::move(out.tables), range);
  return out;
}

std::vector<StudyCondition> conditions(const MultiViewSplits& data, uint64_t seed) {
  const FeatureTables& test = data.test;
  std::vector<StudyCondition> out;
  out.push_back({"clean", train::add_view_noise(test, 0, seed)});
  for (int deviation : {1, 5, 10})
    out.push_back({"noise_" + std::to_string(deviation), add_range_noise(data, deviation, seed)});
  out.push_back({"swapped", train::swap_views(test, data.test_target, seed)});
  out.push_back({"dropped_features", train::drop_features(test, 0.5, seed)});
  const auto views = static_cast<int64_t>(test.size());
  for (int64_t count = 1; count < views; count += 2)
    out.push_back({"missing_" + std::to_string(count), train::remove_views(test, count, seed)});
  return out;
}

/// The static fusions of the same experts, chosen and tempered on clean training items, out of
/// fold.
class StaticFusions {
 public:
  explicit StaticFusions(const train::TrustFit& fit) : log_prior_(fit.trust->log_prior()) {
    const Evidence& validation = fit.clean;
    const at::Tensor& target = fit.clean_target;
    double best = -1;
    for (int64_t m = 0; m < validation.present.size(1); ++m) {
      double a = train::accuracy(validation.log_probabilities.select(1, m), target);
      if (a > best) best = a, best_ = m;
    }
    tempered_ = train::fit_temperature(product(validation), target);
    robust_ = train::fit_temperature(robust_product(validation), target);
  }

  std::map<std::string, at::Tensor> answer(const Evidence& e) const {
    at::Tensor here = e.present.to(at::kFloat).unsqueeze(-1);
    at::Tensor mean = (e.log_probabilities.exp() * here).sum(1) / here.sum(1).clamp_min(1);
    // Where the best stream is missing its answer is the prior.
    at::Tensor single = at::where(e.present.select(1, best_).unsqueeze(1),
                                  e.log_probabilities.select(1, best_), log_prior_);
    return {{"best_single", single},
            {"mean_of_probabilities", mean.log()},
            {"product", at::log_softmax(product(e), -1)},
            {"tempered_product", at::log_softmax(product(e) / tempered_, -1)},
            {"robust_product", at::log_softmax(robust_product(e) / robust_, -1)}};
  }

 private:
  at::Tensor product(const Evidence& e) const {
    at::Tensor each = e.log_probabilities - log_prior_;
    return (each * e.present.unsqueeze(-1)).sum(1) + log_prior_;
  }
  at::Tensor robust_product(const Evidence& e) const {
    at::Tensor ratio = (e.log_probabilities - log_prior_).exp();
    at::Tensor each = ((1 - kStaticFloor) * ratio + kStaticFloor).log();
    return (each * e.present.unsqueeze(-1)).sum(1) + log_prior_;
  }

  at::Tensor log_prior_;
  int64_t best_ = 0;
  double tempered_ = 1, robust_ = 1;
};

/// Published fusions, trained on the same items with the same budget.
std::map<std::string, std::shared_ptr<train::ViewClassifier>> published(
    const train::TrustData& data, int64_t classes, const train::TrustOptions& options) {
  std::map<std::string, std::shared_ptr<train::ViewClassifier>> out;
  for (const char* name : {"qmf", "pdf", "tmc", "concatenation_dropout"}) {
    train::BaselineOptions own = train::baseline_options(name);
    own.hidden = options.hidden;
    own.epochs = options.expert_epochs;
    own.seed = options.seed;
    out[name] = train::fit_baseline(name, data, data, classes, own);
  }
  return out;
}

Json figures(const at::Tensor& log_probabilities, const at::Tensor& target) {
  at::Tensor p = log_probabilities.to(at::kDouble).exp();
  p = p / p.sum(-1, /*keepdim=*/true);
  return Json::object({{"accuracy", train::accuracy(p, target)},
                       {"nll", train::negative_log_likelihood(p, target)},
                       {"ece", train::expected_calibration_error(p, target)},
                       {"aurc", train::aurc(p, target)}});
}

/// One stream of some samples: [N, D].
at::Tensor rows_of(const std::vector<Sample>& samples, const std::string& stream) {
  std::vector<at::Tensor> rows;
  for (const Sample& sample : samples) {
    auto found = sample.streams.find(stream);
    const at::Tensor* row =
        found == sample.streams.end() ? nullptr : std::get_if<at::Tensor>(&found->second);
    if (!row || row->dim() != 1) {
      fail(ErrorCode::kInvalidArgument, "study",
           sample.id + ": expected a tensor [D] of stream \"" + stream + "\"");
    }
    rows.push_back(row->to(at::kFloat));
  }
  return at::stack(rows, 0);
}

}  // namespace

MultiViewSplits multi_view_splits(const data::DatasetSplits& splits) {
  MultiViewSplits out;
  out.classes = static_cast<int64_t>(splits.classes.size());
  for (const auto& [stream, modality] : splits.info.streams) {
    models::Vector::Config config;
    at::Tensor train = rows_of(splits.train, stream);
    config.features = train.size(1);
    models::Vector scale(config);
    scale.load_state_dict(models::Vector::fit(train));
    auto scaled = [&](const at::Tensor& x) { return scale.encode({{"values", x}}).pooled; };
    out.train[stream].pooled = scaled(train);
    out.test[stream].pooled = scaled(rows_of(splits.test, stream));
  }
  out.train_target = class_targets(splits.train, splits.info.label, splits.classes);
  out.test_target = class_targets(splits.test, splits.info.label, splits.classes);
  return out;
}

Json run_multi_view_study(const MultiViewSplits& data, const train::TrustOptions& options) {
  std::vector<std::string> streams;
  for (const auto& [name, table] : data.train) streams.push_back(name);
  const train::TrustData training = trust_data(data.train, data.train_target);
  train::TrustFit fit = train::fit_trust(training, streams, data.classes, options);
  auto baselines = published(training, data.classes, options);
  const TrustFusion& trust = *fit.trust;
  at::NoGradGuard no_grad;
  SerialScope serial;
  StaticFusions fixed(fit);
  Json out = Json::object({});
  for (const StudyCondition& condition : conditions(data, options.seed + 1)) {
    const train::TrustData test = trust_data(condition.views.tables, data.test_target);
    const std::vector<at::Tensor> features = test.clean();
    std::vector<at::Tensor> quality;
    for (const auto& variants : test.quality) quality.push_back(variants[0]);
    const at::Tensor scores = at::stack(quality, 1);
    Evidence e = trust.gather(features, scores, test.present);
    std::map<std::string, at::Tensor> answers = fixed.answer(e);
    answers["trust"] = trust.fuse(e).log_probabilities;
    at::Tensor known = at::where(condition.views.hit, at::ones({}), at::full({}, kStaticFloor));
    answers["oracle"] = trust.fuse_with(e, known).log_probabilities;
    for (const auto& [method, classifier] : baselines)
      answers[method] = classifier->log_probabilities(features, test.present, scores);
    for (const auto& [method, answer] : answers)
      out[method][condition.name] = figures(answer, data.test_target);
  }
  return out;
}

}  // namespace plait::api
