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

at::Tensor where_present(const at::Tensor& x, const at::Tensor& present, int64_t view) {
  return at::where(present.select(1, view).unsqueeze(1), x.to(at::kFloat),
                   at::zeros({}, at::kFloat));
}

/// The clean features of all views, or for half of the items a damaged copy drawn view by view.
std::vector<at::Tensor> draw_features(const TrustData& data, at::Generator& generator) {
  std::vector<at::Tensor> out;
  for (size_t m = 0; m < data.features.size(); ++m) {
    const auto& variants = data.features[m];
    at::Tensor x = variants[0];
    if (variants.size() > 1) {
      at::Tensor draw = at::rand({data.size(), 1}, generator);
      at::Tensor which = ((draw - 0.5).clamp_min(0) * 2 * static_cast<double>(variants.size() - 1))
                             .ceil()
                             .to(at::kLong);
      x = at::stack(variants, 1)
              .gather(1, which.unsqueeze(2).expand({data.size(), 1, x.size(1)}))
              .squeeze(1);
    }
    out.push_back(where_present(x, data.present, static_cast<int64_t>(m)));
  }
  return out;
}

std::vector<at::Tensor> clean_features(const TrustData& data) {
  std::vector<at::Tensor> out;
  for (const auto& variants : data.features) out.push_back(variants[0]);
  return out;
}

/// Remembers the weights of the epoch that did best on validation.
class BestEpoch {
 public:
  explicit BestEpoch(const TrustData& validation)
      : data_(validation), features_(clean_features(validation)) {}

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
    checked.push_back(where_present(x, present, m));
  }
  at::NoGradGuard no_grad;
  at::Tensor out = fuse(checked, present);
  at::Tensor none = present.any(1, /*keepdim=*/true).logical_not();
  return out.masked_fill(none, -std::log(static_cast<double>(out.size(1))));
}

FeatureScale::FeatureScale(int64_t width) {
  mean_ = add_buffer("mean", at::zeros({width}));
  deviation_ = add_buffer("deviation", at::ones({width}));
}

void FeatureScale::fit(const at::Tensor& x) {
  at::NoGradGuard no_grad;
  at::Tensor rows = x.to(at::kDouble);
  mean_.copy_(rows.mean(0));
  at::Tensor deviation = rows.std(0, /*unbiased=*/false);
  // A column that never changes says nothing; a deviation near 0 would blow up its rounding.
  deviation_.copy_(
      at::where(deviation > 1e-6 * (1 + rows.abs().amax(0)), deviation, at::ones_like(deviation)));
}

at::Tensor FeatureScale::operator()(const at::Tensor& x) const {
  return ((x - mean_) / deviation_).clamp(-100, 100);
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

std::vector<int64_t> widths_of(const TrustData& data) {
  std::vector<int64_t> out;
  for (const auto& variants : data.features) out.push_back(variants.at(0).size(1));
  return out;
}

std::shared_ptr<models::ModuleList<FeatureScale>> make_scales(const TrustData& train,
                                                              const BaselineOptions& options) {
  auto scales = std::make_shared<models::ModuleList<FeatureScale>>();
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
  for (int64_t width : widths_of(train)) views_->append<>(width, classes, options.hidden, options);
}

ViewNetwork::Out ViewNetworks::operator()(size_t view, const at::Tensor& features) const {
  return (*views_)[view]((*scales_)[view](features));
}

void check_views(const TrustData& data, int64_t classes, const char* what) {
  const auto views = static_cast<int64_t>(data.features.size());
  auto expect = [&](bool ok, const std::string& message) {
    if (!ok) fail(ErrorCode::kInvalidArgument, "baselines", std::string(what) + ": " + message);
  };
  expect(views > 0 && data.present.defined() && data.present.dim() == 2 &&
             data.present.size(1) == views && data.present.scalar_type() == at::kBool,
         "expected features and bool presence [N, M] of every view");
  expect(data.size() > 0 && data.target.defined() && data.target.dim() == 1 &&
             data.target.size(0) == data.size() && data.target.scalar_type() == at::kLong &&
             data.target.min().item<int64_t>() >= 0 && data.target.max().item<int64_t>() < classes,
         "expected an int64 class for every item");
  for (int64_t m = 0; m < views; ++m) {
    const auto& variants = data.features[static_cast<size_t>(m)];
    expect(!variants.empty(), "expected features of every view");
    at::Tensor absent = data.present.select(1, m).logical_not().unsqueeze(1);
    for (const at::Tensor& x : variants) {
      expect(x.defined() && x.dim() == 2 && x.size(0) == data.size() &&
                 x.size(1) == variants[0].size(1) && x.size(1) > 0,
             "expected features [N, D]");
      expect(at::logical_or(x.isfinite(), absent).all().item<bool>(),
             "expected finite features where a view is present");
    }
  }
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
