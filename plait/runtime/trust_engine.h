#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plait/models/trust/trust_model.h"
#include "plait/runtime/packed_expert.h"
#include "plait/runtime/packed_joint.h"

namespace plait::runtime {

/// A classification task's TrustModel for answers: experts, densities, consistency, gates, joint
/// expert, guard, temperatures and prediction sets in plain loops over packed weights, with no
/// tensor in between.
/// The numbers are the TrustModel's up to rounding (tests hold 1e-5), which stays the only owner of
/// what was calibrated and the one for fits and explanations. An absent stream costs nothing, and
/// nothing is allocated but what is returned. Immutable and thread-safe; runs on the calling
/// thread.
class TrustEngine {
 public:
  using Verdict = models::TrustModel::Verdict;

  /// Packs the weights as they are now: `model` must not be fitted any further.
  /// @throws Error kInvalidArgument unless `covers(*model)`.
  explicit TrustEngine(std::shared_ptr<const models::TrustModel> model,
                       const VectorLoops& loops = *vector_loops().front());
  /// Whether the task is one choice among classes.
  static bool covers(const models::TrustModel& model);
  const models::TrustModel& model() const { return *model_; }

  /// What TrustFusion::gather and TrustModel::decide say: pooled[m] [B, D_m] (undefined for a
  /// stream that no item has), quality and present [B, M], `joint` [B, K] or undefined.
  /// @throws Error kInvalidArgument for shapes, an item without any stream, or NaN in a feature.
  Verdict decide(const std::vector<at::Tensor>& pooled, const at::Tensor& quality,
                 const at::Tensor& present, const at::Tensor& joint = {}) const;
  /// As TrustModel::prediction_sets: [B, K] bool.
  at::Tensor prediction_sets(const Verdict& verdict, double coverage,
                             bool class_conditional = false) const;

  /// What one stream says of one item, kept while the others are still to come.
  struct Look {
    std::vector<float> record;  ///< Empty: absent
  };
  /// `pooled` [D] or [1, D].
  Look look(size_t stream, const at::Tensor& pooled) const;
  /// One look per stream; quality [M] or [1, M].
  Verdict decide(const std::vector<Look>& looks, const at::Tensor& quality) const;

  /// Of one item with the streams of `subset` (bit m: stream m is present), matrix products and
  /// distances; count_multiply_adds counts them too. At most: a joint expert is asked of the
  /// streams that are heard.
  int64_t multiply_adds(int64_t subset) const;

 private:
  struct Pair {
    PackedMatrix whitening;
    float shift = 0;
    bool fitted = false;
  };
  struct Gate {
    PackedMatrix hidden;
    std::vector<float> hidden_bias, output;
    float bias = 0;
    static constexpr int64_t kLooks = 3;  ///< How often it looks at the consensus
    int64_t multiply_adds() const {
      return hidden.multiply_adds() + static_cast<int64_t>(output.size());
    }
  };
  struct Item;
  struct Outputs;

  size_t streams() const { return experts_.size(); }
  int64_t multiply_adds_but_joint(int64_t subset) const;
  void look_at(size_t stream, const float* const* x, int64_t items, float* const* records,
               Arena& arena) const;
  Outputs prepare(int64_t items, Verdict& verdict) const;
  void decide_item(Item& item, Arena& arena) const;
  void compare_streams(Item& item, Arena& arena) const;
  void ask_gates(Item& item, Arena& arena) const;
  void look_around(const Item& item, const float* suspicion, float* inputs, float* excess,
                   Arena& arena) const;
  void pool(const Item& item, const float* breakage, float* support) const;
  void answer_by_trust(const Item& item, Arena& arena) const;
  float conflict(const Item& item, Arena& arena) const;
  void ask_jointly(const Item& item, float scale, Arena& arena) const;
  void answer_statically(models::Decider decider, const Item& item, Arena& arena) const;
  void share_evidence(const Item& item, Arena& arena) const;

  std::shared_ptr<const models::TrustModel> model_;
  const VectorLoops* loops_;
  int64_t classes_;
  std::vector<PackedExpert> experts_;
  std::vector<std::vector<Pair>> pairs_;  ///< [a][b]: b as a tells it
  std::vector<Gate> gates_;
  std::vector<float> log_prior_, prior_, scale_;
  float floor_ = 0, strength_ = 1;
  std::optional<PackedJoint> joint_;  ///< Of some weight
  float joint_weight_ = 0;
};

}  // namespace plait::runtime
