#pragma once
#include <algorithm>
#include <memory>
#include <string>

#include "fuzz/target.h"
#include "plait/core/weights/tfjs.h"

namespace plait::fuzz {

/// A manifest or model.json, a zero byte, then what every shard holds.
inline TfjsFile parse_tfjs(std::string_view text) {
  size_t end = std::min(text.find('\0'), text.size());
  auto shard = std::make_shared<const std::string>(text.substr(std::min(end + 1, text.size())));
  return TfjsFile::parse(
      std::string(text.substr(0, end)), "input", [shard](const std::string&) -> TfjsFile::Shard {
        return {{reinterpret_cast<const uint8_t*>(shard->data()), shard->size()}, shard};
      });
}

}  // namespace plait::fuzz
