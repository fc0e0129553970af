// UCI's handwritten digits in six views, damaged in the space of their features as the published
// multi-view studies do.
#include <ATen/ATen.h>

#include "plait/api/features.h"
#include "plait/api/study_data.h"
#include "plait/core/error.h"
#include "plait/data/datasets/datasets.h"
#include "plait/models/encoders/vector.h"
#include "plait/train/multi_view_noise.h"

namespace plait::api {
namespace {

using train::DamagedViews;
using train::FeatureTables;

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

train::TrustData trust_data(const FeatureTables& tables, const at::Tensor& target) {
  train::TrustData out;
  std::vector<at::Tensor> present;
  for (const auto& [name, table] : tables) {
    out.features.push_back({table.pooled});
    present.push_back(table.present.defined() ? table.present.to(at::kBool)
                                              : at::ones({table.pooled.size(0)}, at::kBool));
    out.quality.push_back(
        {table.quality.defined() ? table.quality : present.back().to(at::kFloat)});
  }
  out.present = at::stack(present, 1);
  out.target = target;
  return out;
}

/// Every feature times its factor [D].
FeatureTables scaled(FeatureTables tables, const std::map<std::string, at::Tensor>& factors) {
  for (auto& [name, table] : tables) table.pooled = table.pooled * factors.at(name);
  return tables;
}

/// Noise in units of each feature's range over the training items, as published studies have it:
/// several times stronger than the same number of deviations.
DamagedViews add_range_noise(const FeatureTables& train, const FeatureTables& test,
                             double deviation, uint64_t seed) {
  std::map<std::string, at::Tensor> range, inverse;
  for (const auto& [name, table] : train) {
    at::Tensor width = table.pooled.amax(0) - table.pooled.amin(0);
    range[name] = at::where(width > 0, width, at::ones_like(width));
    inverse[name] = range[name].reciprocal();
  }
  DamagedViews out = train::add_view_noise(scaled(test, inverse), deviation, seed);
  out.tables = scaled(std::move(out.tables), range);
  return out;
}

}  // namespace

StudyData handwritten_study(uint64_t seed, const StudyProgress& progress) {
  data::DatasetOptions options;
  options.seed = static_cast<int64_t>(seed);
  options.validation = 0.0;  // Everything is chosen out of fold
  data::DatasetSplits splits = data::load_dataset("handwritten", options);
  if (progress) progress("data", 0.5);
  StudyData out;
  out.dataset = splits.info.name;
  out.licence = splits.info.licence;
  out.note =
      "Real data, synthetic damage. noise_δ: Gaussian noise of δ times each feature's range on "
      "half "
      "of the views of half of the items; swapped: these views are another item's, of another "
      "class; dropped_features: half of their features become the mean; missing_r: r views of "
      "every "
      "item are absent.";
  out.classes = static_cast<int64_t>(splits.classes.size());
  FeatureTables train, test;
  for (const auto& [stream, modality] : splits.info.streams) {
    models::Vector::Config config;
    at::Tensor rows = rows_of(splits.train, stream);
    config.features = rows.size(1);
    models::Vector scale(config);
    scale.load_state_dict(models::Vector::fit(rows));
    auto standard = [&](const at::Tensor& x) { return scale.encode({{"values", x}}).pooled; };
    train[stream].pooled = standard(rows);
    test[stream].pooled = standard(rows_of(splits.test, stream));
  }
  for (const auto& [stream, table] : train) out.streams.push_back(stream);
  out.train = trust_data(train, class_targets(splits.train, splits.info.label, splits.classes));
  at::Tensor target = class_targets(splits.test, splits.info.label, splits.classes);
  const uint64_t damage = seed + 1;
  auto add = [&](const std::string& name, const DamagedViews& views) {
    out.conditions.push_back({name, trust_data(views.tables, target), views.hit, true});
  };
  add("clean", train::add_view_noise(test, 0, damage));
  for (int deviation : {1, 5, 10})
    add("noise_" + std::to_string(deviation), add_range_noise(train, test, deviation, damage));
  add("swapped", train::swap_views(test, target, damage));
  add("dropped_features", train::drop_features(test, 0.5, damage));
  for (int64_t count = 1; count < static_cast<int64_t>(test.size()); count += 2)
    add("missing_" + std::to_string(count), train::remove_views(test, count, damage));
  if (progress) progress("data", 1);
  return out;
}

}  // namespace plait::api
