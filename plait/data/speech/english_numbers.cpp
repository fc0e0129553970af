#include "plait/data/speech/english_numbers.h"

#include <array>

namespace plait::data {
namespace {

constexpr std::array<const char*, 20> kSmall = {
    "zero",     "one",     "two",     "three",     "four",     "five",    "six",
    "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",  "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr std::array<const char*, 10> kTens = {"",      "",      "twenty",  "thirty", "forty",
                                               "fifty", "sixty", "seventy", "eighty", "ninety"};
constexpr std::array<const char*, 7> kGroups = {
    "", " thousand", " million", " billion", " trillion", " quadrillion", " quintillion"};

std::string below_hundred(uint64_t n) {
  if (n < 20) return kSmall[n];
  std::string out = kTens[n / 10];
  return n % 10 ? out + " " + kSmall[n % 10] : out;
}

std::string below_thousand(uint64_t n) {
  if (n < 100) return below_hundred(n);
  std::string out = std::string(kSmall[n / 100]) + " hundred";
  return n % 100 ? out + " " + below_hundred(n % 100) : out;
}

std::string words_of(uint64_t n) {
  if (n == 0) return kSmall[0];
  std::string out;
  for (size_t group = 0; n > 0; ++group, n /= 1000) {
    if (n % 1000 == 0) continue;
    std::string part = below_thousand(n % 1000) + kGroups[group];
    out = out.empty() ? part : part + " " + out;
  }
  return out;
}

}  // namespace

std::string english_cardinal(int64_t number) {
  // The least number has no positive twin of its own type.
  if (number < 0) return "minus " + words_of(~static_cast<uint64_t>(number) + 1);
  return words_of(static_cast<uint64_t>(number));
}

std::string english_ordinal(int64_t number) {
  std::string words = english_cardinal(number);
  size_t begin = words.rfind(' ');
  begin = begin == std::string::npos ? 0 : begin + 1;
  const std::string last = words.substr(begin);
  static const std::pair<const char*, const char*> kIrregular[] = {
      {"one", "first"},    {"two", "second"}, {"three", "third"},   {"five", "fifth"},
      {"eight", "eighth"}, {"nine", "ninth"}, {"twelve", "twelfth"}};
  for (const auto& [plain, ordinal] : kIrregular) {
    if (last == plain) return words.substr(0, begin) + ordinal;
  }
  if (last.ends_with("y")) return words.substr(0, words.size() - 1) + "ieth";
  return words + "th";
}

std::string english_year(int64_t year) {
  if (year < 1000 || year > 9999 || (year >= 2000 && year < 2010) || year % 1000 == 0)
    return english_cardinal(year);
  std::string century = below_hundred(static_cast<uint64_t>(year / 100));
  const auto rest = static_cast<uint64_t>(year % 100);
  if (rest == 0) return century + " hundred";
  return century + (rest < 10 ? " oh " : " ") + below_hundred(rest);
}

std::string english_digits(std::string_view digits) {
  std::string out;
  for (char c : digits) {
    if (c < '0' || c > '9') continue;
    if (!out.empty()) out += ' ';
    out += kSmall[static_cast<size_t>(c - '0')];
  }
  return out;
}

}  // namespace plait::data
