#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "plait/train/trust/trust_data.h"

/// What all baselines of the trust fusion share: how they are asked and how they are trained.
namespace plait::train {

/// Items as a classifier of views reads them.
struct ViewItems {
  std::vector<at::Tensor> features;  ///< [M] of [B, D_m], 0 where absent
  at::Tensor present;                ///< [B, M] bool
  at::Tensor quality;                ///< [B, M] in [0, 1], 0 where absent
};

/// A fitted classifier of items that are described in several views. Thread-safe once fitted.
class ViewClassifier {
 public:
  virtual ~ViewClassifier() = default;
  /// `features` [M] of [B, D_m], `present` [B, M] bool; what an absent view holds does not matter
  /// (it may be NaN). `quality` [B, M] in [0, 1] is the score of each input's signal, undefined: 1
  /// everywhere; most baselines do not look at it. An item without any view gets the same
  /// probability for every class.
  /// @return [B, K] log probabilities.
  /// @throws Error kInvalidArgument for shapes that do not match.
  at::Tensor log_probabilities(const std::vector<at::Tensor>& features, const at::Tensor& present,
                               const at::Tensor& quality = {}) const;

 protected:
  virtual at::Tensor fuse(const ViewItems& items) const = 0;
  /// The same checks and cleaning for further methods of a baseline.
  ViewItems checked(const std::vector<at::Tensor>& features, const at::Tensor& present,
                    const at::Tensor& quality) const;
  std::vector<int64_t> widths_;
};

/// What a baseline sees beside the clean items.
enum class Augmentation {
  kNone,
  kCopies,  ///< Half of the draws are damaged copies (variants beyond the first), if there are any.
  kBank,    ///< The damage that the gates of the trust fusion learn from, drawn anew every epoch.
};

/// What all baselines share. The defaults are the budget of the trust fusion's experts, but for the
/// learning rate and the bound, which `baseline_options` knows for each. On the handwritten digits
/// none of these did better by more than half a point for QMF, PDF, TMC and concatenation (tried,
/// not crossed: 20, 60 and 150 epochs; decay 1e-2 and 1e-1; input dropout 0.2 and 0.5; no hidden
/// layer; the best epoch).
struct BaselineOptions {
  int64_t layers = 1;    ///< Hidden layers of a view's network; 0: a linear classifier.
  int64_t hidden = 128;  ///< Units in each; 0: as many as the view has features.
  double dropout = 0.2;  ///< After every hidden layer.
  double input_dropout = 0.2;
  bool standardise = true;  ///< By the clean training items; else features are taken as they are.
  /// Scaled features beyond ±this become it: a value a hundred deviations away is broken. Lower, it
  /// keeps loud noise from drowning the other views.
  double bound = 100;
  Augmentation augmentation = Augmentation::kCopies;
  /// Each view is hidden with this probability while training, but never all.
  double modality_dropout = 0;
  int64_t epochs = 60;
  double lr = 5e-4;
  bool cosine = true;  ///< The learning rate falls to 0 as half a cosine; else it stays.
  double weight_decay = 1e-2;
  int64_t batch_size = 64;
  /// The epoch that is best on `validation` (accuracy, then likelihood) instead of the last one.
  bool keep_best = false;
  uint64_t seed = 0;
  /// Called after every epoch with the classifier as it is then, from the calling thread.
  std::function<void(const ViewClassifier& classifier, int64_t epoch)> on_epoch = {};
};

}  // namespace plait::train
