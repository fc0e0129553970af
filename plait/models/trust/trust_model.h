#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plait/models/trust/candidate_sets.h"
#include "plait/models/trust/conformal.h"
#include "plait/models/trust/conformal_intervals.h"
#include "plait/models/trust/decider.h"
#include "plait/models/trust/label_sets.h"

namespace plait::models {

/// Which streams to encode, cheapest useful one first, and when to stop: after the first answer
/// whose confidence reaches the threshold. Certified by Learn-then-Test (Angelopoulos et al. 2021,
/// https://arxiv.org/abs/2110.01052), for each loss by itself: with probability 1 − delta over the
/// calibration items, an early answer is wrong where the full one is right for at most a share
/// `loss` of the items, clean ones and damaged ones each.
struct Route {
  struct Stop {
    double loss = 0;           ///< What is promised
    double threshold = 2;      ///< Above 1: always go on to the end
    double expected_cost = 1;  ///< Share of all streams' cost, mean over clean calibration items
    double expected_accuracy = 0;  ///< On them
  };
  std::vector<int64_t> order;  ///< Streams; empty: no route was fitted
  std::vector<double> cost;    ///< Of each stream, multiply-adds of its encoder; may be empty
  std::vector<Stop> stops;     ///< By loss, rising
  double delta = 0;
  double full_accuracy = 0;  ///< On clean calibration items

  /// The cheapest stop that loses no more than `loss`; one that never stops early where none was
  /// certified for so little.
  Stop stop(double loss) const;
};

/// A task's trust fusion (classes, labels or values) with what was calibrated on top of it: who
/// answers for each subset of the streams (the guard's choice), temperatures, prediction sets,
/// abstention and the route. Immutable after fitting or loading, then thread-safe.
class TrustModel {
 public:
  explicit TrustModel(std::shared_ptr<TrustFusion> fusion);
  const TrustFusion& fusion() const { return *fusion_; }
  std::shared_ptr<TrustFusion> shared_fusion() const { return fusion_; }

  struct Verdict {
    at::Tensor log_probabilities;  ///< [B, K] calibrated
    at::Tensor breakage;           ///< [B, M] ε of the trust fusion, whoever answered
    at::Tensor support;            ///< [B, M, K] nats of the one who answered; 0 for the joint path
    at::Tensor weights;            ///< [B, M] shares of the evidence
    std::vector<Decider> deciders;  ///< Who answered, by item
    at::Tensor group;               ///< [B] int64: what the item's prediction set is drawn from
  };
  /// `joint` [B, K]: the network's own logits (of every option, as the fusion has them). Without
  /// them the trust fusion answers for subsets that `needs_joint`. @throws Error kInvalidArgument
  /// for shapes.
  Verdict decide(const Evidence& evidence, const at::Tensor& joint = {}) const;
  /// The same with what the fusion says of the items given.
  Verdict decide(const Evidence& evidence, const at::Tensor& joint, const TrustOutput& fused) const;
  bool needs_joint(const at::Tensor& present) const;
  /// [B, K] log probabilities of one decider, not tempered.
  at::Tensor decide_as(Decider decider, const Evidence& evidence, const at::Tensor& joint) const;

  /// [B]: the probability that the answer is right, see answers.h.
  at::Tensor confidence(const Verdict& verdict) const;
  bool has_intervals() const { return intervals_.fitted(); }
  /// Of values: lower and upper ends [B, R].
  std::pair<at::Tensor, at::Tensor> prediction_intervals(const Verdict& verdict,
                                                         double coverage) const;
  bool has_sets() const { return sets_.fitted() || label_sets_.fitted() || candidates_.fitted(); }
  /// [B, K] bool: of classes and candidates which of them, of labels which of the options no and
  /// yes of each (see LabelSets, CandidateSets). `class_conditional` changes nothing for
  /// candidates.
  at::Tensor prediction_sets(const Verdict& verdict, double coverage,
                             bool class_conditional = false) const;
  /// The least confidence at which the model answers when it may be wrong in a share `risk` of its
  /// answers; above 1 when no confidence allows for that.
  /// @throws Error kInvalidArgument for a risk below 0.01 or not below 1.
  double abstain_below(double risk) const;
  const Route& route() const { return route_; }

  /// Up to this many streams every subset is calibrated by itself, beyond it every number of them.
  static constexpr int64_t kMaxExactStreams = 4;
  /// [B] int64 of present [B, M]: the subset's bits, or how many are there.
  static at::Tensor group_of(const at::Tensor& present);

  /// [B] in [0, 1]: how far the streams contradict each other, Σ_{y ≠ z} b_m(y) c_m(z) with beliefs
  /// b_m = p_m − min p_m of what stream m says (as far as it is trusted) and c_m of what all others
  /// say, mean over the streams that are there (the conflict of Dempster's rule; who does not know
  /// contradicts nobody); 0 of one stream alone. Of values 1 − the cosine of the two densities.
  static at::Tensor conflict(const TrustFusion& fusion, const Evidence& evidence,
                             const TrustOutput& trust);
  /// [B]: ε over the streams that are there.
  static at::Tensor mean_breakage(const at::Tensor& breakage, const at::Tensor& present);

  /// Who answers for a group, and with which temperature.
  struct Choice {
    Decider decider = Decider::kTrust;
    double temperature = 1;
    /// The temperature of an item is temperature · exp(slope · its mean breakage + conflict_slope ·
    /// the conflict of its streams): answers from doubtful streams, or from such that contradict
    /// each other, are right less often than they say.
    double slope = 0;
    Json comparisons = Json::array();  ///< With every other decider, for the model card
    double conflict_slope = 0;
  };
  void set_ranking(std::vector<int64_t> ranking);
  void set_choice(int64_t group, Choice choice) { choices_[group] = std::move(choice); }
  const std::map<int64_t, Choice>& choices() const { return choices_; }
  const StaticFusions& statics() const { return *statics_; }
  /// Sums of mean breakage and conflict at which prediction sets are split, rising.
  void set_suspicion_bins(std::vector<double> edges) { bins_ = std::move(edges); }
  const std::vector<double>& suspicion_bins() const { return bins_; }
  const ConformalSets& sets() const { return sets_; }
  void set_sets(ConformalSets sets) { sets_ = std::move(sets); }
  void set_label_sets(LabelSets sets) { label_sets_ = std::move(sets); }
  void set_candidate_sets(CandidateSets sets) { candidates_ = std::move(sets); }
  void set_intervals(ConformalIntervals intervals) { intervals_ = std::move(intervals); }
  /// By risk.
  void set_abstention(std::map<double, double> thresholds) { abstention_ = std::move(thresholds); }
  void set_route(Route route) { route_ = std::move(route); }

  /// Everything but the fusion's weights.
  Json to_json() const;
  /// @throws Error kCorruptData for anything that to_json does not write.
  void load_json(const Json& json);
  /// "image+text", or "2 streams".
  std::string group_name(int64_t group) const;

 private:
  const Choice& choice(int64_t group) const;

  std::shared_ptr<TrustFusion> fusion_;
  std::shared_ptr<StaticFusions> statics_;
  std::map<int64_t, Choice> choices_;
  std::vector<double> bins_;
  ConformalSets sets_;
  LabelSets label_sets_;
  CandidateSets candidates_;
  ConformalIntervals intervals_;
  std::map<double, double> abstention_;
  Route route_;
};

}  // namespace plait::models
