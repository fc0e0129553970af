#include "plait/train/trust/baseline_network.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/train/optimizer.h"
#include "plait/train/trust/damage_bank.h"

namespace plait::train {
namespace {

at::Tensor quality_of(const TrustData& data, size_t view, size_t variant) {
  if (data.quality.empty()) return at::ones({data.size()});
  return data.quality.at(view).at(variant).to(at::kFloat);
}

/// What the epochs of a training see.
class Epochs {
 public:
  Epochs(const TrustData& data, const BaselineOptions& options)
      : data_(data), seed_(options.seed), bank_(options.augmentation == Augmentation::kBank) {
    const bool copies = options.augmentation == Augmentation::kCopies;
    for (size_t m = 0; m < data.features.size(); ++m) {
      const size_t variants = copies ? data.features[m].size() : 1;
      // The quality of a copy has to be drawn with it, so it travels as one more column.
      joined_.emplace_back();
      for (size_t v = 0; v < variants; ++v)
        joined_[m].push_back(
            at::cat({data.features[m][v].to(at::kFloat), quality_of(data, m, v).unsqueeze(1)}, 1));
    }
    if (bank_) prepare_bank();
  }

  ViewItems draw(int64_t epoch, at::Generator& generator) const {
    ViewItems out;
    if (bank_) {
      BankItems items = draw_bank(data_, mean_, deviation_,
                                  mix_seed(seed_, kBankSeed, static_cast<uint64_t>(epoch)));
      return {std::move(items.features), items.present, items.quality};
    }
    std::vector<at::Tensor> quality;
    for (size_t m = 0; m < joined_.size(); ++m) {
      at::Tensor drawn =
          models::where_present(draw_copies(joined_[m], generator), data_.present, m);
      const int64_t width = drawn.size(1) - 1;
      out.features.push_back(drawn.slice(1, 0, width));
      quality.push_back(drawn.select(1, width));
    }
    out.present = data_.present;
    out.quality = at::stack(quality, 1);
    return out;
  }

 private:
  static constexpr uint64_t kBankSeed = 3;

  /// The bank lends one item's features to another, so absent ones must be finite too.
  void prepare_bank() {
    for (size_t m = 0; m < data_.features.size(); ++m) {
      at::Tensor here = data_.present.select(1, static_cast<int64_t>(m));
      at::Tensor rows =
          data_.features[m][0].index_select(0, here.nonzero().squeeze(1)).to(at::kDouble);
      mean_.push_back(rows.mean(0).to(at::kFloat));
      deviation_.push_back(rows.std(0, /*unbiased=*/false).to(at::kFloat));
      for (at::Tensor& x : data_.features[m])
        x = at::where(here.unsqueeze(1), x.to(at::kFloat), mean_[m]);
    }
  }

  TrustData data_;
  uint64_t seed_;
  bool bank_;
  std::vector<std::vector<at::Tensor>> joined_;  ///< [M][variants] of [N, D_m + 1]
  std::vector<at::Tensor> mean_, deviation_;
};

/// Remembers the weights of the epoch that did best on validation.
class BestEpoch {
 public:
  explicit BestEpoch(const TrustData& validation)
      : data_(validation), features_(validation.clean()) {
    std::vector<at::Tensor> quality;
    for (size_t m = 0; m < features_.size(); ++m) quality.push_back(quality_of(validation, m, 0));
    quality_ = at::stack(quality, 1);
  }

