#include "plait/train/feature_dataset.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace plait::train {
namespace {

[[noreturn]] void mismatch(const std::string& where, const std::string& expected,
                           const at::Tensor& got) {
  fail(ErrorCode::kInvalidArgument, "features",
       where + ": expected " + expected + ", got " + describe(got));
}

/// Fills in what may be left out and checks shapes.
FeatureTable complete(FeatureTable t, int64_t items, const std::string& where) {
  require(t.pooled.defined() != !t.inputs.empty(), "features",
          "expected either pooled features or inputs");
  for (const auto& [name, tensor] : t.inputs) {
    if (tensor.dim() < 1 || tensor.size(0) != items)
      mismatch(where + "." + name, "one row per item", tensor);
  }
  if (t.pooled.defined() && (t.pooled.dim() != 2 || t.pooled.size(0) != items)) {
    mismatch(where + ".pooled", "[" + std::to_string(items) + ", D]", t.pooled);
  }
  if (!t.present.defined()) t.present = at::ones({items}, at::kBool);
  if (!t.quality.defined()) t.quality = at::ones({items});
  if (t.present.dim() != 1 || t.present.size(0) != items)
    mismatch(where + ".present", "one value per item", t.present);
  if (t.quality.dim() != 1 || t.quality.size(0) != items)
    mismatch(where + ".quality", "one value per item", t.quality);
  t.present = t.present.to(at::kBool);
  t.quality = t.quality.to(at::kFloat) * t.present;
  if (t.tokens.defined()) {
    if (t.tokens.dim() != 3 || t.tokens.size(0) != items || t.tokens.size(2) != t.pooled.size(1)) {
      mismatch(where + ".tokens", "[N, T, D] that fit the pooled features", t.tokens);
    }
    if (!t.mask.defined()) t.mask = at::ones({items, t.tokens.size(1)}, at::kBool);
    if (t.mask.dim() != 2 || t.mask.size(0) != items || t.mask.size(1) != t.tokens.size(1)) {
      mismatch(where + ".mask", "one value per token", t.mask);
    }
    t.mask = t.mask.to(at::kBool);
  } else {
    t.mask = at::Tensor();
  }
  return t;
}

at::Tensor stack(const std::vector<FeatureTable>& tables, at::Tensor FeatureTable::*part) {
  std::vector<at::Tensor> parts;
  for (const FeatureTable& t : tables) {
    const at::Tensor& tensor = t.*part;
    if (tensor.defined() != (tables[0].*part).defined()) {
      fail(ErrorCode::kInvalidArgument, "features",
           "expected tokens in all variants of a stream or in none");
    }
    if (!tensor.defined()) return {};
    parts.push_back(tensor);
  }
  return stack_rows(std::move(parts));
}

/// Cuts what no row needs off tensors that have one entry per position of "attention_mask" [B, T].
void cut_padding(TensorMap& inputs) {
  auto mask = inputs.find("attention_mask");
  if (mask == inputs.end() || mask->second.dim() != 2) return;
  const int64_t length = mask->second.size(1);
  at::Tensor used = mask->second.any(0).nonzero();
  const int64_t kept = used.numel() > 0 ? used.max().item<int64_t>() + 1 : 1;
  if (kept == length) return;
  for (auto& [name, tensor] : inputs) {
    // Position is the second extent of ids and series, the last one of spectrograms [B, mels, T].
    for (int64_t dim : {int64_t{1}, tensor.dim() - 1}) {
      if (tensor.dim() < 2 || tensor.size(dim) != length) continue;
      tensor = tensor.narrow(dim, 0, kept).contiguous();
      break;
    }
  }
}

TensorMap stack_inputs(const std::vector<FeatureTable>& tables) {
  TensorMap out;
  for (const auto& [name, tensor] : tables[0].inputs) {
    std::vector<at::Tensor> parts;
    for (const FeatureTable& t : tables) parts.push_back(get(t.inputs, name, "features"));
    out[name] = stack_rows(std::move(parts));
  }
  return out;
}

}  // namespace

