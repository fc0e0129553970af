#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plait/data/text/jinja_value.h"

/// What templates do with texts, after Python's str; letters outside ASCII keep their case.
namespace plait::data::jinja {

inline constexpr size_t kMaxText = size_t{16} << 20;
inline constexpr std::string_view kBlanks = " \t\n\r\v\f";

/// Without characters of `what` at its left or right end.
std::string stripped(const std::string& text, std::string_view what, bool left, bool right);
std::string cased(std::string text, bool upper);
std::string capitalized(const std::string& text);
/// str.title(): a letter after anything but a letter is large.
std::string titled(const std::string& text);
/// The first `most` places, all when negative. @throws Error kResourceLimit beyond kMaxText.
std::string replaced(const std::string& text, const std::string& from, const std::string& to,
                     int64_t most);
/// At blanks when `separator` is null or none; `most` cuts, all when negative.
std::vector<Value> split(const std::string& text, const Value* separator, int64_t most);

/// `text.name(arguments)` for the methods of Python's str. False when there is none.
bool text_method(const std::string& text, const std::string& name, const Arguments& arguments,
                 Value& out);

}  // namespace plait::data::jinja
