#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace plait::data {

/// "forty two", "one thousand five"; below zero with "minus". Any 64-bit number.
std::string english_cardinal(int64_t number);
/// "forty second".
std::string english_ordinal(int64_t number);
/// Years as they are read: "nineteen eighty four", "two thousand six", "twenty twenty four".
std::string english_year(int64_t year);
/// Digit by digit: "zero four two".
std::string english_digits(std::string_view digits);

}  // namespace plait::data
