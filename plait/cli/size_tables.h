#pragma once
#include <string>
#include <vector>

#include "plait/core/json.h"

/// Few training items: the trust fusion beside the best single stream and the best static fusion.
namespace plait::cli {

/// `raw` is {"dataset", "licence", "note", "seeds", "test_items", "sizes": [of each seed [{"items",
/// "trust", "best_single", "best_static"}]]}, accuracies on clean test items.
/// @return the same with "sizes": [{"items", "trust", "best_single", "best_static": spreads,
/// "at_least_single", "at_least_static": number of seeds in which trust is as good or better}].
Json summarise_sizes(const Json& raw);

/// A page of what `summarise_sizes` gives.
std::string sizes_markdown(const Json& table);

/// As bars_of (see fusion_bars.h), of the tables of several data sets.
Json size_bars(const std::vector<Json>& tables);

}  // namespace plait::cli
