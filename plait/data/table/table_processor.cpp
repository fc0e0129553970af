#include "plait/data/table/table_processor.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"
#include "plait/data/decode.h"
#include "plait/data/table/csv.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "table";
constexpr size_t kMaxBytes = size_t{64} << 20;

Json checked_row(Json row, const std::string& where) {
  if (!row.is_object())
    fail(ErrorCode::kInvalidArgument, kUnit, where + ": expected an object with the row's fields");
  for (const auto& [key, value] : row.members()) {
    if (value.is_array() || value.is_object()) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           where + ": expected a number, text, boolean or null in field " + key);
    }
  }
  return row;
}

/// [F] of a JSON list of numbers; null: missing.
at::Tensor checked_numbers(const Json& list, const std::string& where) {
  std::vector<float> out;
  for (const Json& value : list.items()) {
    if (!value.is_number() && !value.is_null())
      fail(ErrorCode::kInvalidArgument, kUnit, where + ": expected a list of numbers or null");
    out.push_back(value.is_null() ? std::nanf("") : static_cast<float>(value.as_double()));
  }
  return at::tensor(out, at::kFloat);
}

Value parse_row(std::string_view text, const std::string& name) {
  size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] == '{')
    return checked_row(Json::parse(text, name), name);
  if (first != std::string_view::npos && text[first] == '[')
    return checked_numbers(Json::parse(text, name), name);
  Csv csv = parse_csv(text, name, {.max_bytes = kMaxBytes});
  if (csv.rows.size() != 1) {
    fail(
        ErrorCode::kCorruptData, kUnit,
        name + ": expected a header and one row, got " + std::to_string(csv.rows.size()) + " rows");
  }
  return csv_object(csv, 0);
}

/// A categorical value as text: 1 and "1" and true and "true" are the same.
std::string category(const Json& value) {
  return value.is_string() ? value.as_string() : value.dump();
}

}  // namespace

Value decode_table_value(const Value& value, const std::string& where) {
  if (auto* tensor = std::get_if<at::Tensor>(&value)) {
    if (!tensor->defined() || tensor->dim() != 1 || tensor->is_complex()) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           where + ": expected numeric fields [F], got " +
               (tensor->defined() ? describe(*tensor) : "an undefined tensor"));
    }
    return tensor->detach().cpu().to(at::kFloat).contiguous();
  }
  if (auto* json = std::get_if<Json>(&value)) {
    if (json->is_array()) return checked_numbers(*json, where);
    return checked_row(*json, where);
  }
  if (auto* bytes = std::get_if<Bytes>(&value)) return parse_row(bytes->bytes, where);
  NamedFile file = open_value(value, where, kMaxBytes);
  return parse_row(file.bytes, file.name);
}

void TableProcessorConfig::validate() const {
  require(mean.empty() || mean.size() == numeric.size(), kUnit,
          "expected one mean per numeric field, or none");
  require(std.empty() || std.size() == numeric.size(), kUnit,
          "expected one std per numeric field, or none");
  for (double s : std)
    require(std::isfinite(s) && s > 0, kUnit, "expected positive numbers in std");
  for (double m : mean) require(std::isfinite(m), kUnit, "expected finite numbers in mean");
  require(categorical.is_object(), kUnit, "expected categorical as an object of lists");
  for (const auto& [name, values] : categorical.members()) {
    require(values.is_array(), kUnit, "expected a list of values for each categorical field");
    for (const Json& value : values.items())
      require(value.is_string(), kUnit, "expected texts in categorical lists");
  }
  require(!numeric.empty() || categorical.size() > 0, kUnit, "expected at least one field");
}

TableProcessor::TableProcessor(const TableProcessorConfig& config) : config_(config) {
  config_.validate();
  for (const auto& [name, values] : config_.categorical.members()) {
    fields_.push_back(name);
    auto& vocabulary = vocabularies_.emplace_back();
    for (const Json& value : values.items()) {
      vocabulary.emplace(value.as_string(), static_cast<int64_t>(vocabulary.size()) + 1);
    }
  }
}

