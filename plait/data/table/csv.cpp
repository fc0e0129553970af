#include "plait/data/table/csv.h"

#include <ATen/ATen.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait::data {
namespace {

constexpr size_t kMaxField = size_t{1} << 24;

bool is_missing(std::string_view field) {
  return field.empty() || field == "NA" || field == "nan" || field == "NaN" || field == "NAN";
}

bool is_number_or_missing(std::string_view field) {
  double value = 0;
  return is_missing(field) || parse_number(field, value);
}

}  // namespace

CsvReader::CsvReader(std::string_view text, std::string name, const CsvOptions& options)
    : text_(text), name_(std::move(name)), options_(options) {
  if (text.size() > options.max_bytes) {
    fail(ErrorCode::kResourceLimit, "csv",
         name_ + ": expected at most " + std::to_string(options.max_bytes) + " bytes, got " +
             std::to_string(text.size()));
  }
  require(options.delimiter != '"' && options.delimiter != '\n' && options.delimiter != '\r', "csv",
          "expected a delimiter other than a quote or an end of line");
  if (text_.substr(0, 3) == "\xEF\xBB\xBF") at_ = line_start_ = 3;
}

void CsvReader::wrong(const std::string& what) const {
  fail(ErrorCode::kCorruptData, "csv",
       name_ + ", line " + std::to_string(line_) + ", column " +
           std::to_string(at_ - line_start_ + 1) + ": expected " + what);
}

bool CsvReader::next(std::vector<std::string>& fields) {
  fields.clear();
  while (columns_ != 1 && at_ < text_.size() && end_of_line()) continue;
  if (at_ >= text_.size()) return false;
  row_line_ = line_;
  while (true) {
    fields.emplace_back();
    if (at_ < text_.size() && text_[at_] == '"') {
      read_quoted(fields.back());
    } else {
      read_plain(fields.back());
    }
    if (fields.size() > options_.max_columns) {
      fail(ErrorCode::kResourceLimit, "csv",
           name_ + ", line " + std::to_string(line_) + ": expected at most " +
               std::to_string(options_.max_columns) + " fields");
    }
    if (at_ >= text_.size() || end_of_line()) break;
    ++at_;  // The delimiter.
  }
  if (columns_ == 0) columns_ = fields.size();
  if (fields.size() != columns_) {
    fail(ErrorCode::kCorruptData, "csv",
         name_ + ", line " + std::to_string(row_line_) + ": expected " + std::to_string(columns_) +
             " fields, got " + std::to_string(fields.size()));
  }
  return true;
}

/// Consumes LF or CRLF if that is what comes next.
bool CsvReader::end_of_line() {
  if (text_[at_] == '\r') {
    if (at_ + 1 >= text_.size() || text_[at_ + 1] != '\n')
      wrong("a line feed after a carriage return");
    ++at_;
  }
  if (text_[at_] != '\n') return false;
  line_start_ = ++at_;
  ++line_;
  return true;
}

void CsvReader::read_quoted(std::string& field) {
  ++at_;
  while (true) {
    if (at_ >= text_.size()) wrong("a closing quote, got the end of the file");
    char c = text_[at_];
    if (c == '"') {
      if (at_ + 1 >= text_.size() || text_[at_ + 1] != '"') break;
      ++at_;
    }
    if (c == '\0') wrong("text, got a NUL byte");
    if (c == '\n') {
      ++line_;
      line_start_ = at_ + 1;
    }
    field.push_back(c);
    if (field.size() > kMaxField) wrong("a field of at most 16 MiB");
    ++at_;
  }
  ++at_;
  if (at_ < text_.size() && text_[at_] != options_.delimiter && text_[at_] != '\n' &&
      text_[at_] != '\r') {
    wrong("a delimiter after a closing quote");
  }
}

void CsvReader::read_plain(std::string& field) {
  size_t start = at_;
  for (; at_ < text_.size(); ++at_) {
    char c = text_[at_];
    if (c == options_.delimiter || c == '\n' || c == '\r') break;
    if (c == '"') wrong("quotes around the whole field, got one inside it");
    if (c == '\0') wrong("text, got a NUL byte");
  }
  if (at_ - start > kMaxField) wrong("a field of at most 16 MiB");
  field = text_.substr(start, at_ - start);
}

