#include "plait/data/volume/volume_processor.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/data/decode.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "volume processor";

/// The middle `size` places of a dimension, padded with `fill` where there are fewer.
at::Tensor crop_or_pad(const at::Tensor& x, int64_t dim, int64_t size, double fill) {
  int64_t have = x.size(dim);
  if (have >= size) return x.narrow(dim, (have - size) / 2, size);
  std::vector<int64_t> shape = x.sizes().vec();
  shape[static_cast<size_t>(dim)] = size;
  at::Tensor out = at::full(shape, fill, x.options());
  out.narrow(dim, (size - have) / 2, have).copy_(x);
  return out;
}

}  // namespace

void VolumeProcessorConfig::validate() const {
  require(size.size() == 3, kUnit, "expected three numbers in size");
  require(spacing.empty() || spacing.size() == 3, kUnit, "expected no or three numbers in spacing");
  require(window.empty() || (window.size() == 2 && window[1] > 0), kUnit,
          "expected window as a centre and a positive width, or empty");
}

VolumeProcessor::VolumeProcessor(const VolumeProcessorConfig& config) : config_(config) {
  config_.validate();
}

at::Tensor VolumeProcessor::prepare(const Volume& volume, const std::string& where) const {
  at::Tensor x = volume.values;
  double center = 0, width = 1;
  if (config_.window.empty()) {
    double low = x.min().item<double>(), high = x.max().item<double>();
    center = (low + high) / 2;
    width = std::max(high - low, 1e-12);
  } else {
    center = config_.window[0];
    width = config_.window[1];
  }
  x = apply_window(x, {center, width, "LINEAR_EXACT"});
  if (!config_.spacing.empty()) {
    std::vector<int64_t> size;
    double voxels = 1;
    for (size_t i = 0; i < 3; ++i) {
      double length = static_cast<double>(x.size(static_cast<int64_t>(i))) * volume.spacing[i];
      double places = std::max(1.0, std::round(length / config_.spacing[i]));
      voxels *= places;
      if (!(voxels <= static_cast<double>(config_.max_voxels))) {
        fail(ErrorCode::kResourceLimit, kUnit,
             where + ": expected at most " + std::to_string(config_.max_voxels) +
                 " voxels after resampling, got more");
      }
      size.push_back(static_cast<int64_t>(places));
    }
    x = at::upsample_trilinear3d(x.unsqueeze(0).unsqueeze(0), size, /*align_corners=*/false)
            .squeeze(0)
            .squeeze(0);
  }
  for (int64_t dim = 0; dim < 3; ++dim)
    x = crop_or_pad(x, dim, config_.size[static_cast<size_t>(dim)], 0);
  return (x - config_.mean) / config_.std;
}

TensorMap VolumeProcessor::process(const std::vector<const Value*>& values,
                                   const std::string& where) const {
  at::Tensor out = at::zeros(
      {static_cast<int64_t>(values.size()), 1, config_.size[0], config_.size[1], config_.size[2]},
      at::kFloat);
  VolumeOptions options;
  options.max_bytes = static_cast<size_t>(config_.max_voxels) * sizeof(float);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    std::string item = item_name(where, i, values.size());
    at::Tensor row = prepare(decode_volume_value(*values[i], item, options), item);
    out[static_cast<int64_t>(i)][0].copy_(row);
  }
  return {{"voxel_values", out}};
}

Json VolumeProcessor::config() const { return typed_config("volume", write_config(config_)); }

}  // namespace plait::data
