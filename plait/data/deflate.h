#pragma once
#include <string>
#include <string_view>

/// What zlib does for this house.
namespace plait::data {

/// Bytes of a text over its bytes as zlib packs it (level 6): above 2.4 or so it repeats itself.
/// @throws Error kUnavailable without zlib.
double compression_ratio(std::string_view text);

/// Raw DEFLATE, at most `max_bytes` of output; messages start with `name`. @throws Error
/// kCorruptData, kResourceLimit; kUnavailable without zlib.
std::string inflate_raw(std::string_view bytes, size_t max_bytes, const std::string& name);

}  // namespace plait::data
