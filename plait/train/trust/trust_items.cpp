#include "plait/train/trust/trust_items.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <limits>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/models/trust/evidence.h"

namespace plait::train {

using models::Evidence;
using models::TrustModel;

namespace {

constexpr at::Tensor models::TrustOutput::*kOutputs[] = {
    &models::TrustOutput::log_probabilities, &models::TrustOutput::breakage,
    &models::TrustOutput::support, &models::TrustOutput::weights};

}  // namespace

void check(const TrustItems& items) {
  const int64_t n = items.target.size(0);
  require(n > 0, "trust", "expected items to calibrate with");
  require(items.evidence.present.size(0) == n && items.item.size(0) == n &&
              items.kind.size(0) == n && (!items.joint.defined() || items.joint.size(0) == n),
          "trust", "expected evidence, item and kind for every target");
}

at::Tensor of_kind(const TrustItems& items, ItemKind kind) {
  return items.kind == static_cast<int64_t>(kind);
}

at::Tensor one_row_per_item(const TrustItems& items, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  at::Tensor order = at::randperm(items.item.size(0), generator);
  at::Tensor shuffled = items.item.index_select(0, order);
  auto [sorted, by_item] = shuffled.sort(/*stable=*/true, 0, /*descending=*/false);
  at::Tensor first = at::ones_like(sorted, at::kBool);
  if (sorted.size(0) > 1)
    first.slice(0, 1).copy_(sorted.slice(0, 1) != sorted.slice(0, 0, sorted.size(0) - 1));
  return order.index_select(0, by_item.masked_select(first));
}

TrustItems select(const TrustItems& items, const at::Tensor& rows) {
  TrustItems out;
  out.evidence = models::select_rows(items.evidence, rows);
  out.target = items.target.index_select(0, rows);
  out.item = items.item.index_select(0, rows);
  out.kind = items.kind.index_select(0, rows);
  if (items.joint.defined()) out.joint = items.joint.index_select(0, rows);
  out.held_out = items.held_out;
  if (items.gates.defined()) out.gates = items.gates.index_select(0, rows);
  return out;
}

models::TrustOutput select(const models::TrustOutput& output, const at::Tensor& rows) {
  models::TrustOutput out;
  for (auto member : kOutputs) out.*member = (output.*member).index_select(0, rows);
  return out;
}

void put_rows(models::TrustOutput& all, const at::Tensor& rows, const models::TrustOutput& part,
              int64_t count) {
  for (auto member : kOutputs) {
    at::Tensor& to = all.*member;
    const at::Tensor& from = part.*member;
    if (!to.defined()) {
      std::vector<int64_t> shape = from.sizes().vec();
      shape[0] = count;
      to = at::zeros(shape, from.options());
    }
    to.index_copy_(0, rows, from);
  }
}

models::TrustOutput fuse(const TrustModel& model, const TrustItems& items) {
  if (items.held_out.empty() || items.target.size(0) == 0)
    return model.fusion().fuse(items.evidence);
  models::TrustOutput out;
  const auto count = static_cast<int64_t>(items.held_out.size());
  for (int64_t g = -1; g < count; ++g) {
    at::Tensor rows = (items.gates == g).nonzero().squeeze(1);
    if (rows.size(0) == 0) continue;
    const models::TrustFusion& fusion =
        g < 0 ? model.fusion() : *items.held_out[static_cast<size_t>(g)];
    const models::TrustOutput own = fusion.fuse(models::select_rows(items.evidence, rows));
    put_rows(out, rows, own, items.target.size(0));
  }
  return out;
}

TrustModel::Verdict decide(const TrustModel& model, const TrustItems& items) {
  return model.decide(items.evidence, items.joint, fuse(model, items));
}

TrustItems out_of_fold_items(const TrustFit& fit, uint64_t seed) {
  TrustItems out;
  auto add = [&](ItemKind kind, const Evidence& evidence, const at::Tensor& target,
                 const at::Tensor& item) {
    TrustItems items{evidence, target, item, at::full_like(item, static_cast<int64_t>(kind)), {}};
    items.held_out = fit.held_out;
    items.gates = fit.item_gates.index_select(0, item);
    if (kind == ItemKind::kClean) {
      out = std::move(items);
    } else {
      const auto draw = mix_seed(seed, static_cast<uint64_t>(kind));
      out = stack(out, select(items, one_row_per_item(items, draw)));
    }
  };
  add(ItemKind::kClean, fit.clean, fit.clean_target, fit.clean_item);
  add(ItemKind::kBank, fit.damaged, fit.damaged_target, fit.damaged_item);
  if (fit.copies_target.defined())
    add(ItemKind::kCopy, fit.copies, fit.copies_target, fit.copies_item);
  if (fit.swapped_target.defined())
    add(ItemKind::kSwap, fit.swapped, fit.swapped_target, fit.swapped_item);
  return out;
}

TrustItems every_subset(const TrustItems& items, uint64_t seed) {
  check(items);
  require(!items.joint.defined(), "trust", "expected items without the joint path's logits");
  const int64_t streams = items.evidence.present.size(1);
  std::vector<TrustItems> parts;
  auto add = [&](const at::Tensor& rows, const at::Tensor& present) {
    at::Tensor alone =
        at::logical_and(of_kind(items, ItemKind::kSwap).index_select(0, rows), present.sum(1) < 2);
    at::Tensor kept = alone.logical_not().nonzero().squeeze(1);
    if (kept.size(0) == 0) return;
    TrustItems part = select(items, rows.index_select(0, kept));
    part.evidence.present = present.index_select(0, kept);
    parts.push_back(std::move(part));
  };
  const at::Tensor& present = items.evidence.present;
  if (streams <= TrustModel::kMaxExactStreams) {
    for (int64_t subset = 1; subset < (int64_t{1} << streams); ++subset) {
      at::Tensor mask = at::zeros({1, streams}, at::kBool);
      for (int64_t m = 0; m < streams; ++m) mask[0][m] = (subset >> m & 1) != 0;
      at::Tensor rows = at::logical_or(present, mask.logical_not()).all(1).nonzero().squeeze(1);
      if (rows.size(0) > 0) add(rows, mask.expand({rows.size(0), streams}));
    }
  } else {
    for (int64_t size = 1; size <= streams; ++size) {
      auto generator = at::detail::createCPUGenerator(mix_seed(seed, static_cast<uint64_t>(size)));
      // The streams that an item has, in an order of its own.
      at::Tensor draw = at::rand(present.sizes(), generator) + present.logical_not();
      at::Tensor place = at::argsort(at::argsort(draw, 1, false), 1, false);
      at::Tensor rows = (present.sum(1) >= size).nonzero().squeeze(1);
      if (rows.size(0) > 0) add(rows, (place < size).index_select(0, rows));
    }
  }
  TrustItems out = parts.front();
  for (size_t i = 1; i < parts.size(); ++i) out = stack(out, parts[i]);
  return out;
}

TrustItems stack(const TrustItems& a, const TrustItems& b) {
  TrustItems out{models::stack({a.evidence, b.evidence}),
                 at::cat({a.target, b.target}),
                 at::cat({a.item, b.item}),
                 at::cat({a.kind, b.kind}),
                 {}};
  if (a.gates.defined() || b.gates.defined()) {
    require(a.held_out.empty() || b.held_out.empty() || a.held_out == b.held_out, "trust",
            "expected items with the same held-out gates");
    out.held_out = a.held_out.empty() ? b.held_out : a.held_out;
    auto gates = [](const TrustItems& items) {
      return items.gates.defined() ? items.gates : at::full_like(items.item, -1);
    };
    out.gates = at::cat({gates(a), gates(b)});
  }
  if (a.joint.defined() || b.joint.defined()) {
    auto known = [](const TrustItems& items, const TrustItems& other) {
      if (items.joint.defined()) return items.joint;
      return at::full({items.target.size(0), other.joint.size(1)},
                      std::numeric_limits<float>::quiet_NaN());
    };
    out.joint = at::cat({known(a, b), known(b, a)});
  }
  return out;
}

}  // namespace plait::train
