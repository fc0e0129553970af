#pragma once
#include <string_view>

namespace plait::data {

/// Bytes of a text over its bytes as zlib packs it (level 6): above 2.4 or so it repeats itself.
/// @throws Error kUnavailable without zlib.
double compression_ratio(std::string_view text);

}  // namespace plait::data
