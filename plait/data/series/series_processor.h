#pragma once
#include "plait/core/config.h"
#include "plait/data/processor.h"

namespace plait::data {

/// Any value of a series stream → [T, C] float32, NaN where a sample is missing: a tensor [T] or
/// [T, C], a CSV file or its bytes (header optional), a JSON file, bytes or value (numbers, or rows
/// of numbers; null is missing).
at::Tensor decode_series_value(const Value& value, const std::string& where);

struct SeriesProcessorConfig {
  int64_t channels = 1;
  std::vector<double> mean = {};
  std::vector<double> std = {};
  int64_t max_length = 4096;
  std::string pad = "longest";

  void visit(ConfigVisitor& v) {
    v.field("channels", channels, "Channels of a sample", {.min = 1, .max = 65536});
    v.field("mean", mean, "Subtracted per channel; empty: nothing");
    v.field("std", std, "Divided by per channel; empty: one");
    v.field("max_length", max_length, "Longer series keep their first steps",
            {.min = 1, .max = 1 << 24});
    v.field("pad", pad, "Pad to max_length, or to the longest of the batch",
            {.one_of = {"max", "longest"}});
  }
  static SeriesProcessorConfig tiny() { return {.channels = 2, .max_length = 64}; }
  void validate() const;
};

/// Sensor series → values [B, T, C] float32 with NaN where a channel has no sample, attention_mask
/// [B, T] int64: 1 for steps that the item has, 0 for padding (whose values are 0).
class SeriesProcessor : public Processor {
 public:
  explicit SeriesProcessor(const SeriesProcessorConfig& config);
  Modality modality() const override { return Modality::kSeries; }
  TensorMap process(const std::vector<const Value*>& values,
                    const std::string& where) const override;
  Json config() const override;
  void save(const std::string&) const override {}

 private:
  SeriesProcessorConfig config_;
  at::Tensor mean_, std_;
};

}  // namespace plait::data