TensorMap TableProcessor::process(const std::vector<const Value*>& values,
                                  const std::string& where) const {
  auto count = static_cast<int64_t>(values.size());
  auto numbers = static_cast<int64_t>(config_.numeric.size());
  auto categories = static_cast<int64_t>(fields_.size());
  at::Tensor numeric = at::zeros({count, numbers}, at::kFloat);
  at::Tensor numeric_mask = at::zeros({count, numbers}, at::kBool);
  at::Tensor categorical = at::zeros({count, categories}, at::kLong);
  at::Tensor categorical_mask = at::zeros({count, categories}, at::kBool);
  for (int64_t i = 0; i < count; ++i) {
    const Value* given = values[static_cast<size_t>(i)];
    if (!given) continue;
    std::string item = item_name(where, static_cast<size_t>(i), values.size());
    Value value = decode_table_value(*given, item);
    numeric_row(value, item, numeric.mutable_data_ptr<float>() + i * numbers,
                numeric_mask.mutable_data_ptr<bool>() + i * numbers);
    if (auto* row = std::get_if<Json>(&value)) {
      categorical_row(*row, item, categorical.mutable_data_ptr<int64_t>() + i * categories,
                      categorical_mask.mutable_data_ptr<bool>() + i * categories);
    }
  }
  TensorMap out;
  if (numbers > 0) out = {{"numeric", numeric}, {"numeric_mask", numeric_mask}};
  if (categories > 0) {
    out["categorical"] = categorical;
    out["categorical_mask"] = categorical_mask;
  }
  return out;
}

void TableProcessor::numeric_row(const Value& value, const std::string& where, float* to,
                                 bool* present) const {
  auto* tensor = std::get_if<at::Tensor>(&value);
  if (tensor && tensor->size(0) != static_cast<int64_t>(config_.numeric.size())) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": expected " + std::to_string(config_.numeric.size()) + " numeric fields, got " +
             std::to_string(tensor->size(0)));
  }
  for (size_t f = 0; f < config_.numeric.size(); ++f) {
    double number = std::nan("");
    if (tensor) {
      number = tensor->const_data_ptr<float>()[f];
    } else if (const Json* field = std::get<Json>(value).find(config_.numeric[f]);
               field && !field->is_null()) {
      if (field->is_bool()) {
        number = field->as_bool() ? 1 : 0;
      } else if (field->is_number()) {
        number = field->as_double();
      } else {
        fail(ErrorCode::kInvalidArgument, kUnit,
             where + ": expected a number in field " + config_.numeric[f] + ", got text");
      }
    }
    if (std::isnan(number)) continue;
    if (!config_.mean.empty()) number -= config_.mean[f];
    if (!config_.std.empty()) number /= config_.std[f];
    if (!std::isfinite(static_cast<float>(number))) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           where + ": expected a finite number in field " + config_.numeric[f]);
    }
    to[f] = static_cast<float>(number);
    present[f] = true;
  }
}

void TableProcessor::categorical_row(const Json& row, const std::string& where, int64_t* to,
                                     bool* present) const {
  for (size_t f = 0; f < fields_.size(); ++f) {
    const Json* field = row.find(fields_[f]);
    if (!field || field->is_null()) continue;
    auto found = vocabularies_[f].find(category(*field));
    to[f] = found == vocabularies_[f].end() ? 0 : found->second;
    present[f] = true;
  }
}

Json TableProcessor::config() const { return typed_config("table", write_config(config_)); }

TableProcessorConfig TableProcessor::fit(const std::vector<Json>& rows, int64_t min_count) {
  struct Field {
    bool numeric = true;
    double count = 0, sum = 0, squares = 0;
    std::map<std::string, int64_t> values;
  };
  std::vector<std::string> order;
  std::map<std::string, Field> fields;
  for (const Json& given : rows) {
    Json row = checked_row(given, "fit");
    for (const auto& [name, value] : row.members()) {
      if (!fields.count(name)) order.push_back(name);
      Field& field = fields[name];
      if (value.is_null()) continue;
      ++field.values[category(value)];
      field.numeric &= value.is_number();
      if (!field.numeric) continue;
      double number = value.as_double();
      field.count += 1;
      // Welford's update: sums of squares lose all digits of values far from zero.
      double delta = number - field.sum;
      field.sum += delta / field.count;
      field.squares += delta * (number - field.sum);
    }
  }
  TableProcessorConfig config;
  for (const std::string& name : order) {
    const Field& field = fields[name];
    if (field.values.empty()) continue;
    if (field.numeric) {
      double deviation = std::sqrt(field.squares / field.count);
      config.numeric.push_back(name);
      config.mean.push_back(field.sum);
      config.std.push_back(deviation > 0 ? deviation : 1.0);
      continue;
    }
    Json list = Json::array();
    for (const auto& [value, times] : field.values) {
      if (times >= min_count) list.push_back(value);
    }
    config.categorical[name] = list;
  }
  config.validate();
  return config;
}

}  // namespace plait::data
