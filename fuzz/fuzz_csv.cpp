#include <cstdlib>

#include "fuzz/target.h"
#include "plait/data/table/csv.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = plait::fuzz::text(data, size);
  plait::fuzz::guarded([&] {
    plait::data::Csv csv = plait::data::parse_csv(text, "input");
    for (const auto& row : csv.rows) {
      if (row.size() != csv.columns.size()) std::abort();
    }
    if (!csv.rows.empty()) plait::data::csv_object(csv, 0);
  });
  return plait::fuzz::guarded([&] { plait::data::parse_csv_series(text, "input"); });
}
