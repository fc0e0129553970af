#pragma once
#include <cstdint>
#include <string_view>

namespace plait {

/// How GGUF stores the values of a tensor; the numbers are those of the file format
/// (https://github.com/ggml-org/ggml, docs/gguf.md and src/ggml-common.h).
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kBF16 = 30,
};

/// A block of consecutive values of one row that share their scales; plain types have blocks of
/// one value.
struct GgmlLayout {
  std::string_view name;  ///< "Q4_1"; "" for a number that is no type known here.
  int64_t values = 0;     ///< Values in a block.
  int64_t bytes = 0;      ///< Bytes of a block.
};
GgmlLayout layout_of(GgmlType type);

/// True for types whose blocks `dequantize` reads: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0,
/// Q4_K, Q5_K, Q6_K.
bool can_dequantize(GgmlType type);

/// `blocks` blocks at `data` (any alignment) → layout_of(type).values · blocks floats at `out`.
/// One thread. @throws Error kUnavailable for a type that can_dequantize says no to.
void dequantize(GgmlType type, const uint8_t* data, int64_t blocks, float* out);

}  // namespace plait
