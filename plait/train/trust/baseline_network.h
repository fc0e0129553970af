#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "plait/models/layers/layers.h"
#include "plait/models/trust/feature_scale.h"
#include "plait/train/trust/view_classifier.h"

/// What the baselines have in common: the views' networks and the loop that trains them.
namespace plait::train {

/// dropout → (linear, GELU, dropout)* → linear.
class ViewNetwork : public models::Module {
 public:
  struct Out {
    at::Tensor last;  ///< [B, H], what the last layer takes.
    at::Tensor logits;
  };
  ViewNetwork(int64_t width, int64_t outputs, int64_t hidden, const BaselineOptions& options);
  Out operator()(const at::Tensor& x) const;
  int64_t last_width() const { return last_width_; }

 private:
  std::shared_ptr<models::Dropout> input_dropout_, dropout_;
  std::shared_ptr<models::ModuleList<models::Linear>> hidden_;
  std::shared_ptr<models::Linear> output_;
  int64_t last_width_;
};

/// One scale a view, fitted on its clean training items if the options say so, and the bound.
class ViewScales : public models::Module {
 public:
  ViewScales(const TrustData& train, const BaselineOptions& options);
  at::Tensor operator()(size_t view, const at::Tensor& features) const;

 private:
  double bound_;
  std::shared_ptr<models::ModuleList<models::FeatureScale>> views_;
};

/// One network a view, behind its scale. The names of the parameters begin with "views.<m>.".
class ViewNetworks : public models::Module {
 public:
  ViewNetworks(const TrustData& train, int64_t outputs, const BaselineOptions& options);
  ViewNetwork::Out operator()(size_t view, const at::Tensor& features) const;
  /// [B, M, outputs] of all views.
  at::Tensor logits(const ViewItems& items) const;
  size_t size() const { return views_->size(); }
  int64_t last_width(size_t view) const { return (*views_)[view].last_width(); }

 private:
  std::shared_ptr<ViewScales> scales_;
  std::shared_ptr<models::ModuleList<ViewNetwork>> views_;
};

/// One network on the scaled features of all views, or of some, side by side, 0 where absent.
class JointNetwork : public models::Module {
 public:
  /// `views` in rising order; empty: all.
  JointNetwork(const TrustData& train, int64_t outputs, int64_t hidden,
               const BaselineOptions& options, std::vector<int64_t> views = {});
  at::Tensor operator()(const ViewItems& items) const;

 private:
  std::vector<int64_t> chosen_;
  std::shared_ptr<ViewScales> scales_;
  std::shared_ptr<ViewNetwork> joint_;
};

struct ViewBatch : ViewItems {
  at::Tensor target, rows;  ///< rows: numbers of the items in the training set.
  double epoch = 0;         ///< With the share of the running one.
};

/// Initializes `network` and minimises `loss` over `train`; leaves it in evaluation mode without
/// gradients. `classifier` reads the same network and is asked for the best epoch. `adjust` may
/// change the gradients before every step.
void train_baseline(models::Module& network, const ViewClassifier& classifier,
                    const TrustData& train, const TrustData& validation,
                    const BaselineOptions& options,
                    const std::function<at::Tensor(const ViewBatch&)>& loss,
                    const std::function<void(const ViewBatch&)>& adjust = {});

/// Checks what every fit is given.
void check_baseline(const TrustData& train, const TrustData& validation, int64_t classes);

/// Sum over views of the mean of `values` [B, M] over the items that have the view.
at::Tensor mean_of_present(const at::Tensor& values, const at::Tensor& present);
/// [B, M, ...] → [B, ...], the mean over the present views; 0 without any.
at::Tensor mean_over_views(const at::Tensor& values, const at::Tensor& present);
/// [B, M] cross entropy of logits [B, M, K].
at::Tensor view_losses(const at::Tensor& logits, const at::Tensor& target);

}  // namespace plait::train
