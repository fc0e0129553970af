#pragma once
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait::cli {

/// What the trust fusion is held to, from the raw studies of all data sets (see fusion_tables.h):
/// [{"name", "value", "bar", "holds"}]; values and bars in points or shares as the name says.
Json bars_of(const std::vector<Json>& raw);

/// One of them; what is measured shall be at least or at most `bar`.
Json bar(const std::string& name, double value, double bar, bool at_least);

std::string bars_markdown(const Json& bars);

/// P-value of "the mean of `differences` is not above 0": exact over all exchanges of signs up to
/// 16 values (then a normal approximation).
double paired_p_value(const std::vector<double>& differences);

}  // namespace plait::cli
