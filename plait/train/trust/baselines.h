#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "plait/train/trust/fit_trust.h"

/// Published ways of fusing views that a claim about the trust fusion is measured against, written
/// from their papers, on the same inputs and with the same budget as its experts.
///
/// Every fit takes items as `fit_trust` does: variants beyond the first, if any, are damaged copies
/// that half of the draws come from. It is deterministic in the seed on one number of threads.
/// @throws Error kInvalidArgument for shapes or options that do not fit, no item, or features that
/// are not finite where present.
///
/// Notation: view m of M gives logits f_m(x) of K classes; S is the set of views that an item has.
namespace plait::train {

/// A fitted classifier of items that are described in several views. Thread-safe once fitted.
class ViewClassifier {
 public:
  virtual ~ViewClassifier() = default;
  /// `features` [M] of [B, D_m], `present` [B, M] bool; what an absent view holds does not matter
  /// (it may be NaN). An item without any view gets the same probability for every class.
  /// @return [B, K] log probabilities.
  /// @throws Error kInvalidArgument for shapes that do not match.
  at::Tensor log_probabilities(const std::vector<at::Tensor>& features,
                               const at::Tensor& present) const;

 protected:
  /// The same for checked features, 0 where a view is absent.
  virtual at::Tensor fuse(const std::vector<at::Tensor>& features,
                          const at::Tensor& present) const = 0;
  std::vector<int64_t> widths_;
};

/// What all baselines share. The defaults are the budget of the trust fusion's experts, but for the
/// learning rate: on the validation items of the handwritten digits a quarter of theirs did best or
/// within half a point of it for every baseline, mean over clean and damaged (tried, not crossed:
/// 5e-4, 1e-3, 2e-3 and 5e-3; 20, 60 and 150 epochs; decay 1e-2 and 1e-1; input dropout 0.2 and
/// 0.5; no hidden layer; the best epoch).
struct BaselineOptions {
  int64_t layers = 1;    ///< Hidden layers of a view's network; 0: a linear classifier.
  int64_t hidden = 128;  ///< Units in each; 0: as many as the view has features.
  double dropout = 0.2;  ///< After every hidden layer.
  double input_dropout = 0.2;
  bool standardise = true;  ///< By the clean training items; else features are taken as they are.
  int64_t epochs = 60;
  double lr = 5e-4;
  bool cosine = true;  ///< The learning rate falls to 0 as half a cosine; else it stays.
  double weight_decay = 1e-2;
  int64_t batch_size = 64;
  /// The epoch that is best on `validation` (accuracy, then likelihood) instead of the last one.
  bool keep_best = false;
  uint64_t seed = 0;
};

struct QmfOptions : BaselineOptions {
  double rank_weight = 1;  ///< λ
};

struct PdfOptions : BaselineOptions {
  double confidence_weight = 1;  ///< Of the confidence loss.
};

struct TmcOptions : BaselineOptions {
  double annealing_epochs = 10;  ///< Until the divergence counts fully.
};

struct ConcatenationOptions : BaselineOptions {
  double modality_dropout = 0;  ///< Each view is hidden with this probability, but never all.
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

/// One network on the features of all views side by side, 0 (the mean) for an absent one; `hidden`
/// counts per view, so that the joint layer has M times as many units.
std::shared_ptr<ViewClassifier> fit_concatenation(const TrustData& train,
                                                  const TrustData& validation, int64_t classes,
                                                  const ConcatenationOptions& options = {});

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

}  // namespace plait::train
