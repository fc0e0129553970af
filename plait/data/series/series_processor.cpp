#include "plait/data/series/series_processor.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/tensor_map.h"
#include "plait/data/decode.h"
#include "plait/data/table/csv.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "series";
constexpr size_t kMaxBytes = size_t{1} << 30;

float json_sample(const Json& json, const std::string& where) {
  if (json.is_null()) return std::numeric_limits<float>::quiet_NaN();
  if (!json.is_number() || !std::isfinite(static_cast<float>(json.as_double()))) {
    fail(ErrorCode::kCorruptData, kUnit, where + ": expected finite numbers or null in the series");
  }
  return static_cast<float>(json.as_double());
}

at::Tensor json_series(const Json& json, const std::string& where) {
  if (!json.is_array() || json.size() == 0) {
    fail(ErrorCode::kCorruptData, kUnit,
         where + ": expected an array of numbers or of rows of numbers, got something else");
  }
  size_t channels = json.at(0).is_array() ? json.at(0).size() : 0;
  std::vector<float> values;
  for (const Json& row : json.items()) {
    if (row.is_array() != (channels > 0) || (channels > 0 && row.size() != channels)) {
      fail(ErrorCode::kCorruptData, kUnit,
           where + ": expected rows of the same length in the series");
    }
    if (channels == 0) values.push_back(json_sample(row, where));
    for (size_t c = 0; c < channels; ++c) values.push_back(json_sample(row.at(c), where));
  }
  auto width = static_cast<int64_t>(std::max<size_t>(channels, 1));
  auto steps = static_cast<int64_t>(json.size());
  return at::from_blob(values.data(), {steps, width}, at::kFloat).clone();
}

at::Tensor parse_series(std::string_view text, const std::string& name) {
  size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] == '[')
    return json_series(Json::parse(text, name), name);
  return parse_csv_series(text, name);
}

at::Tensor checked_series(const at::Tensor& given, const std::string& where) {
  if (!given.defined() || given.dim() < 1 || given.dim() > 2 || given.numel() == 0 ||
      given.is_complex()) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": expected a series [T] or [T, C], got " +
             (given.defined() ? describe(given) : "an undefined tensor"));
  }
  at::Tensor series = given.detach().cpu().to(at::kFloat);
  if (at::isinf(series).any().item<bool>()) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": expected finite samples (NaN: missing), got infinity");
  }
  return (series.dim() == 1 ? series.unsqueeze(1) : series).contiguous();
}

}  // namespace

at::Tensor decode_series_value(const Value& value, const std::string& where) {
  if (auto* tensor = std::get_if<at::Tensor>(&value)) return checked_series(*tensor, where);
  if (auto* wave = std::get_if<Waveform>(&value)) {
    return checked_series(wave->samples.dim() == 2 ? wave->samples.t() : wave->samples, where);
  }
  if (auto* json = std::get_if<Json>(&value)) return json_series(*json, where);
  if (auto* bytes = std::get_if<Bytes>(&value)) return parse_series(bytes->bytes, where);
  NamedFile file = open_value(value, where, kMaxBytes);
  return parse_series(file.bytes, file.name);
}

void SeriesProcessorConfig::validate() const {
  auto fits = [&](const std::vector<double>& v) {
    return v.empty() || static_cast<int64_t>(v.size()) == channels;
  };
  require(fits(mean) && fits(std), kUnit, "expected one mean and one std per channel, or none");
  for (double s : std)
    require(std::isfinite(s) && s > 0, kUnit, "expected positive numbers in std");
  for (double m : mean) require(std::isfinite(m), kUnit, "expected finite numbers in mean");
}

SeriesProcessor::SeriesProcessor(const SeriesProcessorConfig& config) : config_(config) {
  config_.validate();
  if (!config_.mean.empty()) mean_ = at::tensor(config_.mean, at::kFloat);
  if (!config_.std.empty()) std_ = at::tensor(config_.std, at::kFloat);
}

TensorMap SeriesProcessor::process(const std::vector<const Value*>& values,
                                   const std::string& where) const {
  std::vector<at::Tensor> rows(values.size());
  int64_t length = config_.pad == "max" ? config_.max_length : 1;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    std::string item = item_name(where, i, values.size());
    at::Tensor row = decode_series_value(*values[i], item);
    if (row.size(1) != config_.channels) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           item + ": expected " + std::to_string(config_.channels) + " channels, got " +
               std::to_string(row.size(1)));
    }
    row = row.slice(0, 0, config_.max_length);
    if (mean_.defined()) row = row - mean_;
    if (std_.defined()) row = row / std_;
    rows[i] = row;
    length = std::max(length, row.size(0));
  }
  auto count = static_cast<int64_t>(values.size());
  at::Tensor out = at::zeros({count, length, config_.channels}, at::kFloat);
  at::Tensor mask = at::zeros({count, length}, at::kLong);
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor& row = rows[static_cast<size_t>(i)];
    if (!row.defined()) continue;
    out[i].slice(0, 0, row.size(0)).copy_(row);
    mask[i].slice(0, 0, row.size(0)).fill_(1);
  }
  return {{"values", out}, {"attention_mask", mask}};
}

Json SeriesProcessor::config() const { return typed_config("series", write_config(config_)); }

}  // namespace plait::data
