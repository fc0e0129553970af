#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plait/train/trainable.h"

namespace plait::train {

/// Rows of several batches below each other; the second extent (tokens) is padded with zeros to the
/// longest. The other extents must agree.
at::Tensor stack_rows(std::vector<at::Tensor> parts);

/// One stream for N items: frozen features, or (when its encoder is trained too) the encoder's own
/// inputs; an item that lacks the stream has any values and present = false.
struct FeatureTable {
  at::Tensor tokens;   ///< [N, T, D]; may be undefined
  at::Tensor mask;     ///< [N, T] bool; undefined when all tokens are real
  at::Tensor pooled;   ///< [N, D]; undefined when `inputs` holds what the encoder takes
  at::Tensor present;  ///< [N] bool; undefined when all are present
  at::Tensor quality;  ///< [N] in [0, 1]; undefined means 1
  TensorMap
      inputs;  ///< [N, ...] by name (pixel_values ...); variants may differ in their second extent
};

/// Features in memory: each stream has one or more variants of the same N items, variant 0 being
/// the clean one and the others damaged copies (as encoded from damaged inputs). In training each
/// stream of an item is damaged with probability `damage`, its copy drawn uniformly, all by
/// mix_seed(epoch_seed, index, stream); in evaluation (kEvaluationSeed) every stream is clean or
/// what `fix` asks for. Batches hold "encoded.tokens", "encoded.mask", "encoded.pooled" and are cut
/// to the longest item. Immutable after set-up, then thread-safe.
class FeatureDataset : public BatchSource {
 public:
  /// `targets` by task, [N, ...] each. @throws Error kInvalidArgument for row counts or shapes that
  /// do not match.
  FeatureDataset(std::map<std::string, std::vector<FeatureTable>> streams, TensorMap targets,
                 std::vector<std::string> ids = {}, double damage = 0.5);

  int64_t size() const override { return static_cast<int64_t>(rows_.size()); }
  Batch batch(const std::vector<int64_t>& indices, uint64_t epoch_seed) override;
  TensorMap presence() override;
  /// Number of variants of a stream; 0 when there is no such stream.
  int64_t variants(const std::string& stream) const;
  /// Of this view's items, in order.
  TensorMap targets() const;

  /// Groups of items that are not independent of each other (see Sample::group), by name; one per
  /// item. @throws Error kInvalidArgument for another number of them.
  void set_groups(std::vector<std::string> groups);
  /// Number of the group of each of this view's items [N] int64; the item's own where none were
  /// set.
  at::Tensor groups() const;

  /// A view for evaluation: `variant` fixes the copy per stream (others clean), `without` hides
  /// streams, `only` (when not empty) keeps just these. Shares the tensors.
  std::shared_ptr<FeatureDataset> fix(const std::map<std::string, int64_t>& variant,
                                      const std::vector<std::string>& without = {},
                                      const std::vector<std::string>& only = {}) const;
  /// A view of some items, by index. Random choices follow the index in the view.
  std::shared_ptr<FeatureDataset> subset(const std::vector<int64_t>& indices) const;

 private:
  struct Stream {
    FeatureTable table;  ///< Variants stacked: row v * N + i.
    int64_t variants = 1;
    int64_t fixed = 0;
    uint64_t salt = 0;
  };
  FeatureDataset(const FeatureDataset&) = default;
  int64_t variant_of(const Stream& stream, int64_t index, uint64_t epoch_seed) const;

  std::map<std::string, Stream> streams_;
  TensorMap targets_;
  std::vector<std::string> ids_;
  std::vector<int64_t> groups_;  ///< Of the items in the tables; empty: each is its own
  int64_t base_ = 0;             ///< Items in the tables.
  std::vector<int64_t> rows_;    ///< Item of this view → item in the tables.
  double damage_ = 0.5;
};

}  // namespace plait::train
