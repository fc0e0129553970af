#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plait/core/sample.h"

namespace plait::data {

struct CsvOptions {
  char delimiter = ',';
  size_t max_bytes = size_t{1} << 30;
  size_t max_columns = 65536;
  size_t max_cells = size_t{1} << 26;  ///< Rows times columns of what is kept in memory.
};

/// Reads CSV rows one by one (RFC 4180: quoted fields, "" for a quote, LF or CRLF; a leading UTF-8
/// mark is skipped, and empty lines are, unless the table has one column). Strict: a stray quote, a
/// lone CR, a NUL, an unclosed quote, or a row with another number of fields than the first is an
/// error that gives `name`, line and column.
class CsvReader {
 public:
  /// `text` must outlive the reader.
  CsvReader(std::string_view text, std::string name, const CsvOptions& options = {});
  /// The next row into `fields`; false at the end. @throws Error kCorruptData, kResourceLimit.
  bool next(std::vector<std::string>& fields);
  /// The line on which the last row began, from 1.
  int64_t line() const { return row_line_; }

 private:
  [[noreturn]] void wrong(const std::string& what) const;
  void read_quoted(std::string& field);
  void read_plain(std::string& field);
  bool end_of_line();

  std::string_view text_;
  std::string name_;
  CsvOptions options_;
  size_t at_ = 0;
  size_t line_start_ = 0;
  int64_t line_ = 1;
  int64_t row_line_ = 0;
  size_t columns_ = 0;
};

/// A whole table: the first row is the header.
struct Csv {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};
Csv parse_csv(std::string_view text, const std::string& name, const CsvOptions& options = {});
Csv read_csv(const std::string& path, const CsvOptions& options = {});

/// Row `index` as an object: numbers where a whole field is one, null where it is empty, else text.
Json csv_object(const Csv& csv, size_t index);

/// Numbers only → [T, C] float32, NaN where a field is empty, "nan" or "NA". The first row is a
/// header when one of its fields is none of these. @throws Error that gives line and column for
/// anything else, infinity included.
at::Tensor parse_csv_series(std::string_view text, const std::string& name,
                            const CsvOptions& options = {});

/// A whole field as a finite number. Locale-free; no leading or trailing blanks.
bool parse_number(std::string_view text, double& value);

/// Objects, one per line (empty lines are skipped), read from a file of any size with one line in
/// memory.
/// @throws Error kCorruptData with the file and line; kResourceLimit for a line over `max_line`
/// bytes.
class JsonLinesReader {
 public:
  explicit JsonLinesReader(std::string_view text, std::string name,
                           size_t max_line = size_t{16} << 20);
  bool next(Json& value);
  int64_t line() const { return line_; }

 private:
  std::string_view text_;
  std::string name_;
  size_t max_line_;
  size_t at_ = 0;
  int64_t line_ = 0;
};

}  // namespace plait::data
