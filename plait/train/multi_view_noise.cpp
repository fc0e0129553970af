#include "plait/train/multi_view_noise.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/data/augment/kinds.h"

namespace plait::train {
namespace {

/// What is drawn with the same seed for another purpose has another stage.
enum Stage : uint64_t { kItems = 1, kNumber, kViews, kValues };

uint64_t salt_of(const std::string& name) {
  uint64_t salt = 0;
  for (unsigned char c : name) salt = mix_seed(salt, c);
  return salt;
}

/// Checked tables with everything written out, owning what will be changed.
class Views {
 public:
  explicit Views(const FeatureTables& tables) {
    require(!tables.empty(), "views", "expected at least one view");
    for (const auto& [name, table] : tables) {
      if (!table.pooled.defined() || table.pooled.dim() != 2 || !table.pooled.is_floating_point() ||
          !table.inputs.empty()) {
        fail(ErrorCode::kInvalidArgument, "views", name + ": expected features [N, D]");
      }
      if (names_.empty()) size_ = table.pooled.size(0);
      FeatureTable& own = out_.tables[name];
      own.tokens = table.tokens.defined() ? table.tokens.clone() : at::Tensor();
      own.mask = table.mask.defined() ? table.mask.to(at::kBool, /*non_blocking=*/false,
                                                      /*copy=*/true)
                                      : at::Tensor();
      own.pooled = table.pooled.clone();
      own.present = table.present.defined()
                        ? table.present.to(at::kBool, /*non_blocking=*/false, /*copy=*/true)
                        : at::ones({size_}, at::kBool);
      own.quality = table.quality.defined() ? table.quality.clone() : at::ones({size_});
      for (const at::Tensor* part :
           {&own.tokens, &own.mask, &own.pooled, &own.present, &own.quality}) {
        if (part->defined() && (part->dim() < 1 || part->size(0) != size_ || !part->is_cpu())) {
          fail(ErrorCode::kInvalidArgument, "views",
               name + ": expected " + std::to_string(size_) + " rows on the CPU, got " +
                   describe(*part));
        }
      }
      if (own.tokens.defined() &&
          (own.tokens.dim() != 3 || own.tokens.size(2) != own.pooled.size(1))) {
        fail(ErrorCode::kInvalidArgument, "views",
             name + ": expected tokens [N, T, D] that fit the features, got " +
                 describe(own.tokens));
      }
      if (own.present.dim() != 1 || own.quality.dim() != 1)
        fail(ErrorCode::kInvalidArgument, "views",
             name + ": expected one presence and one quality per item");
      names_.push_back(name);
      salts_.push_back(salt_of(name));
      present_.push_back(own.present.clone());
    }
    out_.hit = at::zeros({size_, static_cast<int64_t>(names_.size())}, at::kBool);
  }

  int64_t size() const { return size_; }
  const std::string& name(size_t view) const { return names_[view]; }
  uint64_t salt(size_t view) const { return salts_[view]; }
  FeatureTable& table(size_t view) { return out_.tables.at(names_[view]); }
  bool present(int64_t item, size_t view) const {
    return present_[view].const_data_ptr<bool>()[item];
  }
  void mark(int64_t item, size_t view) {
    out_.hit
        .data_ptr<bool>()[item * static_cast<int64_t>(names_.size()) + static_cast<int64_t>(view)] =
        true;
  }
  DamagedViews take() { return std::move(out_); }

  /// Views that the item has, in an order drawn from the seed.
  std::vector<size_t> shuffled(int64_t item, uint64_t seed) const {
    std::vector<std::pair<uint64_t, size_t>> order;
    uint64_t draw = mix_seed(seed, kViews, static_cast<uint64_t>(item));
    for (size_t v = 0; v < names_.size(); ++v) {
      if (present(item, v)) order.emplace_back(mix_seed(draw, salts_[v]), v);
    }
    std::sort(order.begin(), order.end());
    std::vector<size_t> out;
    for (const auto& [rank, view] : order) out.push_back(view);
    return out;
  }

