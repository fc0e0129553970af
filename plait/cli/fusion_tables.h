#pragma once
#include <string>

#include "plait/core/json.h"

namespace plait::cli {

/// One data set's studies, put together over seeds. `raw` is {"dataset", "licence", "note",
/// "streams", "seeds", "train_items", "test_items", "conditions", "studies": [run_fusion_study]}.
/// @return the same without "studies", with "methods": {method: {metric: {condition: {"mean", "sd",
/// "worst"}}}} (accuracy with its values too), "overall": {method: spread of the mean over
/// conditions}, and what the trust fusion alone has.
Json summarise(const Json& raw);

/// A page of tables of what `summarise` gives.
std::string to_markdown(const Json& table);

}  // namespace plait::cli
