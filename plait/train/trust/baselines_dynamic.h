#pragma once
#include <memory>
#include <vector>

#include "plait/train/trust/view_classifier.h"

/// Baselines that weigh, combine or choose the views' own decisions item by item (see baselines.h).
/// Notation: view m of M gives logits f_m(x) of K classes; S is the set of views that an item has.
namespace plait::train {

struct QmfOptions : BaselineOptions {
  double rank_weight = 1;  ///< λ
};

struct PdfOptions : BaselineOptions {
  double confidence_weight = 1;  ///< Of the confidence loss.
};

struct TmcOptions : BaselineOptions {
  double annealing_epochs = 10;  ///< Until the divergence counts fully.
};

struct FumlOptions : BaselineOptions {
  double norm = 3;  ///< p; the authors choose it by data set.
};

struct DynMmOptions : BaselineOptions {
  double cost_weight = 0.1;  ///< λ
  double temperature = 1;    ///< τ
  /// What it costs to read each view, in any unit; empty: the same for all.
  std::vector<double> view_cost = {};
  /// Sets of views, each rising, with a branch of their own beside each view alone and all.
  std::vector<std::vector<int64_t>> view_sets = {};
};

/// Quality-aware multimodal fusion: Zhang, Wu, Zhang, Hu, Fu, Zhou, Peng, "Provable Dynamic Fusion
/// for Low-Quality Multimodal Data", ICML 2023.
///   fused = Σ_{m∈S} w_m f_m,  w_m = −E_m / 10,  E_m = −log Σ_k exp f_mk  (the energy score);
///   loss = CE(fused) + Σ_m CE(f_m) + λ Σ_m rank_m,
///   rank over pairs (i, j) of a batch: max(0, g (w_i − w_j) + |κ_i − κ_j|), g = sign(κ_i − κ_j),
/// κ_i the item's losses summed over the epochs so far, scaled to [0, 1] over the training items:
/// an item that was hard to learn shall have a lower weight. The margin
/// |κ_i − κ_j| is added as in the ranking loss that QMF builds on (Moon et al., ICML 2020); the
/// authors' code takes it off, which changes little here.
std::shared_ptr<ViewClassifier> fit_qmf(const TrustData& train, const TrustData& validation,
                                        int64_t classes, const QmfOptions& options = {});

/// Predictive dynamic fusion: Cao, Xia, Ding, Zhang, Hu, "Predictive Dynamic Fusion", ICML 2024.
/// Per view, p̂_m predicts the probability that f_m gives to the true class, from f_m's last hidden
/// layer (gradients stop there).
///   Mono_m = p̂_m,  Holo_m = Σ_{j≠m} log p̂_j / Σ_j log p̂_j,  Co-Belief_m = Mono_m + Holo_m;
///   fused = Σ_m softmax_m(RC_m · Co-Belief_m) f_m;
///   RC_m = min(1, DU_m / mean_{j≠m} DU_j),  DU_m = (1/K) Σ_k |p_mk − 1/K|  (1 while training);
///   loss = CE(fused) + Σ_m CE(f_m) + Σ_m |p̂_m − p_m(y)|.
/// The paper's calibration compares two views; for more, the mean of the others takes the place of
/// the other one.
std::shared_ptr<ViewClassifier> fit_pdf(const TrustData& train, const TrustData& validation,
                                        int64_t classes, const PdfOptions& options = {});

/// Trusted multi-view classification: Han, Zhang, Fu, Zhou, "Trusted Multi-View Classification",
/// ICLR 2021. Evidence e_m = softplus(f_m), α_m = e_m + 1, an opinion b_mk = e_mk / Σα_m,
/// u_m = K / Σα_m; opinions of present views are combined by Dempster's rule (`combine_opinions`);
///   loss = Σ_{o ∈ views and combined} ψ(Σα_o) − ψ(α_oy) + λ_t KL(Dir(α̃_o) ‖ Dir(1)),
/// α̃ = α with 1 for the true class, λ_t = min(1, epoch / annealing_epochs). Probabilities are the
/// mean of the combined Dirichlet distribution.
std::shared_ptr<ViewClassifier> fit_tmc(const TrustData& train, const TrustData& validation,
                                        int64_t classes, const TmcOptions& options = {});

/// Fuzzy multi-view learning: Duan, Sun, Peng, Duan, Peng, Hu, "Deep Fuzzy Multi-view Learning for
/// Reliable Classification", ICML 2025.
///   memberships μ_m = max(0, f_m / ‖f_m‖_p);
///   credibility c(μ)_k = (μ_k + 1 − max_{j≠k} μ_j) / 2, the mean of possibility and necessity;
///   uncertainty u = Σ_k H₂(c_k) / (K log 2), H₂ the entropy of a yes-or-no choice;
///   conflict o_m = mean_{j≠m} (1 − cos(μ_m, μ_j));
///   fused μ = Σ_m softmax_m((1 − u_m)(1 − o_m)) μ_m over m ∈ S;
///   loss = BCE(c(μ)) + Σ_m BCE(c(μ_m)), summed over classes, where for training the necessity of
///   the true class looks at the others and that of another class at the true one alone.
/// Probabilities are c(μ) over its sum: the paper gives no distribution.
std::shared_ptr<ViewClassifier> fit_fuml(const TrustData& train, const TrustData& validation,
                                         int64_t classes, const FumlOptions& options = {});

/// A classifier that decides item by item which views it reads.
class DynMm : public ViewClassifier {
 public:
  /// [B, M] bool: the views of the branch that answers, all of them present.
  virtual at::Tensor used(const std::vector<at::Tensor>& features,
                          const at::Tensor& present) const = 0;
  /// The same with the views that the gate looks at: what has to be encoded before an answer.
  virtual at::Tensor needed(const std::vector<at::Tensor>& features,
                            const at::Tensor& present) const = 0;
};

/// Dynamic multimodal fusion, modality level: Xue, Marculescu, "Dynamic Multimodal Fusion", MULA at
/// CVPR 2023, https://arxiv.org/abs/2204.00102. Branches are each view's network alone and one
/// network on all views side by side; a gate on all views' features gives logits z over them.
///   First the branches learn, each from its own cross entropy; then they are frozen and the gate
///   learns for as many epochs: g = one_hot(argmax((z + Gumbel noise) / τ)) forward, its softmax
///   backward;  loss = CE(Σ_b g_b f_b) + λ Σ_b g_b cost_b,  cost_b the share of the cost of all
///   views that the branch's views have.
/// The branch of a view that is absent cannot be chosen; asked, the most probable branch answers.
std::shared_ptr<DynMm> fit_dynmm(const TrustData& train, const TrustData& validation,
                                 int64_t classes, const DynMmOptions& options = {});

/// One gate of several on the same branches.
struct DynMmGate {
  double cost_weight = 0.1;  ///< λ
  /// What it looks at, rising. Empty: all views, and looking is free as in the paper, whose gate
  /// reads features of all modalities (on MM-IMDB a VGG's of the poster) that were extracted before
  /// anything is counted. Else cost_b counts these views too: where a view's encoder is what costs,
  /// a gate that saw all of them would have spent everything before it chose.
  std::vector<int64_t> views = {};
};

/// The same for many gates, trained side by side on branches that are trained once; the cost_weight
/// of `options` is not looked at. A branch that lacks one of its views is not chosen, but for that
/// of all views. keep_best is for one gate only.
std::vector<std::shared_ptr<DynMm>> fit_dynmm_gates(const TrustData& train,
                                                    const TrustData& validation, int64_t classes,
                                                    const DynMmOptions& options,
                                                    const std::vector<DynMmGate>& gates);

/// QMF's weight of a view, [...] from its logits [..., K]: log Σ exp / 10, which falls as the
/// energy rises.
at::Tensor energy_weight(const at::Tensor& logits);

/// A subjective opinion over K classes: belief [..., K] and what is left uncertain [..., 1]; they
/// sum to 1.
struct Opinion {
  at::Tensor belief, uncertainty;
};

/// Of a Dirichlet distribution with parameters evidence + 1, [..., K].
Opinion opinion_of(const at::Tensor& evidence);
at::Tensor evidence_of(const Opinion& opinion);

/// Dempster's rule: b_k = (b1_k b2_k + b1_k u2 + b2_k u1) / (1 − C), u = u1 u2 / (1 − C),
/// C = Σ_{i≠j} b1_i b2_j. An opinion without belief changes nothing.
Opinion combine_opinions(const Opinion& first, const Opinion& second);

/// FUML's pieces: memberships [..., K] → credibility [..., K]; with a target [B] as in training.
at::Tensor credibility(const at::Tensor& membership, const at::Tensor& target = {});
/// Credibility [..., K] → its uncertainty [...] in [0, 1].
at::Tensor fuzzy_uncertainty(const at::Tensor& credibility);
/// Memberships [B, M, K], presence [B, M] → each view's mean conflict with the others, [B, M].
at::Tensor view_conflict(const at::Tensor& membership, const at::Tensor& present);

}  // namespace plait::train
