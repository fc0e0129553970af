#include "plait/data/table/vector_processor.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"
#include "plait/data/decode.h"
#include "plait/data/table/table_processor.h"

namespace plait::data {

TensorMap VectorProcessor::process(const std::vector<const Value*>& values,
                                   const std::string& where) const {
  at::Tensor out = at::zeros({static_cast<int64_t>(values.size()), config_.features}, at::kFloat);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    std::string item = item_name(where, i, values.size());
    Value value = decode_table_value(*values[i], item);
    const auto* row = std::get_if<at::Tensor>(&value);
    if (!row || row->size(0) != config_.features) {
      fail(ErrorCode::kInvalidArgument, "vector",
           item + ": expected " + std::to_string(config_.features) + " numbers, got " +
               (row ? std::to_string(row->size(0)) : "a row with named fields"));
    }
    if (at::isinf(*row).any().item<bool>()) {
      fail(ErrorCode::kInvalidArgument, "vector",
           item + ": expected finite numbers (NaN: missing), got infinity");
    }
    out[static_cast<int64_t>(i)].copy_(*row);
  }
  return {{"values", out}};
}

Json VectorProcessor::config() const { return typed_config("vector", write_config(config_)); }

}  // namespace plait::data
