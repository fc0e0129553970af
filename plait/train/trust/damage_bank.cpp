#include "plait/train/trust/damage_bank.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

namespace plait::train {
namespace {

at::Tensor quality_of(const TrustData& data, size_t m, size_t variant) {
  if (data.quality.empty()) return at::ones({data.size()});
  return data.quality[m][variant].to(at::kFloat);
}

}  // namespace

BankOptions bank_options_for(const TrustData& data) {
  BankOptions options;
  for (const auto& variants : data.features) {
    if (variants.size() > 1) options.most_hit = 0.4, options.clean_items = 0.5, options.swap = 0.2;
  }
  if (data.features.size() < 3) options.swap = 0;
  return options;
}

BankItems clean_bank(const TrustData& data) {
  BankItems out;
  std::vector<at::Tensor> quality;
  for (size_t m = 0; m < data.features.size(); ++m) {
    out.features.push_back(data.features[m][0]);
    quality.push_back(quality_of(data, m, 0));
  }
  out.quality = at::stack(quality, 1) * data.present;
  out.present = data.present;
  return out;
}

std::vector<BankItems> one_copy_each(const TrustData& data) {
  std::vector<BankItems> out;
  for (size_t m = 0; m < data.features.size(); ++m) {
    for (size_t v = 1; v < data.features[m].size(); ++v) {
      BankItems items = clean_bank(data);
      items.features[m] = data.features[m][v];
      items.quality = items.quality.clone();
      items.quality.select(1, static_cast<int64_t>(m))
          .copy_(quality_of(data, m, v) * data.present.select(1, static_cast<int64_t>(m)));
      out.push_back(std::move(items));
    }
  }
  return out;
}

BankItems swap_one(const TrustData& data, uint64_t seed) {
  BankItems out = clean_bank(data);
  out.quality = out.quality.clone();
  auto generator = at::detail::createCPUGenerator(seed);
  // The present stream of the largest draw.
  at::Tensor draw = at::rand(data.present.sizes(), generator) * data.present;
  at::Tensor which = at::where(data.present.sum(1) > 1, draw.argmax(1), at::full({}, -1));
  for (size_t m = 0; m < data.features.size(); ++m) {
    const auto stream = static_cast<int64_t>(m);
    at::Tensor rows = (which == stream).nonzero().squeeze(1);
    at::Tensor others = data.present.select(1, stream).nonzero().squeeze(1);
    if (rows.size(0) == 0) continue;
    at::Tensor from =
        others.index_select(0, at::randint(others.size(0), {rows.size(0)}, generator, at::kLong));
    out.features[m] =
        out.features[m].index_copy(0, rows, data.features[m][0].index_select(0, from));
    out.quality.select(1, stream).index_copy_(0, rows,
                                              quality_of(data, m, 0).index_select(0, from));
  }
  return out;
}

BankItems draw_bank(const TrustData& data, const std::vector<at::Tensor>& mean,
                    const std::vector<at::Tensor>& deviation, uint64_t seed,
                    const BankOptions& options) {
  const int64_t n = data.size(), streams = static_cast<int64_t>(data.features.size());
  auto generator = at::detail::createCPUGenerator(seed);
  auto uniform = [&](at::IntArrayRef shape) { return at::rand(shape, generator); };
  at::Tensor touched = uniform({n}) >= options.clean_items;
  at::Tensor rate = uniform({n}) * options.most_hit * touched;
  at::Tensor drifts = (uniform({n}) < options.drift).unsqueeze(1);
  at::Tensor drift =
      (uniform({n, 1}) * std::log(options.max_drift / options.min_drift)).exp() * options.min_drift;
  BankItems out;
  std::vector<at::Tensor> qualities, kept;
  for (int64_t m = 0; m < streams; ++m) {
    const auto& variants = data.features[static_cast<size_t>(m)];
    at::Tensor x = variants[0], quality = quality_of(data, static_cast<size_t>(m), 0);
    if (variants.size() > 1) {
      at::Tensor hit = at::logical_and(touched, uniform({n}) < options.damaged_copy);
      at::Tensor which =
          1 + (uniform({n}) * static_cast<double>(variants.size() - 1)).floor().to(at::kLong);
      for (size_t v = 1; v < variants.size(); ++v) {
        at::Tensor here = at::logical_and(hit, which == static_cast<int64_t>(v));
        x = at::where(here.unsqueeze(1), variants[v], x);
        quality = at::where(here, quality_of(data, static_cast<size_t>(m), v), quality);
      }
    }
    const at::Tensor& spread = deviation[static_cast<size_t>(m)];
    at::Tensor offset = spread * at::randn({x.size(1)}, generator);
    x = at::where(drifts, x + drift * offset, x);
    // At most one of noise, occlusion and swap befalls a stream of an item.
    at::Tensor hit = uniform({n}) < rate, draw = uniform({n});
    auto between = [&](double low, double share) {
      return at::logical_and(hit, at::logical_and(draw >= low, draw < low + share)).unsqueeze(1);
    };
    at::Tensor strength =
        (uniform({n, 1}) * std::log(options.max_noise / options.min_noise)).exp() *
        options.min_noise;
    at::Tensor noisy = x + strength * spread * at::randn(x.sizes(), generator);
    at::Tensor covered = uniform(x.sizes()) < 0.1 + 0.8 * uniform({n, 1});
    at::Tensor occluded =
        at::where(covered, mean[static_cast<size_t>(m)].to(x.scalar_type()).expand_as(x), x);
    at::Tensor other = at::randperm(n, generator);
    at::Tensor swap = between(options.noise + options.occlusion, options.swap);
    x = at::where(between(0, options.noise), noisy, x);
    x = at::where(between(options.noise, options.occlusion), occluded, x);
    x = at::where(swap, variants[0].index_select(0, other), x);
    quality =
        at::where(swap.squeeze(1),
                  quality_of(data, static_cast<size_t>(m), 0).index_select(0, other), quality);
    out.features.push_back(x);
    qualities.push_back(quality);
    kept.push_back(at::logical_or(uniform({n}) >= options.missing, at::logical_not(touched)));
  }
  out.present = at::logical_and(data.present, at::stack(kept, 1));
  // An item whose streams would all be gone keeps those it has.
  at::Tensor none = at::logical_not(out.present.any(1, /*keepdim=*/true));
  out.present = at::where(none, data.present, out.present);
  out.quality = at::stack(qualities, 1) * out.present;
  return out;
}

}  // namespace plait::train
