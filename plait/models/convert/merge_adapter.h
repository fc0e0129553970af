#pragma once
#include <string>

#include "plait/core/json.h"

namespace plait::models {

/// Adds a low-rank adapter (a folder in the PEFT layout) to the weights of the model folder `base`
/// that it was trained beside, and writes the sum to the folder `destination`, with everything else
/// that `base` holds besides weights (config, tokenizer, templates). Weights keep their types.
/// Works on names and so for every model whose folder and adapter agree on them. `destination` must
/// not exist, or be empty; it is made under another name and renamed at the end. Returns {"path",
/// "tensors": adapted ones, "rank", "scale"}.
/// @throws Error kInvalidArgument for an adapter of another model, an unsupported option or an
/// existing destination; kNotFound, kCorruptData, kIo.
Json merge_adapter(const std::string& base, const std::string& adapter,
                   const std::string& destination);

}  // namespace plait::models
