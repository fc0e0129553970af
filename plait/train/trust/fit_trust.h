#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "plait/models/trust/trust_fusion.h"
#include "plait/train/trust/trust_data.h"

namespace plait::train {

struct TrustOptions {
  int64_t hidden = 128;
  double dropout = 0.2;
  int64_t landmarks = 1024;  ///< Of the experts' radial basis functions, at most; 0: networks alone
  int64_t components = 16;
  double floor = 0.05;
  int64_t expert_epochs = 60;
  double expert_lr = 2e-3;
  double weight_decay = 1e-2;
  int64_t batch_size = 64;
  double label_smoothing = 0;
  int64_t joint = 64;  ///< Width of the joint expert's tokens; 0: none
  int64_t joint_epochs = 30;
  double joint_lr = 3e-3;
  int64_t joint_batch = 128;
  double joint_dropout = 0.3;  ///< Of whole streams, while it is trained
  int64_t folds = 4;
  int64_t bank_passes = 8;   ///< Damaged copies of the training set that the gates learn from
  int64_t min_bank = 12000;  ///< Items in the bank at least: more passes over small sets
  int64_t gate_epochs = 16;
  double gate_lr = 5e-3;
  double gate_decay = 0.85;  ///< Of the learning rate, per epoch
  double own_loss = 0.2;     ///< Weight of each stream's own likelihood beside the fused one
  int64_t gate_batch = 256;
  uint64_t seed = 0;
  /// Of values: the classes are its bins.
  std::shared_ptr<const models::ValueGrid> grid = nullptr;
  /// Of candidates: scores [N, M, classes] of items `rows` [N] of the training data with these
  /// features
  /// ([M] of [N, D_m], damaged or not), each of its own candidates, the right one last.
  std::function<at::Tensor(const std::vector<at::Tensor>& features, const at::Tensor& rows)>
      candidate_scores = {};
  /// Called with what is being done and its share in [0, 1].
  std::function<void(const std::string& stage, double share)> progress;
};

/// A fitted fusion, and what the experts said of training items that they had not seen: for
/// choosing and calibrating anything else on the same terms.
struct TrustFit {
  std::shared_ptr<models::TrustFusion> trust;
  /// Out of fold, tempered: items as they are, those of the bank, and (where there are encoded
  /// damaged copies) items with one stream replaced by each of its copies, and (where there are two
  /// streams or more) items with one stream of another item.
  models::Evidence clean, damaged, copies, swapped;
  at::Tensor clean_target, damaged_target, copies_target, swapped_target;
  /// [N] int64 which training item it is
  at::Tensor clean_item, damaged_item, copies_item, swapped_item;
  /// The fusion with gates that were trained on about half of the items each, and by training item
  /// [N] int64 which of them has not seen it: an honest view of what gates do on new items.
  std::vector<std::shared_ptr<models::TrustFusion>> held_out;
  at::Tensor item_gates;
};

/// Several questions at once (targets [N, Q], `classes` options each) share all but the answers:
/// see TrustFusion. Of values `classes` is the number of bins, the targets are bins_of the values.
///
/// Fits experts (each on its own, so that no stream crowds another out), what share of each is its
/// network's, temperatures and densities on logits that no expert was trained on (out of fold),
/// then the gates on a bank of damaged items, last the scale of every subset, clean and damaged,
/// out of fold too: no item is set aside.
/// Deterministic in the seed on one number of threads.
/// @throws Error kInvalidArgument for shapes that do not match, fewer than two items a fold, or a
/// stream that is not finite where present.
TrustFit fit_trust(const TrustData& train, const std::vector<std::string>& streams, int64_t classes,
                   const TrustOptions& options);

}  // namespace plait::train
