#pragma once
#include <map>
#include <string>

#include "plait/core/tensor_map.h"

namespace plait {

/// A CTranslate2 model.bin (binary versions 4 to 6): the spec's name and its variables under the
/// names in the file
/// ("encoder/layer_0/self_attention/linear_0/weight"; q, k, v are fused there). Aliases are
/// resolved. int8 weights keep their "…/weight_scale" beside them. Format:
/// https://github.com/OpenNMT/CTranslate2 (src/models/model.cc,
/// python/ctranslate2/specs/model_spec.py).
struct CTranslate2Model {
  std::string spec;
  uint32_t revision = 0;
  TensorMap variables;
};
/// @throws Error kCorruptData naming the file, the variable and what is wrong with it.
CTranslate2Model load_ctranslate2(const std::string& path);
CTranslate2Model parse_ctranslate2(const std::string& bytes, const std::string& name);

}  // namespace plait
