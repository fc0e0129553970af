#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/train/trust/baseline_network.h"

namespace plait::train {
namespace {

class Network : public models::Module {
 public:
  Network(const TrustData& train, int64_t classes, const ConcatenationOptions& options) {
    scales_ = add_child("scales", make_scales(train, options));
    int64_t width = 0;
    for (int64_t w : train.widths()) width += w;
    const auto views = static_cast<int64_t>(train.features.size());
    joint_ = add<ViewNetwork>("joint", width, classes, options.hidden * views, options);
  }
  at::Tensor operator()(const std::vector<at::Tensor>& features, const at::Tensor& present) const {
    std::vector<at::Tensor> columns;
    for (size_t m = 0; m < features.size(); ++m) {
      at::Tensor here = present.select(1, static_cast<int64_t>(m)).unsqueeze(1);
      columns.push_back((*scales_)[m].bounded(features[m]) * here);
    }
    return (*joint_)(at::cat(columns, 1)).logits;
  }

 private:
  std::shared_ptr<models::ModuleList<models::FeatureScale>> scales_;
  std::shared_ptr<ViewNetwork> joint_;
};

class Concatenation : public ViewClassifier {
 public:
  Concatenation(const TrustData& train, int64_t classes, const ConcatenationOptions& options)
      : network(train, classes, options) {
    widths_ = train.widths();
  }
  Network network;

 protected:
  at::Tensor fuse(const std::vector<at::Tensor>& features,
                  const at::Tensor& present) const override {
    return at::log_softmax(network(features, present), 1);
  }
};

/// Hides views, but where none would be left the item keeps all.
at::Tensor hide_views(const at::Tensor& present, double probability, at::Generator& generator) {
  at::Tensor kept = present.logical_and(at::rand(present.sizes(), generator) >= probability);
  return at::where(kept.any(1, true), kept, present);
}

}  // namespace

std::shared_ptr<ViewClassifier> fit_concatenation(const TrustData& train,
                                                  const TrustData& validation, int64_t classes,
                                                  const ConcatenationOptions& options) {
  check(train, classes, "train");
  check(validation, classes, "validation");
  require(options.modality_dropout >= 0 && options.modality_dropout < 1, "baselines",
          "expected a modality dropout in [0, 1)");
  auto model = std::make_shared<Concatenation>(train, classes, options);
  at::Generator generator = at::detail::createCPUGenerator(mix_seed(options.seed, 2));
  train_baseline(model->network, *model, train, validation, options, [&](const ViewBatch& batch) {
    at::Tensor present = options.modality_dropout > 0
                             ? hide_views(batch.present, options.modality_dropout, generator)
                             : batch.present;
    return at::cross_entropy_loss(model->network(batch.features, present), batch.target);
  });
  return model;
}

}  // namespace plait::train
