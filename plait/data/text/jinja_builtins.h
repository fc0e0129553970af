#pragma once
#include <string>

#include "plait/data/text/jinja_value.h"

namespace plait::data::jinja {

/// `operand | name(arguments)`. @throws Error kInvalidArgument for a filter that Plait lacks.
Value apply_filter(const std::string& name, const Value& operand, const Arguments& arguments);
/// `operand is name(arguments)`.
bool apply_test(const std::string& name, const Value& operand, const Arguments& arguments);
/// `object.name(arguments)` for methods of Python's str, dict and list. False when there is none.
bool call_method(const Value& object, const std::string& name, const Arguments& arguments,
                 Value& out);
/// object.name or object["name"]: the member of a mapping, else undefined.
Value attribute(const Value& object, const std::string& name);

}  // namespace plait::data::jinja
