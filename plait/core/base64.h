#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace plait {

/// The bytes of a base64 text (RFC 4648) up to its padding; none for other characters. Thread-safe.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace plait