 private:
  DamagedViews out_;
  int64_t size_ = 0;
  std::vector<std::string> names_;
  std::vector<uint64_t> salts_;
  std::vector<at::Tensor> present_;
};

/// How many of a hit item's `count` views are hit.
size_t hit_count(size_t count, const ViewShare& share, double draw) {
  auto n = static_cast<double>(count);
  double number = share.any_number ? draw * n : n * share.views + draw;
  return std::min(static_cast<size_t>(number), count);
}

/// Calls `damage(item, view)` for the rows that the seed hits; true means that the row was changed.
template <class F>
void hit_rows(Views& views, uint64_t seed, const ViewShare& share, const F& damage) {
  auto is_share = [](double x) { return x >= 0 && x <= 1; };
  require(is_share(share.items) && is_share(share.views), "views", "expected shares from 0 to 1");
  std::vector<std::pair<uint64_t, int64_t>> order;
  for (int64_t i = 0; i < views.size(); ++i)
    order.emplace_back(mix_seed(seed, kItems, static_cast<uint64_t>(i)), i);
  std::sort(order.begin(), order.end());
  order.resize(static_cast<size_t>(std::llround(share.items * static_cast<double>(views.size()))));
  for (const auto& [rank, item] : order) {
    std::vector<size_t> own = views.shuffled(item, seed);
    double draw = unit_interval(mix_seed(seed, kNumber, static_cast<uint64_t>(item)));
    own.resize(hit_count(own.size(), share, draw));
    for (size_t view : own) {
      if (damage(item, view)) views.mark(item, view);
    }
  }
}

data::DamageRandom random_of(const Views& views, uint64_t seed, int64_t item, size_t view) {
  return data::DamageRandom(
      mix_seed(mix_seed(seed, kValues, views.salt(view)), static_cast<uint64_t>(item)));
}

/// An item of another class that has the view; -1 when there is none.
int64_t donor_of(const Views& views, const int64_t* target, int64_t item, size_t view,
                 data::DamageRandom random) {
  auto fits = [&](int64_t i) { return target[i] != target[item] && views.present(i, view); };
  // Drawing again keeps the choice uniform; the search ends it when few items fit.
  for (int tries = 0; tries < 64; ++tries) {
    int64_t i = random.below(views.size());
    if (fits(i)) return i;
  }
  for (int64_t i = 0; i < views.size(); ++i) {
    if (fits(i)) return i;
  }
  return -1;
}

}  // namespace

DamagedViews add_view_noise(const FeatureTables& tables, double deviation, uint64_t seed,
                            const ViewShare& share) {
  require(std::isfinite(deviation) && deviation >= 0, "views",
          "expected a deviation of at least 0");
  Views views(tables);
  hit_rows(views, seed, share, [&](int64_t item, size_t view) {
    if (deviation == 0) return false;
    FeatureTable& table = views.table(view);
    data::DamageRandom random = random_of(views, seed, item, view);
    at::Tensor noise = at::empty({table.pooled.size(1)}, at::kFloat);
    float* values = noise.data_ptr<float>();
    for (int64_t d = 0; d < noise.numel(); ++d)
      values[d] = static_cast<float>(deviation * random.normal());
    table.pooled[item].add_(noise);
    if (table.tokens.defined()) table.tokens[item].add_(noise);
    return true;
  });
  return views.take();
}

DamagedViews swap_views(const FeatureTables& tables, const at::Tensor& target, uint64_t seed,
                        const ViewShare& share) {
  Views views(tables);
  if (!target.defined() || target.dim() != 1 || target.size(0) != views.size() ||
      target.scalar_type() != at::kLong) {
    fail(ErrorCode::kInvalidArgument, "views",
         "expected a target [" + std::to_string(views.size()) + "] int64, got " +
             (target.defined() ? describe(target) : std::string("an undefined tensor")));
  }
  at::Tensor classes = target.cpu().contiguous();
  hit_rows(views, seed, share, [&](int64_t item, size_t view) {
    int64_t donor = donor_of(views, classes.const_data_ptr<int64_t>(), item, view,
                             random_of(views, seed, item, view));
    if (donor < 0) return false;
    // From the given table: the donor's own row may have been swapped already.
    const FeatureTable& from = tables.at(views.name(view));
    FeatureTable& to = views.table(view);
    for (auto part : {&FeatureTable::tokens, &FeatureTable::mask, &FeatureTable::pooled,
                      &FeatureTable::quality}) {
      if ((from.*part).defined()) (to.*part)[item].copy_((from.*part)[donor]);
    }
    return true;
  });
  return views.take();
}

DamagedViews drop_features(const FeatureTables& tables, double features, uint64_t seed,
                           const ViewShare& share) {
  require(features >= 0 && features <= 1, "views", "expected a share of the features from 0 to 1");
  Views views(tables);
  hit_rows(views, seed, share, [&](int64_t item, size_t view) {
    FeatureTable& table = views.table(view);
    data::DamageRandom random = random_of(views, seed, item, view);
    int64_t width = table.pooled.size(1);
    double wanted = features * static_cast<double>(width) + random.uniform();
    auto count = std::min(static_cast<int64_t>(wanted), width);
    if (count == 0) return false;
    std::vector<std::pair<uint64_t, int64_t>> order;
    for (int64_t d = 0; d < width; ++d) order.emplace_back(random.next(), d);
    std::sort(order.begin(), order.end());
    at::Tensor lost = at::zeros({width}, at::kBool);
    for (int64_t k = 0; k < count; ++k)
      lost.data_ptr<bool>()[order[static_cast<size_t>(k)].second] = true;
    table.pooled[item].masked_fill_(lost, 0);
    if (table.tokens.defined()) table.tokens[item].masked_fill_(lost, 0);
    return true;
  });
  return views.take();
}

DamagedViews remove_views(const FeatureTables& tables, int64_t count, uint64_t seed) {
  require(count >= 0, "views", "expected a number of views of at least 0");
  Views views(tables);
  for (int64_t item = 0; item < views.size(); ++item) {
    std::vector<size_t> own = views.shuffled(item, seed);
    if (own.empty()) continue;
    own.resize(std::min(static_cast<size_t>(count), own.size() - 1));
    for (size_t view : own) {
      FeatureTable& table = views.table(view);
      table.present[item] = false;
      table.quality[item] = 0;
      table.pooled[item].zero_();
      if (table.tokens.defined()) table.tokens[item].zero_();
      if (table.mask.defined()) table.mask[item].fill_(false);
      views.mark(item, view);
    }
  }
  return views.take();
}

}  // namespace plait::train
