#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "plait/api/compute_plan.h"
#include "plait/api/multimodal_model.h"
#include "plait/train/feature_dataset.h"

namespace plait::api {

/// Sizes the encoders of a model's config ({"streams": {name: {"encoder", "processor"}}}) by the
/// shares that the options give, or by `importance` when they say so, and writes the plan to its
/// "compute". Encoders of `published` streams keep their
/// weights; streams whose encoders cost nothing stay as they are. `dir` holds streams/<name>/ with
/// the processors' files. Costs are counted on up to 16 of the items that have a stream.
/// @throws Error kInvalidArgument as plan_compute and read_shares do.
void size_encoders(Json& config, const ComputeOptions& options,
                   const std::map<std::string, double>& importance,
                   const std::set<std::string>& published, const std::string& dir,
                   const std::vector<Sample>& items);

/// How many errors a share of 1 of which streams remove: each stream's Shapley value of the
/// accuracy over all subsets of the streams (without any: that of the most frequent class), mean
/// over `items` as they are and as their first damaged copies. It is the task's trust fusion that
/// answers where encoders are frozen, else the network: the trust fusion was fitted on these items.
std::map<std::string, double> stream_importance(MultimodalModel& model, const std::string& task,
                                                const train::FeatureDataset& items);

/// Each stream's share of the encoders' multiply-adds, mean over the items that have it.
std::map<std::string, double> realised_split(MultimodalModel& model,
                                             const std::vector<Sample>& items);

/// Writes it to the "compute" of the model's config; a model without a plan stays as it is.
void note_realised_split(MultimodalModel& model, const std::vector<Sample>& items);

/// A table of the plan, for terminals and model cards; none for a
/// model without one: stream, asked, planned and realised share in %, million multiply-adds, those
/// before, changes.
std::vector<std::vector<std::string>> plan_table(const Json& config);

}  // namespace plait::api
