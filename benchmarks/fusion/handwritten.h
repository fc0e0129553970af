#pragma once
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>

#include "plait/data/datasets/datasets.h"
#include "plait/train/multi_view_noise.h"
#include "plait/train/trust/trust_data.h"

/// UCI's handwritten digits in six views as the programs of this folder take them.
namespace plait::bench {

/// Items of one side of a split, every feature scaled to [0, 1] over the training items: noise of
/// deviation δ is then δ times a feature's range, as the published studies have it.
struct Side {
  train::FeatureTables views;
  at::Tensor target;
};

inline train::TrustData as_trust_data(const train::FeatureTables& views, const at::Tensor& target) {
  train::TrustData out;
  std::vector<at::Tensor> present;
  for (const auto& [name, table] : views) {
    out.features.push_back({table.pooled});
    present.push_back(table.present.defined() ? table.present
                                              : at::ones({table.pooled.size(0)}, at::kBool));
  }
  out.present = at::stack(present, 1);
  out.target = target;
  return out;
}

/// [N, D] of one view.
inline at::Tensor rows_of(const std::vector<Sample>& samples, const std::string& view) {
  std::vector<at::Tensor> rows;
  for (const Sample& sample : samples)
    rows.push_back(std::get<at::Tensor>(sample.streams.at(view)).to(at::kFloat));
  return at::stack(rows, 0);
}

/// [N] numbers of the classes, which are sorted.
inline at::Tensor targets_of(const std::vector<Sample>& samples,
                             const data::DatasetSplits& splits) {
  std::vector<int64_t> out;
  for (const Sample& sample : samples) {
    auto found = std::lower_bound(splits.classes.begin(), splits.classes.end(),
                                  sample.labels.at(splits.info.label).as_string());
    out.push_back(found - splits.classes.begin());
  }
  return at::tensor(out, at::kLong);
}

/// Training items and held-out ones: those for validation, or for the test.
struct Handwritten {
  Side train, held_out;
  int64_t classes = 0;
};

inline Handwritten load_handwritten(int64_t seed, bool validation) {
  data::DatasetOptions options;
  options.seed = seed;
  options.validation = validation ? 0.2 : 0.0;
  options.test = 0.2;
  data::DatasetSplits splits = data::load_dataset("handwritten", options);
  const std::vector<Sample>& held_out = validation ? splits.validation : splits.test;
  Handwritten out;
  out.classes = static_cast<int64_t>(splits.classes.size());
  for (const auto& [view, modality] : splits.info.streams) {
    at::Tensor train = rows_of(splits.train, view);
    at::Tensor low = train.amin(0), range = train.amax(0) - low;
    range = at::where(range > 0, range, at::ones_like(range));
    out.train.views[view].pooled = (train - low) / range;
    out.held_out.views[view].pooled = (rows_of(held_out, view) - low) / range;
  }
  out.train.target = targets_of(splits.train, splits);
  out.held_out.target = targets_of(held_out, splits);
  return out;
}

}  // namespace plait::bench
