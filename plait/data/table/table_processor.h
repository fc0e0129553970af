#pragma once
#include <unordered_map>

#include "plait/core/config.h"
#include "plait/data/processor.h"

namespace plait::data {

/// Any value of a table stream → an object of numbers, texts, booleans and nulls: JSON, a JSON or
/// CSV file (header and one row) or its bytes. A tensor [F] stays as it is (numeric fields in the
/// config's order), and a JSON list of numbers (null: missing) becomes one.
Value decode_table_value(const Value& value, const std::string& where);

struct TableProcessorConfig {
  std::vector<std::string> numeric = {};
  std::vector<double> mean = {};
  std::vector<double> std = {};
  Json categorical =
      Json::object();  ///< {"field": ["value", ...], ...} in the order of the columns.

  void visit(ConfigVisitor& v) {
    v.field("numeric", numeric, "Names of the numeric fields");
    v.field("mean", mean, "Subtracted per numeric field; empty: nothing");
    v.field("std", std, "Divided by per numeric field; empty: one");
    v.field("categorical", categorical,
            "Values by categorical field; the first has id 1, an unknown one 0");
  }
  static TableProcessorConfig tiny() {
    return {.numeric = {"a", "b"}, .categorical = Json::object({{"c", Json::array({"x", "y"})}})};
  }
  void validate() const;
};

/// Rows → numeric [B, F] float32, numeric_mask [B, F] bool, categorical [B, G] int64 (0: unknown or
/// missing), categorical_mask [B, G] bool; a pair is left out when the config has no such fields.
/// Missing fields hold 0 and are false in the mask. Fields that the config does not name are
/// ignored.
class TableProcessor : public Processor {
 public:
  explicit TableProcessor(const TableProcessorConfig& config);
  Modality modality() const override { return Modality::kTable; }
  TensorMap process(const std::vector<const Value*>& values,
                    const std::string& where) const override;
  Json config() const override;
  void save(const std::string&) const override {}

  /// Means, standard deviations and vocabularies (values seen at least `min_count` times, sorted)
  /// from training rows. A field is numeric when all of its values are numbers or null.
  static TableProcessorConfig fit(const std::vector<Json>& rows, int64_t min_count = 1);

 private:
  void numeric_row(const Value& value, const std::string& where, float* to, bool* present) const;
  void categorical_row(const Json& row, const std::string& where, int64_t* to, bool* present) const;

  TableProcessorConfig config_;
  std::vector<std::string> fields_;  ///< Categorical ones.
  std::vector<std::unordered_map<std::string, int64_t>> vocabularies_;
};

}  // namespace plait::data
