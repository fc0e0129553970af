#pragma once
#include <cstdint>
#include <string>

/// Parts of a JSON schema that need more than a rule: patterns of texts and ranges of integers, as
/// GBNF.
namespace plait::runtime {

/// The texts of JSON, quotes included, that `pattern` is found in: literals, escapes, classes,
/// groups, alternatives, repetitions, and ^ and $ at the ends of an alternative of the whole. Where
/// dialects differ (Unicode digits, letters and spaces) only what all of them accept.
/// @throws Error kInvalidArgument naming `where` and what is not supported (look-around,
/// back-references, word boundaries) or wrong.
std::string pattern_to_gbnf(const std::string& pattern, const std::string& where);

/// Integers from `low` to `high`, each of at most 15 digits, without leading zeros.
std::string integer_range_to_gbnf(int64_t low, int64_t high);

}  // namespace plait::runtime
