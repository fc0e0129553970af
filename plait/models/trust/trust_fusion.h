#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/trust/consistency.h"
#include "plait/models/trust/joint_expert.h"
#include "plait/models/trust/stream_expert.h"

namespace plait::models {

/// What the streams say of B items, and how each looks: M streams, K classes (of a task with
/// several questions K = Q · C: the options of one question after those of another, see
/// questions.h). Rows of absent streams hold any finite values.
struct Evidence {
  at::Tensor log_probabilities;  ///< [B, M, K] calibrated experts
  at::Tensor p_value;            ///< [B, M] of the density, in (0, 1]
  at::Tensor unusual;            ///< [B, M] how far from clean features, see ClassDensity
  at::Tensor excess;             ///< [B, M] ≥ 0, how far beyond anything useful
  at::Tensor consistency;        ///< [B, M, M] nats, see CrossConsistency
  at::Tensor quality;            ///< [B, M] in [0, 1]
  at::Tensor present;            ///< [B, M] bool
  /// [B, M, D] what the joint expert reads of each stream; undefined without one.
  at::Tensor tokens = {};
  /// Joint experts that have not seen some of the items, and which of them reads a row's tokens
  /// (-1: the fusion's own) [B] int64; undefined: the fusion's own for all.
  at::Tensor reader = {};
  std::vector<std::shared_ptr<const JointExpert>> readers = {};
};

struct TrustOutput {
  at::Tensor log_probabilities;  ///< [B, K]
  at::Tensor breakage;           ///< [B, M] probability ε that the stream misleads; 1 where absent
  at::Tensor support;            ///< [B, M, K] nats that each stream adds to each class
  at::Tensor weights;            ///< [B, M] share of the evidence; 0 where absent, sums to 1
};

/// Contamination-robust product of experts:
///
///   log p(y) = log π(y) + a_S Σ_{m∈S} log[((1 − ε_m) p_m(y) + ε_m π(y)) / π(y)]
///
/// p_m are calibrated experts, π the prior, S the present streams, a_S one scalar per subset.
/// ε_m = 1 − σ(g_m(r_m)) · exp(−3 · [excess_m − κ_m · min_{j≠m} excess_j]₊), at least ε₀: a small
/// gate g_m reads entropy, confidence, agreement with the consensus of the others, consistency with
/// them and among them, density (its own and the least unusual other's) and signal quality; beyond
/// anything seen
/// the density alone switches a stream off. What all streams share of such an excess does not count
/// as far as they agree beyond chance (κ_m): a change of everything at once is no single stream's
/// defect. One stream moves no log-odds by more than a·log(1 + (1 − ε₀)/(ε₀ π_min)): no input can
/// outvote the others by being loud. Thread-safe in eval mode.
///
/// With a joint expert J of weight w (see JointExpert), where two streams or more are heard
/// (ε_m < 1/2, the set H):
///
///   log p(y) = log π(y) + a_S [(1 − w) Σ_{m∈S} (as above) + w log[((1 − ε_J) p_J(y | H) + ε_J
///   π(y)) / π(y)]],  ε_J = 1 − Π_{m∈H} (1 − ε_m)
///
/// and one stream moves no log-odds by more than 1 + w times the bound above. What J adds is
/// credited to the streams of H in equal parts.
///
/// Q questions at once (labels with the options no and yes, or several values) have log p(y) each
/// for itself and one ε_m of all: what a gate reads is their mean. Values are densities on the bins
/// of a ValueGrid: then the experts are Gaussians, and with their ε contaminated ones.
class TrustFusion : public Module {
 public:
  struct Config {
    std::vector<std::string> streams;
    std::vector<int64_t> widths;  ///< Of each stream's features
    int64_t classes = 0;          ///< Of each question
    int64_t questions = 1;        ///< Labels, or values
    bool values = false;          ///< The classes are bins of values
    bool candidates = false;      ///< The classes are candidates, others for every item
    int64_t hidden = 64;          ///< Of the experts; 0 = linear
    double dropout = 0.2;
    int64_t landmarks = 1024;  ///< Of the experts' radial basis functions; 0: networks alone
    int64_t components = 16;   ///< Principal components of the densities
    int64_t gate_hidden = 24;  ///< Of the gates
    double floor = 0.05;       ///< ε₀
    int64_t joint = 0;         ///< Width of the joint expert's tokens; 0: none
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };
  static constexpr int64_t kGateInputs = 13;
  static constexpr int64_t kMaxStreams = 12;
  static constexpr double kHeard = 0.5;  ///< Streams of less breakage are heard by the joint expert

