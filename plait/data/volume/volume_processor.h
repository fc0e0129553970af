#pragma once
#include "plait/core/config.h"
#include "plait/data/processor.h"
#include "plait/data/volume/volume.h"

namespace plait::data {

/// How volumes become an encoder's voxel_values.
struct VolumeProcessorConfig {
  std::vector<int64_t> size = {64, 64, 64};
  std::vector<double> spacing;
  std::vector<double> window = {};
  double mean = 0.5;
  double std = 0.5;
  int64_t max_voxels = int64_t{1} << 29;

  void visit(ConfigVisitor& v) {
    v.field("size", size, "Slices, rows and columns of the result: the middle, or padded",
            {.min = 1, .max = 2048});
    v.field("spacing", spacing, "Millimetres between slices, rows and columns; empty: as it is",
            {.min = 0.01, .max = 1000});
    v.field("window", window, "Centre and width that become 0 to 1; empty: the volume's own range");
    v.field("mean", mean, "Subtracted after the window");
    v.field("std", std, "Divided by after that", {.min = 1e-6, .max = 1e6});
    v.field("max_voxels", max_voxels, "Largest volume that is decoded or resampled",
            {.min = 1, .max = 4e9});
  }
  static VolumeProcessorConfig tiny() {
    VolumeProcessorConfig config;
    config.size = {8, 16, 16};
    return config;
  }
  void validate() const;
};

/// Volumes → voxel_values [B, 1, D, H, W] float32: window to [0, 1], linear resampling to the
/// spacing asked for, the middle of the size asked for (padded with the window's lower end),
/// normalised.
class VolumeProcessor : public Processor {
 public:
  explicit VolumeProcessor(const VolumeProcessorConfig& config);
  Modality modality() const override { return Modality::kVolume; }
  TensorMap process(const std::vector<const Value*>& values,
                    const std::string& where) const override;
  Json config() const override;
  void save(const std::string&) const override {}

 private:
  at::Tensor prepare(const Volume& volume, const std::string& where) const;
  VolumeProcessorConfig config_;
};

}  // namespace plait::data
