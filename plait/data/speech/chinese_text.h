#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace plait::data {

/// "一千零二十三"; below zero with 负. Any 64-bit number.
std::string chinese_number(int64_t number);
/// Digit by digit: "二零二四".
std::string chinese_digits(std::string_view digits);

/// Chinese as it is spoken: numbers, decimals, percentages, fractions, money, times, dates, ranges,
/// units and long runs of digits become characters (两 before measure words); full-width digits and
/// signs count as plain ones. Everything else stays. @throws Error kResourceLimit for more than a
/// million bytes.
std::string spell_chinese(const std::string& text);

}  // namespace plait::data