  explicit TrustFusion(Config config);
  const Config& config() const { return config_; }
  StreamExpert& expert(size_t m) { return *experts_[m]; }
  const StreamExpert& expert(size_t m) const { return *experts_[m]; }
  /// K: questions · classes.
  int64_t options() const { return config_.questions * config_.classes; }
  /// The bins of values; null for classes.
  const ValueGrid* grid() const { return grid_.get(); }
  /// Takes a fitted grid's bins. @throws Error kInvalidArgument for another number of them.
  void set_grid(const ValueGrid& grid);
  /// Log probabilities [..., K], each question by itself.
  at::Tensor normalise(const at::Tensor& scores) const;
  /// Log probabilities [B, K] made less sure by temperatures [B, 1]: of classes towards all alike,
  /// of labels and values towards the prior.
  at::Tensor temper(const at::Tensor& log_probabilities, const at::Tensor& temperature) const;
  CrossConsistency& consistency() { return *consistency_; }
  /// Null without one.
  const std::shared_ptr<JointExpert>& joint() const { return joint_; }
  /// What the experts, densities and the consistency say of features; temperatures not applied.
  struct Raw {
    at::Tensor logits;       ///< [B, M, K]
    at::Tensor distance;     ///< [B, M]
    at::Tensor consistency;  ///< [B, M, M]
    at::Tensor tokens = {};  ///< [B, M, D] of the joint expert; undefined without one
  };
  Raw look(const std::vector<at::Tensor>& pooled, const at::Tensor& present) const;
  /// pooled[m] as the experts take it: 0 where absent.
  at::Tensor features_of(const std::vector<at::Tensor>& pooled, const at::Tensor& present,
                         size_t m) const;
  /// The density's coordinates [B, P_m + 1] of these.
  at::Tensor coordinates_of(const at::Tensor& features, size_t m) const;
  /// Tempers and compares with the references.
  Evidence weigh(const Raw& raw, const at::Tensor& quality, const at::Tensor& present) const;
  /// The gates' own parameters.
  std::vector<at::Tensor> gate_parameters() const;
  /// Draws the gates anew, the experts stay.
  void initialize_gates(uint64_t seed);
  void reset_parameters(at::Generator& generator) override;
  const at::Tensor& log_prior() const { return log_prior_; }

  /// pooled[m] [B, D_m] raw features (undefined for a stream that no item has), quality and present
  /// [B, M]. @throws Error kInvalidArgument for shapes, an item without any stream, or features
  /// that are not finite where the stream is present.
  Evidence gather(const std::vector<at::Tensor>& pooled, const at::Tensor& quality,
                  const at::Tensor& present) const;
  /// For candidates, any number K of them, which are other ones for every item: each stream's
  /// scores [B, M, K] (say, of similarity) are given, and calibrated here.
  Evidence gather_candidates(const std::vector<at::Tensor>& pooled, const at::Tensor& scores,
                             const at::Tensor& quality, const at::Tensor& present) const;
  /// log π [K] of these items: of candidates all alike.
  at::Tensor prior_of(const Evidence& evidence) const;
  /// Differentiable in the gates and in Evidence.
  TrustOutput fuse(const Evidence& evidence) const;
  /// As `fuse` with breakage [B, M] given (an ablation, or an oracle).
  TrustOutput fuse_with(const Evidence& evidence, const at::Tensor& breakage) const;
  at::Tensor breakage(const Evidence& evidence) const;
  /// TrustOutput::support alone, at less cost.
  at::Tensor support(const Evidence& evidence, const at::Tensor& breakage) const;
  at::Tensor support(const Evidence& e) const { return support(e, breakage(e)); }

  /// [K], each question by itself made to sum to 1.
  void set_prior(const at::Tensor& probabilities);
  /// The scalar a_S of a subset, bit m set when stream m is present.
  void set_scale(int64_t subset, double value);
  /// How far the gates are heard: ε = ε₀ + strength · (what they say − ε₀), but never less than
  /// what the density alone says of a stream beyond anything seen. 0 is the robust product with
  /// such streams switched off.
  void set_strength(double value);
  double strength() const;
  /// The joint expert's part w in [0, 1] of the evidence.
  void set_joint_weight(double value);
  double joint_weight() const;
  double scale(int64_t subset) const;
  /// [B, M] bool → [B] int64 of subset bits.
  static at::Tensor subset_of(const at::Tensor& present);

 private:
  /// What is the same in every look at the others.
  struct Known {
    double log_options = 0;
    at::Tensor p, ratio;  ///< [B, M, K] what the experts say, and over the prior
    at::Tensor alike;     ///< [B, M] by question: chance agreement; of values the sum of squares
    at::Tensor entropy, surest, log_p_value, bounded_excess, quality;  ///< [B, M]
    at::Tensor least_unusual, least_excess;                            ///< [B, M] of the others
  };
  Known know(const Evidence& e) const;
  /// One look at the others, whom `suspicion` [B, M] weighs.
  struct Look {
    at::Tensor inputs;  ///< [B, M, kGateInputs]
    at::Tensor excess;  ///< [B, M] beyond what all streams share as far as they agree
  };
  Look look_at(const Evidence& e, const Known& known, const at::Tensor& suspicion) const;
  at::Tensor breakage_of(const Evidence& e, const std::vector<at::Tensor>& gates) const;
  at::Tensor pool(const Evidence& e, const at::Tensor& breakage) const;
  /// The same of the joint expert, by stream, before the scale, and where [B] bool it was asked.
  struct Together {
    at::Tensor support, asked;
  };
  Together ask_jointly(const Evidence& e, const at::Tensor& breakage) const;

  Config config_;
  std::shared_ptr<ValueGrid> grid_;
  std::vector<std::shared_ptr<StreamExpert>> experts_;
  std::shared_ptr<CrossConsistency> consistency_;
  std::shared_ptr<JointExpert> joint_;
  at::Tensor weight1_, bias1_, weight2_, bias2_, log_prior_, scale_, strength_, joint_weight_;
};

}  // namespace plait::models
