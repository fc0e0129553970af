#pragma once
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait::cli {

/// The rows of the trained rivals (train::baseline_names()) of an earlier table, to be shown and
/// compared beside the methods of `raw`, which is as summarise takes it, of the same data set and
/// splits; studies may be missing yet. Rivals in `own` are the new run's. @return {"methods",
/// "overall"} as the table has them.
/// @throws Error kInvalidArgument that lists what differs: data set, seeds, training and test
/// items, streams, conditions, or (where both have it) the splits themselves.
Json earlier_rivals(const Json& table, const Json& raw, const std::vector<std::string>& own);

/// Accuracy of every seed under a condition, of a method of the studies or of raw["earlier"].
/// Tables have five digits; those of earlier rivals are taken back to the count of items.
std::vector<double> accuracies(const Json& raw, const std::string& method,
                               const std::string& condition);

/// The methods of the studies and those of raw["earlier"], sorted.
std::vector<std::string> all_methods(const Json& raw);

}  // namespace plait::cli
