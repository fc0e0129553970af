#pragma once
#include <string>

#include "plait/api/recipe.h"

namespace plait::api {

/// The model card: data, licences, figures.
std::string make_card(const MultimodalModel& model, const Recipe& recipe,
                      const data::DatasetInfo& info, const Json& figures);

/// The card with its table of held-out items made anew; a card without one stays as it is.
std::string with_figures(const std::string& card, const Recipe& recipe, const Json& figures);

/// The card with its section on the trust fusions (who answers for which streams, the routes) made
/// anew; it is the last one.
std::string with_trust_section(const std::string& card, const MultimodalModel& model);

}  // namespace plait::api
