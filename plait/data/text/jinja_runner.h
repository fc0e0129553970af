#pragma once
#include <string>
#include <vector>

#include "plait/data/text/jinja_parser.h"

namespace plait::data::jinja {

struct Limits {
  size_t text;
  int64_t steps;
};

/// The text that the statements make with these variables (an object). @throws Error
/// kInvalidArgument for what the template does wrong, kResourceLimit beyond the limits.
std::string run(const std::vector<Statement>& statements, const Json& variables,
                const Limits& limits);

}  // namespace plait::data::jinja
