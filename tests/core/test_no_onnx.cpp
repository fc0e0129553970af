#include <gtest/gtest.h>

#include "plait/core/weights/onnx.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

TEST(NoOnnxTest, SaysWhatIsMissing) {
  EXPECT_FALSE(onnx_is_available());
  tests::expect_error(ErrorCode::kUnavailable, "libprotobuf-dev", [] { parse_onnx({}, "m.onnx"); });
}

}  // namespace
}  // namespace plait
