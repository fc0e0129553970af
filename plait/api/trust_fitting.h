#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "plait/models/fused_network.h"
#include "plait/models/trust/trust_model.h"
#include "plait/train/feature_dataset.h"
#include "plait/train/trust/calibrate_trust.h"

/// The trust fusion on top of a trained network: what `calibrate` does after training.
namespace plait::api {

/// No encoder of the network is trained.
bool all_frozen(const models::FusedNetwork& network);

struct TrustDataset {
  train::TrustData items;
  at::Tensor rows;  ///< [N] int64 which items of the data set they are
};
/// A data set's pooled features, as the network's encoders give them: variants of all streams side
/// by side (a stream with fewer repeats its clean one). Items without a label (of several labels or
/// values: any of them) or any stream are left out. Of labels and values the target is as
/// targets_of gives it.
TrustDataset trust_data(models::FusedNetwork& network, const std::string& task,
                        const train::FeatureDataset& data);

struct TrustFitting {
  train::TrustOptions fit;
  train::TrustCalibrationOptions calibration;
};

/// Fits experts, gates, guard, prediction sets (of values: intervals), abstention and route of a
/// task of classes, labels or values.
///
/// Frozen encoders have not seen the training items' labels: experts are fitted on `train` and
/// everything else is calibrated on what they say of items out of fold, and of `validation`. Where
/// an encoder was trained, its features of `train` are too good to be true: then all is fitted, out
/// of fold, on `validation` alone. The network's own fusion is compared on `validation` only.
/// @return null when there are too few items (fewer than 8 a class and fold, or 40 with labels or
/// values) to fit anything.
std::shared_ptr<models::TrustModel> fit_trust_model(models::FusedNetwork& network,
                                                    const std::string& task,
                                                    const train::FeatureDataset& train,
                                                    const train::FeatureDataset& validation,
                                                    const TrustFitting& options);

/// Pooled features in the order of `streams`; undefined for a stream that nobody has.
std::vector<at::Tensor> in_order(const std::vector<std::string>& streams,
                                 const std::map<std::string, at::Tensor>& pooled);

/// What the model's streams say of items [B]: `pooled` by stream as FusedOutput has it, quality and
/// present [B, M] in the order of `streams`.
models::Evidence gather_evidence(const models::TrustModel& trust,
                                 const std::vector<std::string>& streams,
                                 const std::map<std::string, at::Tensor>& pooled,
                                 const at::Tensor& quality, const at::Tensor& present);

}  // namespace plait::api
