#include "plait/core/error.h"
#include "plait/core/weights/onnx_schema.h"

namespace plait {

OnnxContents read_onnx(std::span<const uint8_t>, const std::string& name) {
  fail(ErrorCode::kUnavailable, "onnx",
       name +
           ": expected a build with protobuf and the schema of ONNX (Debian: libprotobuf-dev, "
           "protobuf-compiler, libonnx-dev), got one without");
}

bool onnx_is_available() { return false; }

}  // namespace plait
