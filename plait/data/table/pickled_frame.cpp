#include "plait/data/table/pickled_frame.h"

#include <ATen/ATen.h>

#include <bit>
#include <cstring>

#include "plait/core/error.h"

namespace plait::data {
namespace {

using Kind = PickleValue::Kind;

constexpr int64_t kMaxColumns = 4096;

constexpr std::string_view kNames[] = {
    "copy_reg._reconstructor",
    "copyreg._reconstructor",
    "__builtin__.object",
    "builtins.object",
    "__builtin__.slice",
    "builtins.slice",
    "_codecs.encode",
    "numpy.core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "pandas.core.frame.DataFrame",
    "pandas.core.internals.managers.BlockManager",
    "pandas.core.indexes.base._new_Index",
    "pandas.core.indexes.base.Index",
    "pandas.core.indexes.range.RangeIndex",
};

class Reader {
 public:
  explicit Reader(const std::string& where) : where_(where) {}

  PickledFrame frame(const PickleValue& value) const {
    const PickleValue& manager = entry(state(value, "_reconstructor"), "_data");
    const PickleValue& parts =
        entry(item(state(manager, "_reconstructor"), Kind::kTuple, 3), "0.14.1");
    PickledFrame out;
    out.columns = names(item(entry(parts, "axes"), Kind::kList, 0));
    std::vector<at::Tensor> rows(out.columns.size());
    const PickleValue& blocks = of_kind(entry(parts, "blocks"), Kind::kList);
    for (const PickleValue* block : blocks.items) {
      at::Tensor values = array(entry(*block, "values"));
      const PickleValue& at = arguments(entry(*block, "mgr_locs"), "slice");
      const int64_t start = integer(item(at, Kind::kTuple, 0)),
                    stop = integer(item(at, Kind::kTuple, 1));
      expect(start >= 0 && stop >= start && stop <= static_cast<int64_t>(rows.size()) &&
                 values.size(0) == stop - start,
             "as many rows in a block as it has columns");
      for (int64_t i = start; i < stop; ++i)
        rows[static_cast<size_t>(i)] = values.select(0, i - start);
    }
    for (const at::Tensor& row : rows)
      expect(row.defined() && row.size(0) == rows[0].size(0), "columns of one length");
    out.values = at::stack(rows, 1);
    return out;
  }

 private:
  void expect(bool ok, const std::string& what) const {
    if (!ok) fail(ErrorCode::kCorruptData, "frame", where_ + ": expected " + what);
  }
  const PickleValue& of_kind(const PickleValue& value, Kind kind) const {
    expect(value.kind == kind, "another kind of value in a data frame");
    return value;
  }
  const PickleValue& item(const PickleValue& value, Kind kind, size_t index) const {
    expect(value.kind == kind && index < value.items.size(), "more values in a data frame");
    return *value.items[index];
  }
  const PickleValue& entry(const PickleValue& dict, std::string_view key) const {
    of_kind(dict, Kind::kDict);
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      if (dict.items[i]->kind == Kind::kString && dict.items[i]->text == key)
        return *dict.items[i + 1];
    }
    expect(false, "\"" + std::string(key) + "\" in a data frame");
    return dict;
  }
  int64_t integer(const PickleValue& value) const { return of_kind(value, Kind::kInt).number; }

  /// Arguments and state of a written down call of the function that ends so.
  const PickleValue& arguments(const PickleValue& call, std::string_view function) const {
    expect(call.kind == Kind::kCall && call.text.ends_with(function) && !call.items.empty(),
           "a call of " + std::string(function));
    return *call.items[0];
  }
  const PickleValue& state(const PickleValue& call, std::string_view function) const {
    arguments(call, function);
    expect(call.items.size() == 2, "the state of an object");
    return *call.items[1];
  }

  std::vector<std::string> names(const PickleValue& index) const {
    const PickleValue& labels =
        entry(item(arguments(index, "_new_Index"), Kind::kTuple, 1), "data");
    const PickleValue& values =
        of_kind(item(state(labels, "_reconstruct"), Kind::kTuple, 4), Kind::kList);
    expect(!values.items.empty() && values.items.size() <= kMaxColumns, "1 to 4096 columns");
    std::vector<std::string> out;
    for (const PickleValue* value : values.items)
      out.emplace_back(of_kind(*value, Kind::kString).text);
    return out;
  }

  /// numpy.ndarray of two dimensions → [R, N] float64.
  at::Tensor array(const PickleValue& value) const {
    const PickleValue& parts = state(value, "_reconstruct");
    const PickleValue& shape = item(parts, Kind::kTuple, 1);
    const PickleValue& dtype = item(parts, Kind::kTuple, 2);
    const int64_t rows = integer(item(shape, Kind::kTuple, 0)),
                  columns = integer(item(shape, Kind::kTuple, 1));
    std::string_view type =
        of_kind(item(arguments(dtype, "dtype"), Kind::kTuple, 0), Kind::kString).text;
    std::string_view order =
        of_kind(item(state(dtype, "dtype"), Kind::kTuple, 1), Kind::kString).text;
    expect((type == "f8" || type == "i8") && order == "<", "float64 or int64 values");
    expect(shape.items.size() == 2 && rows >= 0 && rows <= kMaxColumns && columns >= 0,
           "an array [R, N]");
    std::string bytes = content(item(parts, Kind::kTuple, 4));
    expect(bytes.size() % 8 == 0 &&
               (rows == 0 ? bytes.empty()
                          : static_cast<int64_t>(bytes.size() / 8) / rows == columns &&
                                static_cast<int64_t>(bytes.size() / 8) % rows == 0),
           "as many bytes as an array has");
    const bool by_column = of_kind(item(parts, Kind::kTuple, 3), Kind::kBool).number != 0;
    at::Tensor out =
        at::empty(by_column ? at::IntArrayRef{columns, rows} : at::IntArrayRef{rows, columns},
                  type == "f8" ? at::kDouble : at::kLong);
    std::memcpy(out.data_ptr(), bytes.data(), bytes.size());
    if (by_column) out = out.t();
    return out.to(at::kDouble);
  }

  /// Bytes as such, or as _codecs.encode(text, "latin1"), which protocol 2 has instead.
  std::string content(const PickleValue& value) const {
    if (value.kind == Kind::kBytes) return std::string(value.text);
    const PickleValue& call = arguments(value, "encode");
    std::string_view text = of_kind(item(call, Kind::kTuple, 0), Kind::kString).text;
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
      const auto c = static_cast<uint8_t>(text[i]);
      if (c < 0x80) {
        out += static_cast<char>(c);
        continue;
      }
      expect((c == 0xc2 || c == 0xc3) && i + 1 < text.size() &&
                 (static_cast<uint8_t>(text[i + 1]) & 0xc0) == 0x80,
             "Latin-1 text");
      out += static_cast<char>((c & 3) << 6 | (static_cast<uint8_t>(text[++i]) & 0x3f));
    }
    return out;
  }

  const std::string& where_;
};

}  // namespace

std::span<const std::string_view> pickled_frame_globals() { return kNames; }

PickledFrame read_frame(const PickleValue& value, const std::string& where) {
  static_assert(std::endian::native == std::endian::little);
  return Reader(where).frame(value);
}

}  // namespace plait::data
