#include "plait/train/trust/baseline_network.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/train/optimizer.h"

namespace plait::train {
namespace {

/// The clean features of all views, or for half of the items a damaged copy drawn view by view.
std::vector<at::Tensor> draw_features(const TrustData& data, at::Generator& generator) {
  std::vector<at::Tensor> out;
  for (size_t m = 0; m < data.features.size(); ++m)
    out.push_back(models::where_present(draw_copies(data.features[m], generator), data.present, m));
  return out;
}

/// Remembers the weights of the epoch that did best on validation.
class BestEpoch {
 public:
  explicit BestEpoch(const TrustData& validation)
      : data_(validation), features_(validation.clean()) {}

  void look(models::Module& network, const ViewClassifier& classifier) {
    network.train(false);
    at::Tensor log_p = classifier.log_probabilities(features_, data_.present);
    network.train(true);
    double right = log_p.argmax(1).eq(data_.target).sum().item<double>();
    double likelihood = -at::nll_loss(log_p, data_.target).item<double>();
    auto score = std::make_pair(right, likelihood);
    if (!weights_.empty() && score <= score_) return;
    score_ = score;
    weights_ = network.state_dict();
    for (auto& [name, tensor] : weights_) tensor = tensor.clone();
  }
  void restore(models::Module& network) const { network.load_state_dict(weights_); }