  void look(models::Module& network, const ViewClassifier& classifier) {
    network.train(false);
    at::Tensor log_p = classifier.log_probabilities(features_, data_.present, quality_);
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
  at::Tensor quality_;
  std::pair<double, double> score_;
  TensorMap weights_;
};

void check_options(const BaselineOptions& o) {
  auto is_share = [](double p) { return p >= 0 && p < 1; };
  require(o.layers >= 0 && o.hidden >= 0 && o.epochs > 0 && o.batch_size > 0 && o.lr > 0 &&
              o.weight_decay >= 0 && o.bound > 0 && is_share(o.dropout) &&
              is_share(o.input_dropout) && is_share(o.modality_dropout),
          "baselines", "expected positive sizes and rates, and dropout in [0, 1)");
}

}  // namespace

ViewItems ViewClassifier::checked(const std::vector<at::Tensor>& features,
                                  const at::Tensor& present, const at::Tensor& quality) const {
  const auto views = static_cast<int64_t>(widths_.size());
  require(present.defined() && present.dim() == 2 && present.size(1) == views &&
              present.scalar_type() == at::kBool && features.size() == widths_.size(),
          "baselines", "expected features and bool presence [B, M] of every view");
  ViewItems out;
  for (int64_t m = 0; m < views; ++m) {
    const at::Tensor& x = features[static_cast<size_t>(m)];
    if (!x.defined() || x.dim() != 2 || x.size(0) != present.size(0) ||
        x.size(1) != widths_[static_cast<size_t>(m)]) {
      fail(ErrorCode::kInvalidArgument, "baselines",
           "expected features [" + std::to_string(present.size(0)) + ", " +
               std::to_string(widths_[static_cast<size_t>(m)]) + "] of view " + std::to_string(m) +
               ", got " + (x.defined() ? describe(x) : std::string("an undefined tensor")));
    }
    out.features.push_back(models::where_present(x, present, static_cast<size_t>(m)));
  }
  out.present = present;
  if (quality.defined() && quality.sizes() != present.sizes()) {
    fail(ErrorCode::kInvalidArgument, "baselines",
         "expected quality of the shape of present " + describe(present) + ", got " +
             describe(quality));
  }
  at::Tensor here = present.to(at::kFloat);
  out.quality = quality.defined() ? at::where(present, quality.to(at::kFloat), here) : here;
  return out;
}

at::Tensor ViewClassifier::log_probabilities(const std::vector<at::Tensor>& features,
                                             const at::Tensor& present,
                                             const at::Tensor& quality) const {
  at::NoGradGuard no_grad;
  at::Tensor out = fuse(checked(features, present, quality));
  at::Tensor none = present.any(1, /*keepdim=*/true).logical_not();
  return out.masked_fill(none, -std::log(static_cast<double>(out.size(1))));
}

ViewNetwork::ViewNetwork(int64_t width, int64_t outputs, int64_t hidden,
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
  output_ = add<models::Linear>("output", last_width_, outputs);
}

ViewNetwork::Out ViewNetwork::operator()(const at::Tensor& x) const {
  at::Tensor h = (*input_dropout_)(x);
  for (const auto& layer : *hidden_) h = (*dropout_)(at::gelu((*layer)(h)));
  return {h, (*output_)(h)};
}

ViewScales::ViewScales(const TrustData& train, const BaselineOptions& options)
    : bound_(options.bound) {
  views_ = add<models::ModuleList<models::FeatureScale>>("views");
  for (size_t m = 0; m < train.features.size(); ++m) {
    const at::Tensor& x = train.features[m][0];
    at::Tensor rows = train.present.select(1, static_cast<int64_t>(m)).nonzero().squeeze(1);
    require(rows.size(0) > 0, "baselines", "expected a training item with every view");
    auto scale = views_->append<>(x.size(1));
    if (options.standardise) scale->fit(x.index_select(0, rows));
  }
}

at::Tensor ViewScales::operator()(size_t view, const at::Tensor& features) const {
  return (*views_)[view](features).clamp(-bound_, bound_);
}

ViewNetworks::ViewNetworks(const TrustData& train, int64_t outputs,
                           const BaselineOptions& options) {
  scales_ = add<ViewScales>("scales", train, options);
  views_ = add<models::ModuleList<ViewNetwork>>("views");
  for (int64_t width : train.widths()) views_->append<>(width, outputs, options.hidden, options);
}

ViewNetwork::Out ViewNetworks::operator()(size_t view, const at::Tensor& features) const {
  return (*views_)[view]((*scales_)(view, features));
}

at::Tensor ViewNetworks::logits(const ViewItems& items) const {
  std::vector<at::Tensor> out;
  for (size_t m = 0; m < size(); ++m) out.push_back((*this)(m, items.features[m]).logits);
  return at::stack(out, 1);
}

JointNetwork::JointNetwork(const TrustData& train, int64_t outputs, int64_t hidden,
                           const BaselineOptions& options, std::vector<int64_t> views)
    : chosen_(std::move(views)) {
  scales_ = add<ViewScales>("scales", train, options);
  const std::vector<int64_t> widths = train.widths();
  if (chosen_.empty()) {
    chosen_.resize(widths.size());
    std::iota(chosen_.begin(), chosen_.end(), 0);
  }
  int64_t width = 0;
  for (int64_t m : chosen_) width += widths.at(static_cast<size_t>(m));
  joint_ = add<ViewNetwork>("joint", width, outputs, hidden, options);
}

at::Tensor JointNetwork::operator()(const ViewItems& items) const {
  std::vector<at::Tensor> columns;
  for (int64_t m : chosen_) {
    at::Tensor here = items.present.select(1, m).unsqueeze(1);
    const auto view = static_cast<size_t>(m);
    columns.push_back((*scales_)(view, items.features[view]) * here);
  }
  return (*joint_)(at::cat(columns, 1)).logits;
}

void check_baseline(const TrustData& train, const TrustData& validation, int64_t classes) {
  for (const auto& [data, what] :
       {std::pair(&train, "train"), std::pair(&validation, "validation")}) {
    check(*data, classes, what);
    if (data->quality.empty()) continue;
    bool fits = data->quality.size() == data->features.size();
    for (size_t m = 0; fits && m < data->quality.size(); ++m) {
      fits = data->quality[m].size() == data->features[m].size();
      for (const at::Tensor& q : data->quality[m])
        fits = fits && q.defined() && q.dim() == 1 && q.size(0) == data->size();
    }
    require(fits, "baselines", "expected the quality [N] of every variant of every view");
  }
}

void train_baseline(models::Module& network, const ViewClassifier& classifier,
                    const TrustData& train, const TrustData& validation,
                    const BaselineOptions& options,
                    const std::function<at::Tensor(const ViewBatch&)>& loss,
                    const std::function<void(const ViewBatch&)>& adjust) {
  check_options(options);
  SerialScope serial;
  at::AutoGradMode grad(true);
  network.initialize(options.seed);
  network.train(true);
  auto generator = at::detail::createCPUGenerator(mix_seed(options.seed, 1));
  at::Generator hiding = at::detail::createCPUGenerator(mix_seed(options.seed, 2));
  network.set_generator(generator);
  ParameterGroup group{network.named_parameters(), 1.0, options.weight_decay};
  for (auto& [name, tensor] : group.parameters) tensor.requires_grad_(true);
  AdamW optimizer({group}, {});
  std::unique_ptr<BestEpoch> best;
  if (options.keep_best) best = std::make_unique<BestEpoch>(validation);
  const Epochs epochs(train, options);

  const int64_t n = train.size();
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    const ViewItems items = epochs.draw(epoch, generator);
    int64_t seen = 0;
    for (const at::Tensor& rows : at::randperm(n, generator).split(options.batch_size)) {
      ViewBatch batch;
      batch.present = items.present.index_select(0, rows);
      if (options.modality_dropout > 0)
        batch.present = hide_streams(batch.present, options.modality_dropout, hiding);
      batch.quality =
          at::where(batch.present, items.quality.index_select(0, rows), at::zeros({}, at::kFloat));
      for (size_t m = 0; m < items.features.size(); ++m)
        batch.features.push_back(
            models::where_present(items.features[m].index_select(0, rows), batch.present, m));
      batch.target = train.target.index_select(0, rows);
      batch.rows = rows;
      batch.epoch = static_cast<double>(epoch) + static_cast<double>(seen) / static_cast<double>(n);
      seen += rows.size(0);
      at::Tensor value = loss(batch);
      optimizer.zero_grad();
      value.backward();
      if (adjust) adjust(batch);
      const double done = batch.epoch / static_cast<double>(options.epochs);
      optimizer.step(options.cosine ? options.lr * 0.5 * (1 + std::cos(M_PI * done)) : options.lr);
    }
    if (best) best->look(network, classifier);
    if (options.on_epoch) {
      network.train(false);
      options.on_epoch(classifier, epoch);
      network.train(true);
    }
  }
  if (best) best->restore(network);
  network.train(false);
  network.requires_grad_(false);
}

at::Tensor mean_of_present(const at::Tensor& values, const at::Tensor& present) {
  at::Tensor weight = present.to(values.dtype());
  return ((values * weight).sum(0) / weight.sum(0).clamp_min(1)).sum();
}

at::Tensor mean_over_views(const at::Tensor& values, const at::Tensor& present) {
  at::Tensor here = present.to(values.dtype());
  at::Tensor count = here.sum(1).clamp_min(1);
  while (here.dim() < values.dim()) here = here.unsqueeze(-1);
  while (count.dim() < values.dim() - 1) count = count.unsqueeze(-1);
  return (values * here).sum(1) / count;
}

at::Tensor view_losses(const at::Tensor& logits, const at::Tensor& target) {
  const int64_t items = logits.size(0), views = logits.size(1);
  at::Tensor index = target.view({items, 1, 1}).expand({items, views, 1});
  return -at::log_softmax(logits, -1).gather(2, index).squeeze(2);
}

}  // namespace plait::train