at::Tensor stack_rows(std::vector<at::Tensor> parts) {
  int64_t longest = 0;
  for (const at::Tensor& tensor : parts) {
    if (tensor.dim() > 1) longest = std::max(longest, tensor.size(1));
  }
  if (parts.size() == 1) return parts[0];
  for (at::Tensor& p : parts) {
    if (p.dim() < 2 || p.size(1) == longest) continue;
    std::vector<int64_t> pad(static_cast<size_t>(2 * (p.dim() - 1)), 0);
    pad.back() = longest - p.size(1);
    p = at::constant_pad_nd(p, pad);
  }
  return at::cat(parts, 0);
}

FeatureDataset::FeatureDataset(std::map<std::string, std::vector<FeatureTable>> streams,
                               TensorMap targets, std::vector<std::string> ids, double damage)
    : targets_(std::move(targets)), ids_(std::move(ids)), damage_(damage) {
  require(!streams.empty(), "features", "expected at least one stream");
  require(damage_ >= 0 && damage_ <= 1, "features", "expected a probability of damage from 0 to 1");
  for (auto& [name, tables] : streams) {
    if (tables.empty())
      fail(ErrorCode::kInvalidArgument, "features", name + ": expected at least one variant");
    if (base_ == 0 && tables[0].pooled.defined() && tables[0].pooled.dim() > 0)
      base_ = tables[0].pooled.size(0);
    if (base_ == 0 && !tables[0].inputs.empty()) base_ = tables[0].inputs.begin()->second.size(0);
    for (size_t v = 0; v < tables.size(); ++v) {
      tables[v] = complete(std::move(tables[v]), base_, name + "[" + std::to_string(v) + "]");
      if (tables[v].pooled.defined() && tables[v].pooled.size(1) != tables[0].pooled.size(1)) {
        mismatch(name, "variants of one width", tables[v].pooled);
      }
    }
    Stream& s = streams_[name];
    s.variants = static_cast<int64_t>(tables.size());
    s.table = {stack(tables, &FeatureTable::tokens),  stack(tables, &FeatureTable::mask),
               stack(tables, &FeatureTable::pooled),  stack(tables, &FeatureTable::present),
               stack(tables, &FeatureTable::quality), stack_inputs(tables)};
    for (unsigned char c : name) s.salt = mix_seed(s.salt, c);
  }
  for (auto& [task, target] : targets_) {
    if (target.dim() < 1 || target.size(0) != base_)
      mismatch("targets." + task, "one row per item", target);
  }
  if (ids_.empty()) {
    for (int64_t i = 0; i < base_; ++i) ids_.push_back(std::to_string(i));
  }
  require(static_cast<int64_t>(ids_.size()) == base_, "features", "expected one id per item");
  rows_.resize(base_);
  std::iota(rows_.begin(), rows_.end(), 0);
}

Batch FeatureDataset::batch(const std::vector<int64_t>& indices, uint64_t epoch_seed) {
  auto n = static_cast<int64_t>(indices.size());
  at::Tensor base = at::empty({n}, at::kLong);
  auto* base_rows = base.data_ptr<int64_t>();
  Batch out;
  out.size = n;
  out.ids.reserve(indices.size());
  for (int64_t i = 0; i < n; ++i) {
    if (indices[i] < 0 || indices[i] >= size()) {
      fail(ErrorCode::kInvalidArgument, "features",
           "expected an index below " + std::to_string(size()) + ", got " +
               std::to_string(indices[i]));
    }
    base_rows[i] = rows_[indices[i]];
    out.ids.push_back(ids_[base_rows[i]]);
  }
  for (auto& [name, s] : streams_) {
    at::Tensor rows = base;
    if (s.variants > 1) {
      rows = at::empty({n}, at::kLong);
      auto* r = rows.data_ptr<int64_t>();
      for (int64_t i = 0; i < n; ++i)
        r[i] = variant_of(s, indices[i], epoch_seed) * base_ + base_rows[i];
    }
    StreamBatch& stream = out.streams[name];
    for (const auto& [input, tensor] : s.table.inputs)
      stream.inputs[input] = tensor.index_select(0, rows);
    cut_padding(stream.inputs);
    if (s.table.pooled.defined())
      stream.inputs["encoded.pooled"] = s.table.pooled.index_select(0, rows);
    stream.present = s.table.present.index_select(0, rows);
    stream.quality = s.table.quality.index_select(0, rows);
    if (!s.table.tokens.defined()) continue;
    at::Tensor mask = s.table.mask.index_select(0, rows);
    // Padding that no item of the batch needs is cut: attention over it would cost time and change
    // nothing.
    at::Tensor used = mask.any(0).nonzero();
    int64_t length = used.numel() > 0 ? used.max().item<int64_t>() + 1 : 1;
    stream.inputs["encoded.mask"] = mask.narrow(1, 0, length);
    stream.inputs["encoded.tokens"] = s.table.tokens.narrow(1, 0, length).index_select(0, rows);
  }
  for (auto& [task, target] : targets_) out.targets[task] = target.index_select(0, base);
  return out;
}

