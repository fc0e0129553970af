#pragma once
#include <memory>
#include <vector>

#include "plait/models/trust/trust_model.h"
#include "plait/train/trust/fit_trust.h"

namespace plait::train {

/// As they are; of the damage bank; with a stream encoded from a damaged input; with a stream of
/// another item. The last kind tells how sure answers from streams that disagree may be, and
/// nothing else: nobody could know which stream is wrong.
enum class ItemKind : int64_t { kClean = 0, kBank = 1, kCopy = 2, kSwap = 3 };

/// Items that no expert was trained on: N rows, of which several may be of one item.
struct TrustItems {
  models::Evidence evidence;
  at::Tensor target;  ///< [N] int64, [N, Q] of several questions
  at::Tensor item;    ///< [N] int64
  at::Tensor kind;    ///< [N] int64 of ItemKind
  /// [N, K] logits of the network's own fusion, NaN in rows where it was not asked; undefined when
  /// it never was.
  at::Tensor joint;
  /// Gates that were trained without some of the items, and which of them a row is new to (-1: the
  /// model's own); undefined: the model's own for all.
  std::vector<std::shared_ptr<models::TrustFusion>> held_out = {};
  at::Tensor gates = {};  ///< [N] int64
};

TrustItems select(const TrustItems& items, const at::Tensor& rows);
/// @throws Error kInvalidArgument for no items or shapes.
void check(const TrustItems& items);
/// [N] bool
at::Tensor of_kind(const TrustItems& items, ItemKind kind);
/// [N'] int64: one row of every item, drawn from the seed.
at::Tensor one_row_per_item(const TrustItems& items, uint64_t seed);
models::TrustOutput select(const models::TrustOutput& output, const at::Tensor& rows);
/// Writes what is said of `rows` of `count` items into `all`, undefined at first.
void put_rows(models::TrustOutput& all, const at::Tensor& rows, const models::TrustOutput& part,
              int64_t count);
/// What the fusion says of items that its gates were not trained on.
models::TrustOutput fuse(const models::TrustModel& model, const TrustItems& items);
/// The same of the whole model.
models::TrustModel::Verdict decide(const models::TrustModel& model, const TrustItems& items);

/// What the fit's experts said of items that they had not seen: as they are, one row of the bank
/// and one damaged copy for each. More of the damage would make clean answers look unsure.
TrustItems out_of_fold_items(const TrustFit& fit, uint64_t seed);
/// Every row once more for every non-empty subset of its streams (up to four streams), or for every
/// number of them (drawn from the seed); swapped items only for two streams or more, of which one
/// may still be right. Only for items without `joint`: that depends on the subset.
TrustItems every_subset(const TrustItems& items, uint64_t seed);
/// Rows of both; they share their held-out gates, or one has none.
TrustItems stack(const TrustItems& a, const TrustItems& b);

}  // namespace plait::train
