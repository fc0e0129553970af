#pragma once
#include <memory>

#include "plait/core/json.h"
#include "plait/train/trust/view_classifier.h"

/// Baselines whose views are trained together towards one decision (see baselines.h).
/// Notation: view m of M gives logits f_m(x) of K classes; S is the set of views that an item has.
namespace plait::train {

struct OgmGeOptions : BaselineOptions {
  double alpha = 0.3;      ///< How sharply the stronger views are held back.
  double modulated = 0.5;  ///< Share of the epochs in which they are.
};

struct MbtOptions : BaselineOptions {
  int64_t tokens = 4;       ///< Of each view, beside its class token.
  int64_t bottlenecks = 4;  ///< B
  int64_t width = 32;
  int64_t heads = 2;
  int64_t fusion_layers = 2;  ///< The first fills the bottlenecks, so that one alone fuses nothing.
};

struct FusionLayerOptions : BaselineOptions {
  int64_t width = 64;  ///< Of the projected views and the fused feature.
};

/// Late fusion trained jointly: log softmax of mean_{m∈S} f_m, one cross entropy.
std::shared_ptr<ViewClassifier> fit_logit_mean(const TrustData& train, const TrustData& validation,
                                               int64_t classes,
                                               const BaselineOptions& options = {});

/// One network on the features of all views side by side, 0 (the mean) for an absent one; `hidden`
/// counts per view, so that the joint layer has M times as many units.
std::shared_ptr<ViewClassifier> fit_concatenation(const TrustData& train,
                                                  const TrustData& validation, int64_t classes,
                                                  const BaselineOptions& options = {});

/// On-the-fly gradient modulation with generalisation enhancement: Peng, Wei, Deng, Wang, Hu,
/// "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022. A linear layer on
/// the views' hidden features side by side, which is Σ_{m∈S} f_m with f_m = W_m h_m + b_m;
///   s_m the mean over a batch of softmax(f_m)_y,  ρ_m = s_m / mean_{j≠m} s_j,
///   k_m = 1 − tanh(α ρ_m) where ρ_m > 1, else 1;
/// every weight matrix below h_m gets the gradient k_m g + N(0, sd(g)²), sd over its elements.
/// The paper has two views; for more, the mean of the others takes the place of the other one.
std::shared_ptr<ViewClassifier> fit_ogm_ge(const TrustData& train, const TrustData& validation,
                                           int64_t classes, const OgmGeOptions& options = {});

/// Multimodal bottleneck transformer: Nagrani, Yang, Arnab, Jansen, Schmid, Sun, "Attention
/// Bottlenecks for Multimodal Fusion", NeurIPS 2021. Each view's features are projected to a few
/// tokens z_m and a class token, then
///   [z_m, β_m] ← Transformer_m([z_m, β]),  β ← mean_{m∈S} β_m,
/// so that views exchange B tokens only. Log softmax of the mean over S of a linear layer on each
/// view's class token. The frozen encoders stand for the paper's layers before the fusion; the
/// width, 32, keeps the time to that of the other attention baselines.
std::shared_ptr<ViewClassifier> fit_mbt(const TrustData& train, const TrustData& validation,
                                        int64_t classes, const MbtOptions& options = {});

/// Plait's own fusion layers: every view through its network to one width, the registered
/// models::Fusion `fusion` ({"type": "dma"}; "streams" and "width" are filled in) with quality and
/// presence, a linear head on what it fused, one cross entropy (and the fusion's own term).
/// @throws Error kInvalidArgument for a fusion of decisions, which has nothing to train jointly.
std::shared_ptr<ViewClassifier> fit_fusion_layer(const TrustData& train,
                                                 const TrustData& validation, int64_t classes,
                                                 const Json& fusion,
                                                 const FusionLayerOptions& options = {});

/// OGM's k [M] from the views' mean probabilities of the true class, s [M].
at::Tensor modulation(const at::Tensor& score, double alpha);

}  // namespace plait::train
