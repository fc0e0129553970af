#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "plait/api/multimodal_model.h"
#include "plait/core/feature_store.h"
#include "plait/train/feature_dataset.h"

namespace plait::api {

/// How copies of the items are damaged before they are encoded; what happens to an item follows
/// from the seed and its id (its index when it has none), so that it is the same in whichever split
/// it is.
struct DamagePlan {
  uint64_t seed = 1;
  double min_severity = 0.2, max_severity = 1.0;  ///< Drawn uniformly
  double wrong = 0;                ///< Probability that the value is another item's instead
  std::vector<std::string> kinds;  ///< Of data::damage; empty = all of the modality
};

/// What one item's stream became under a plan: kind ("wrong" included) and severity, for reports.
struct Damage {
  std::string kind;
  double severity = 0;
  size_t other = 0;  ///< For "wrong": the index of the item whose value it got
};
Damage draw_damage(const DamagePlan& plan, Modality modality, const std::string& stream,
                   const std::vector<Sample>& samples, size_t index);

/// The item's stream, decoded and damaged. @throws Error when the item lacks it.
Value damaged_value(const std::vector<Sample>& samples, size_t index, const std::string& stream,
                    Modality modality, const DamagePlan& plan);

struct ExtractOptions {
  std::vector<DamagePlan> damaged;  ///< One variant each, after the clean variant 0
  int64_t batch_size = 16;
  FeatureStore* store = nullptr;  ///< Looked up before encoding; may be null
  std::function<void(const std::string& stream, int64_t done, int64_t total)> progress;
};

/// All streams of the model, per stream a clean table and one per plan, as FeatureDataset takes
/// them: frozen features, or the processed inputs where the encoder is trained too. Items that the
/// samples lack are marked absent.
std::map<std::string, std::vector<train::FeatureTable>> extract_features(
    MultimodalModel& model, const std::vector<Sample>& samples, const ExtractOptions& options);

/// [N] int64 index of each sample's label `task` among `labels`; -1 where it has none.
/// @throws Error kInvalidArgument for a label that is not in the list.
at::Tensor class_targets(const std::vector<Sample>& samples, const std::string& task,
                         const std::vector<std::string>& labels);

}  // namespace plait::api
