#pragma once
#include <string>

#include "plait/core/json.h"
#include "plait/core/tensor_map.h"

namespace plait {

/// Reads a PyTorch .pth/.pt file (zip archive with a pickle, torch.save's format since 1.6, and the
/// legacy one where it is cheap) without running any code: the pickle machine knows only
/// containers, numbers, strings, OrderedDict, torch._utils._rebuild_tensor(_v2), _rebuild_parameter
/// and the torch storage types; any other global is refused. Nested dictionaries are flattened with
/// dots ("model.layer.weight"); non-tensor leaves are dropped.
/// @throws Error kCorruptData naming the file and what was found.
TensorMap load_pth(const std::string& path);
/// The same for bytes in memory.
TensorMap parse_pth(const std::string& bytes, const std::string& name);

}  // namespace plait