TensorMap FeatureDataset::presence() {
  at::Tensor rows = at::tensor(rows_, at::kLong);
  TensorMap out;
  for (const auto& [name, s] : streams_) {
    // The clean variant where training draws one.
    out[name] = s.table.present.index_select(0, rows + s.fixed * base_);
  }
  return out;
}

int64_t FeatureDataset::variant_of(const Stream& s, int64_t index, uint64_t epoch_seed) const {
  if (epoch_seed == kEvaluationSeed) return s.fixed;
  uint64_t draw = mix_seed(epoch_seed, static_cast<uint64_t>(index), s.salt);
  if (unit_interval(draw) >= damage_) return 0;
  return 1 + static_cast<int64_t>(mix_seed(draw, 1) % static_cast<uint64_t>(s.variants - 1));
}

int64_t FeatureDataset::variants(const std::string& stream) const {
  auto it = streams_.find(stream);
  return it == streams_.end() ? 0 : it->second.variants;
}

TensorMap FeatureDataset::targets() const {
  TensorMap out;
  at::Tensor rows = at::tensor(rows_, at::kLong);
  for (const auto& [task, target] : targets_) out[task] = target.index_select(0, rows);
  return out;
}

void FeatureDataset::set_groups(std::vector<std::string> groups) {
  require(static_cast<int64_t>(groups.size()) == base_, "features", "expected one group per item");
  std::map<std::string, int64_t> numbers;
  groups_.clear();
  for (std::string& group : groups) {
    const auto next = static_cast<int64_t>(numbers.size());
    groups_.push_back(numbers.try_emplace(std::move(group), next).first->second);
  }
}

at::Tensor FeatureDataset::groups() const {
  std::vector<int64_t> out;
  for (int64_t row : rows_)
    out.push_back(groups_.empty() ? row : groups_[static_cast<size_t>(row)]);
  return at::tensor(out, at::kLong);
}

std::shared_ptr<FeatureDataset> FeatureDataset::fix(const std::map<std::string, int64_t>& variant,
                                                    const std::vector<std::string>& without,
                                                    const std::vector<std::string>& only) const {
  auto view = std::shared_ptr<FeatureDataset>(new FeatureDataset(*this));
  auto check = [&](const std::string& name) {
    if (!streams_.count(name))
      fail(ErrorCode::kInvalidArgument, "features", "expected a stream, got \"" + name + "\"");
  };
  for (const auto& [name, v] : variant) {
    check(name);
    if (v < 0 || v >= variants(name)) {
      fail(ErrorCode::kInvalidArgument, "features",
           name + ": expected a variant below " + std::to_string(variants(name)) + ", got " +
               std::to_string(v));
    }
    view->streams_.at(name).fixed = v;
  }
  for (const std::string& name : only) check(name);
  for (const std::string& name : without) check(name);
  for (auto& [name, stream] : streams_) {
    bool kept = only.empty() || std::find(only.begin(), only.end(), name) != only.end();
    if (!kept || std::find(without.begin(), without.end(), name) != without.end())
      view->streams_.erase(name);
  }
  require(!view->streams_.empty(), "features", "expected at least one stream to remain");
  return view;
}

std::shared_ptr<FeatureDataset> FeatureDataset::subset(const std::vector<int64_t>& indices) const {
  auto view = std::shared_ptr<FeatureDataset>(new FeatureDataset(*this));
  view->rows_.clear();
  for (int64_t i : indices) {
    if (i < 0 || i >= size()) {
      fail(ErrorCode::kInvalidArgument, "features",
           "expected an index below " + std::to_string(size()) + ", got " + std::to_string(i));
    }
    view->rows_.push_back(rows_[i]);
  }
  return view;
}

}  // namespace plait::train
