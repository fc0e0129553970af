#include "plait/core/weights/gguf_blocks.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstring>
#include <string>

#include "plait/core/error.h"

namespace plait {
namespace {

template <class T>
float scalar(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<float>(value);
}
float half(const uint8_t* at) { return scalar<c10::Half>(at); }

template <class T>
void plain(const uint8_t* at, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = scalar<T>(at + i * sizeof(T));
}

// In blocks of 32 the low halves of the bytes are the first 16 values, the high halves the rest.

void q4_0(const uint8_t* block, float* out) {
  float d = half(block);
  for (int i = 0; i < 16; ++i) {
    uint8_t q = block[2 + i];
    out[i] = static_cast<float>((q & 15) - 8) * d;
    out[i + 16] = static_cast<float>((q >> 4) - 8) * d;
  }
}

void q4_1(const uint8_t* block, float* out) {
  float d = half(block), m = half(block + 2);
  for (int i = 0; i < 16; ++i) {
    uint8_t q = block[4 + i];
    out[i] = static_cast<float>(q & 15) * d + m;
    out[i + 16] = static_cast<float>(q >> 4) * d + m;
  }
}

/// The fifth bits of the 32 values in one word.
uint32_t word(const uint8_t* at) {
  uint32_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return bits;
}

void q5_0(const uint8_t* block, float* out) {
  float d = half(block);
  uint32_t high = word(block + 2);
  for (int i = 0; i < 16; ++i) {
    uint8_t q = block[6 + i];
    int low = static_cast<int>((q & 15) | ((high >> i & 1) << 4));
    int up = static_cast<int>((q >> 4) | ((high >> (i + 16) & 1) << 4));
    out[i] = static_cast<float>(low - 16) * d;
    out[i + 16] = static_cast<float>(up - 16) * d;
  }
}

void q5_1(const uint8_t* block, float* out) {
  float d = half(block), m = half(block + 2);
  uint32_t high = word(block + 4);
  for (int i = 0; i < 16; ++i) {
    uint8_t q = block[8 + i];
    out[i] = static_cast<float>((q & 15) | ((high >> i & 1) << 4)) * d + m;
    out[i + 16] = static_cast<float>((q >> 4) | ((high >> (i + 16) & 1) << 4)) * d + m;
  }
}

void q8_0(const uint8_t* block, float* out) {
  float d = half(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
}

/// Scale and minimum of the eight sub-blocks of a K block: 6 bits each, packed into 12 bytes.
struct SubScales {
  float scale[8], minimum[8];
  SubScales(const uint8_t* block, const uint8_t* packed) {
    float d = half(block), m = half(block + 2);
    for (int i = 0; i < 8; ++i) {
      int s = i < 4 ? packed[i] & 63 : (packed[i + 4] & 15) | (packed[i - 4] >> 6) << 4;
      int low = i < 4 ? packed[i + 4] & 63 : (packed[i + 4] >> 4) | (packed[i] >> 6) << 4;
      scale[i] = d * static_cast<float>(s);
      minimum[i] = m * static_cast<float>(low);
    }
  }
};

void q4_k(const uint8_t* block, float* out) {
  SubScales sub(block, block + 4);
  const uint8_t* q = block + 16;
  for (int i = 0; i < 8; i += 2, q += 32, out += 64) {
    for (int l = 0; l < 32; ++l) {
      out[l] = sub.scale[i] * static_cast<float>(q[l] & 15) - sub.minimum[i];
      out[l + 32] = sub.scale[i + 1] * static_cast<float>(q[l] >> 4) - sub.minimum[i + 1];
    }
  }
}

void q5_k(const uint8_t* block, float* out) {
  SubScales sub(block, block + 4);
  const uint8_t* high = block + 16;
  const uint8_t* q = block + 48;
  for (int i = 0; i < 8; i += 2, q += 32, out += 64) {
    for (int l = 0; l < 32; ++l) {
      int first = (q[l] & 15) | (high[l] >> i & 1) << 4;
      int second = (q[l] >> 4) | (high[l] >> (i + 1) & 1) << 4;
      out[l] = sub.scale[i] * static_cast<float>(first) - sub.minimum[i];
      out[l + 32] = sub.scale[i + 1] * static_cast<float>(second) - sub.minimum[i + 1];
    }
  }
}

void q6_k(const uint8_t* block, float* out) {
  const uint8_t* low = block;
  const uint8_t* high = block + 128;
  const uint8_t* scales = block + 192;
  float d = half(block + 208);
  for (int part = 0; part < 2; ++part, low += 64, high += 32, scales += 8, out += 128) {
    for (int l = 0; l < 32; ++l) {
      int q[4] = {(low[l] & 15) | (high[l] & 3) << 4, (low[l + 32] & 15) | (high[l] >> 2 & 3) << 4,
                  (low[l] >> 4) | (high[l] >> 4 & 3) << 4,
                  (low[l + 32] >> 4) | (high[l] >> 6) << 4};
      for (int i = 0; i < 4; ++i) {
        float scale = d * static_cast<float>(static_cast<int8_t>(scales[2 * i + l / 16]));
        out[l + 32 * i] = scale * static_cast<float>(q[i] - 32);
      }
    }
  }
}

template <void (*kBlock)(const uint8_t*, float*)>
void each(const uint8_t* data, int64_t blocks, const GgmlLayout& layout, float* out) {
  for (int64_t i = 0; i < blocks; ++i) kBlock(data + i * layout.bytes, out + i * layout.values);
}

}  // namespace

GgmlLayout layout_of(GgmlType type) {
  switch (type) {
    case GgmlType::kF32: return {"F32", 1, 4};
    case GgmlType::kF16: return {"F16", 1, 2};
    case GgmlType::kBF16: return {"BF16", 1, 2};
    case GgmlType::kF64: return {"F64", 1, 8};
    case GgmlType::kI8: return {"I8", 1, 1};
    case GgmlType::kI16: return {"I16", 1, 2};
    case GgmlType::kI32: return {"I32", 1, 4};
    case GgmlType::kI64: return {"I64", 1, 8};
    case GgmlType::kQ4_0: return {"Q4_0", 32, 2 + 16};
    case GgmlType::kQ4_1: return {"Q4_1", 32, 4 + 16};
    case GgmlType::kQ5_0: return {"Q5_0", 32, 2 + 4 + 16};
    case GgmlType::kQ5_1: return {"Q5_1", 32, 4 + 4 + 16};
    case GgmlType::kQ8_0: return {"Q8_0", 32, 2 + 32};
    case GgmlType::kQ8_1: return {"Q8_1", 32, 4 + 32};
    case GgmlType::kQ2_K: return {"Q2_K", 256, 16 + 64 + 4};
    case GgmlType::kQ3_K: return {"Q3_K", 256, 32 + 64 + 12 + 2};
    case GgmlType::kQ4_K: return {"Q4_K", 256, 4 + 12 + 128};
    case GgmlType::kQ5_K: return {"Q5_K", 256, 4 + 12 + 32 + 128};
    case GgmlType::kQ6_K: return {"Q6_K", 256, 128 + 64 + 16 + 2};
    case GgmlType::kQ8_K: return {"Q8_K", 256, 4 + 256 + 32};
  }
  return {};
}

bool can_dequantize(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
    case GgmlType::kF16:
    case GgmlType::kBF16:
    case GgmlType::kQ4_0:
    case GgmlType::kQ4_1:
    case GgmlType::kQ5_0:
    case GgmlType::kQ5_1:
    case GgmlType::kQ8_0:
    case GgmlType::kQ4_K:
    case GgmlType::kQ5_K:
    case GgmlType::kQ6_K: return true;
    default: return false;
  }
}

void dequantize(GgmlType type, const uint8_t* data, int64_t blocks, float* out) {
  GgmlLayout layout = layout_of(type);
  switch (type) {
    case GgmlType::kF32:
      if (blocks > 0) std::memcpy(out, data, static_cast<size_t>(blocks) * sizeof(float));
      return;
    case GgmlType::kF16: return plain<c10::Half>(data, blocks, out);
    case GgmlType::kBF16: return plain<c10::BFloat16>(data, blocks, out);
    case GgmlType::kQ4_0: return each<q4_0>(data, blocks, layout, out);
    case GgmlType::kQ4_1: return each<q4_1>(data, blocks, layout, out);
    case GgmlType::kQ5_0: return each<q5_0>(data, blocks, layout, out);
    case GgmlType::kQ5_1: return each<q5_1>(data, blocks, layout, out);
    case GgmlType::kQ8_0: return each<q8_0>(data, blocks, layout, out);
    case GgmlType::kQ4_K: return each<q4_k>(data, blocks, layout, out);
    case GgmlType::kQ5_K: return each<q5_k>(data, blocks, layout, out);
    case GgmlType::kQ6_K: return each<q6_k>(data, blocks, layout, out);
    default:
      fail(ErrorCode::kUnavailable, "gguf",
           "expected F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K to read as "
           "float, got " +
               (layout.name.empty() ? "type " + std::to_string(static_cast<uint32_t>(type))
                                    : std::string(layout.name)));
  }
}

}  // namespace plait