 private:
  const TrustData& data_;
  std::vector<at::Tensor> features_;
  std::pair<double, double> score_;
  TensorMap weights_;
};

void check_options(const BaselineOptions& o) {
  auto is_share = [](double p) { return p >= 0 && p < 1; };
  require(o.layers >= 0 && o.hidden >= 0 && o.epochs > 0 && o.batch_size > 0 && o.lr > 0 &&
              o.weight_decay >= 0 && is_share(o.dropout) && is_share(o.input_dropout),
          "baselines", "expected positive sizes and rates, and dropout in [0, 1)");
}

}  // namespace

at::Tensor ViewClassifier::log_probabilities(const std::vector<at::Tensor>& features,
                                             const at::Tensor& present) const {
  const auto views = static_cast<int64_t>(widths_.size());
  require(present.defined() && present.dim() == 2 && present.size(1) == views &&
              present.scalar_type() == at::kBool && features.size() == widths_.size(),
          "baselines", "expected features and bool presence [B, M] of every view");
  std::vector<at::Tensor> checked;
  for (int64_t m = 0; m < views; ++m) {
    const at::Tensor& x = features[static_cast<size_t>(m)];
    if (!x.defined() || x.dim() != 2 || x.size(0) != present.size(0) ||
        x.size(1) != widths_[static_cast<size_t>(m)]) {
      fail(ErrorCode::kInvalidArgument, "baselines",
           "expected features [" + std::to_string(present.size(0)) + ", " +
               std::to_string(widths_[static_cast<size_t>(m)]) + "] of view " + std::to_string(m) +
               ", got " + (x.defined() ? describe(x) : std::string("an undefined tensor")));
    }
    checked.push_back(models::where_present(x, present, static_cast<size_t>(m)));
  }
  at::NoGradGuard no_grad;
  at::Tensor out = fuse(checked, present);
  at::Tensor none = present.any(1, /*keepdim=*/true).logical_not();
  return out.masked_fill(none, -std::log(static_cast<double>(out.size(1))));
}

ViewNetwork::ViewNetwork(int64_t width, int64_t classes, int64_t hidden,
                         const BaselineOptions& options) {
  input_dropout_ = add<models::Dropout>("input_dropout", options.input_dropout);
  dropout_ = add<models::Dropout>("dropout", options.dropout);
  hidden_ = add<models::ModuleList<models::Linear>>("hidden");
  last_width_ = width;
  for (int64_t i = 0; i < options.layers; ++i) {
    const int64_t units = hidden > 0 ? hidden : width;
    hidden_->append<>(last_width_, units);
    last_width_ = units;
  }
  output_ = add<models::Linear>("output", last_width_, classes);
}

ViewNetwork::Out ViewNetwork::operator()(const at::Tensor& x) const {
  at::Tensor h = (*input_dropout_)(x);
  for (const auto& layer : *hidden_) h = (*dropout_)(at::gelu((*layer)(h)));
  return {h, (*output_)(h)};
}

std::shared_ptr<models::ModuleList<models::FeatureScale>> make_scales(
    const TrustData& train, const BaselineOptions& options) {
  auto scales = std::make_shared<models::ModuleList<models::FeatureScale>>();
  for (size_t m = 0; m < train.features.size(); ++m) {
    const at::Tensor& x = train.features[m][0];
    at::Tensor rows = train.present.select(1, static_cast<int64_t>(m)).nonzero().squeeze(1);
    require(rows.size(0) > 0, "baselines", "expected a training item with every view");
    auto scale = scales->append<>(x.size(1));
    if (options.standardise) scale->fit(x.index_select(0, rows));
  }
  return scales;
}

ViewNetworks::ViewNetworks(const TrustData& train, int64_t classes,
                           const BaselineOptions& options) {
  scales_ = add_child("scales", make_scales(train, options));
  views_ = add<models::ModuleList<ViewNetwork>>("views");
  for (int64_t width : train.widths()) views_->append<>(width, classes, options.hidden, options);
}

ViewNetwork::Out ViewNetworks::operator()(size_t view, const at::Tensor& features) const {
  return (*views_)[view]((*scales_)[view].bounded(features));
}

void train_baseline(models::Module& network, const ViewClassifier& classifier,
                    const TrustData& train, const TrustData& validation,
                    const BaselineOptions& options,
                    const std::function<at::Tensor(const ViewBatch&)>& loss) {
  check_options(options);
  SerialScope serial;
  at::AutoGradMode grad(true);
  network.initialize(options.seed);
  network.train(true);
  auto generator = at::detail::createCPUGenerator(mix_seed(options.seed, 1));
  network.set_generator(generator);
  ParameterGroup group{network.named_parameters(), 1.0, options.weight_decay};
  for (auto& [name, tensor] : group.parameters) tensor.requires_grad_(true);
  AdamW optimizer({group}, {});
  std::unique_ptr<BestEpoch> best;
  if (options.keep_best) best = std::make_unique<BestEpoch>(validation);

  const int64_t n = train.size();
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    std::vector<at::Tensor> features = draw_features(train, generator);
    int64_t seen = 0;
    for (const at::Tensor& rows : at::randperm(n, generator).split(options.batch_size)) {
      ViewBatch batch;
      for (const at::Tensor& x : features) batch.features.push_back(x.index_select(0, rows));
      batch.present = train.present.index_select(0, rows);
      batch.target = train.target.index_select(0, rows);
      batch.rows = rows;
      batch.epoch = static_cast<double>(epoch) + static_cast<double>(seen) / static_cast<double>(n);
      seen += rows.size(0);
      at::Tensor value = loss(batch);
      optimizer.zero_grad();
      value.backward();
      const double done = batch.epoch / static_cast<double>(options.epochs);
      optimizer.step(options.cosine ? options.lr * 0.5 * (1 + std::cos(M_PI * done)) : options.lr);
    }
    if (best) best->look(network, classifier);
  }
  if (best) best->restore(network);
  network.train(false);
  network.requires_grad_(false);
}

at::Tensor mean_of_present(const at::Tensor& values, const at::Tensor& present) {
  at::Tensor weight = present.to(values.dtype());
  return ((values * weight).sum(0) / weight.sum(0).clamp_min(1)).sum();
}

at::Tensor view_losses(const at::Tensor& logits, const at::Tensor& target) {
  const int64_t items = logits.size(0), views = logits.size(1);
  at::Tensor index = target.view({items, 1, 1}).expand({items, views, 1});
  return -at::log_softmax(logits, -1).gather(2, index).squeeze(2);
}

}  // namespace plait::train