Csv parse_csv(std::string_view text, const std::string& name, const CsvOptions& options) {
  CsvReader reader(text, name, options);
  Csv csv;
  if (!reader.next(csv.columns)) {
    fail(ErrorCode::kCorruptData, "csv", name + ": expected a header line, got an empty file");
  }
  for (size_t i = 0; i < csv.columns.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (csv.columns[i] == csv.columns[j]) {
        fail(ErrorCode::kCorruptData, "csv",
             name + ", line 1: expected different column names, got one twice");
      }
    }
    // Thousands of columns are series, whose names nobody looks up.
    if (i >= 4096) break;
  }
  std::vector<std::string> row;
  while (reader.next(row)) {
    csv.rows.push_back(std::move(row));
    row = {};
    if (csv.rows.size() * csv.columns.size() > options.max_cells) {
      fail(ErrorCode::kResourceLimit, "csv",
           name + ": expected at most " + std::to_string(options.max_cells) +
               " fields in all, got more");
    }
  }
  return csv;
}

Csv read_csv(const std::string& path, const CsvOptions& options) {
  return parse_csv(read_file(path, options.max_bytes), path, options);
}

Json csv_object(const Csv& csv, size_t index) {
  Json::Object out;
  for (size_t c = 0; c < csv.columns.size(); ++c) {
    const std::string& field = csv.rows.at(index)[c];
    double number = 0;
    Json value = field.empty() ? Json() : parse_number(field, number) ? Json(number) : Json(field);
    out.emplace_back(csv.columns[c], std::move(value));
  }
  return Json(std::move(out));
}

at::Tensor parse_csv_series(std::string_view text, const std::string& name,
                            const CsvOptions& options) {
  CsvReader reader(text, name, options);
  std::vector<float> values;
  std::vector<std::string> row;
  size_t columns = 0;
  for (bool first = true; reader.next(row); first = false) {
    columns = row.size();
    bool header = false;
    for (const std::string& field : row) header |= !is_number_or_missing(field);
    if (first && header) continue;
    for (size_t c = 0; c < row.size(); ++c) {
      double number = std::numeric_limits<double>::quiet_NaN();
      if (!is_missing(row[c]) &&
          (!parse_number(row[c], number) || std::abs(number) > std::numeric_limits<float>::max())) {
        fail(ErrorCode::kCorruptData, "csv",
             name + ", line " + std::to_string(reader.line()) + ", field " + std::to_string(c + 1) +
                 ": expected a finite number or nothing");
      }
      values.push_back(static_cast<float>(number));
    }
    if (values.size() > options.max_cells) {
      fail(ErrorCode::kResourceLimit, "csv",
           name + ": expected at most " + std::to_string(options.max_cells) +
               " fields in all, got more");
    }
  }
  if (values.empty())
    fail(ErrorCode::kCorruptData, "csv", name + ": expected rows of numbers, got none");
  auto steps = static_cast<int64_t>(values.size() / columns);
  return at::from_blob(values.data(), {steps, static_cast<int64_t>(columns)}, at::kFloat).clone();
}

bool parse_number(std::string_view text, double& value) {
  if (text.substr(0, 1) == "+") text.remove_prefix(1);
  // from_chars knows "inf" and "nan", which are no numbers here.
  if (text.empty() || text.find_first_not_of("0123456789.eE+-") != std::string_view::npos)
    return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

JsonLinesReader::JsonLinesReader(std::string_view text, std::string name, size_t max_line)
    : text_(text), name_(std::move(name)), max_line_(max_line) {
  if (text_.substr(0, 3) == "\xEF\xBB\xBF") at_ = 3;
}

bool JsonLinesReader::next(Json& value) {
  while (at_ < text_.size()) {
    size_t end = std::min(text_.find('\n', at_), text_.size());
    std::string_view row = text_.substr(at_, end - at_);
    at_ = end + 1;
    ++line_;
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    std::string where = name_ + ", line " + std::to_string(line_);
    if (row.size() > max_line_) {
      fail(ErrorCode::kResourceLimit, "json lines",
           where + ": expected a line of at most " + std::to_string(max_line_) + " bytes, got " +
               std::to_string(row.size()));
    }
    value = Json::parse(row, where);
    if (!value.is_object())
      fail(ErrorCode::kCorruptData, "json lines", where + ": expected an object");
    return true;
  }
  return false;
}

}  // namespace plait::data
