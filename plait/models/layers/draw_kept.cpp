#include "plait/models/layers/draw_kept.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <mutex>

namespace plait::models {
namespace {

// Compiled for wide registers too, chosen when the library is loaded.
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define PLAIT_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PLAIT_WIDE
#endif

using State = at::mt19937_data_pod;

constexpr int kWords = at::MERSENNE_STATE_N, kShift = at::MERSENNE_STATE_M;

inline uint32_t twist(uint32_t u, uint32_t v) {
  return (((u & at::UMASK) | (v & at::LMASK)) >> 1) ^ (-(v & 1) & at::MATRIX_A);
}

PLAIT_WIDE void refill(State& state) {
  uint32_t* p = state.state_.data();
#pragma omp simd
  for (int i = 0; i < kWords - kShift; ++i) p[i] = p[i + kShift] ^ twist(p[i], p[i + 1]);
    // Each reads what was written this many places before.
#pragma omp simd safelen(64)
  for (int i = kWords - kShift; i < kWords - 1; ++i)
    p[i] = p[i + kShift - kWords] ^ twist(p[i], p[i + 1]);
  p[kWords - 1] = p[kShift - 1] ^ twist(p[kWords - 1], p[0]);
  state.left_ = kWords;
  state.next_ = 0;
}

/// The generator's next words.
PLAIT_WIDE void draw(State& state, uint32_t* out, int64_t count) {
  while (count > 0) {
    // As at::mt19937: it counts one more than there are, and refills when it is asked for the next.
    if (state.left_ == 1) {
      refill(state);
      ++state.left_;
    }
    const auto here = static_cast<int>(std::min<int64_t>(count, state.left_ - 1));
    const uint32_t* from = state.state_.data() + state.next_;
#pragma omp simd
    for (int i = 0; i < here; ++i) {
      uint32_t y = from[i];
      y ^= y >> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      out[i] = y ^ (y >> 18);
    }
    state.left_ -= here;
    state.next_ += static_cast<uint32_t>(here);
    out += here;
    count -= here;
  }
}

/// Pairs of words to `value` where 53 bits of them are below the limit, else 0.
PLAIT_WIDE void compare(const uint32_t* words, int64_t limit, float value, float* out,
                        int64_t count) {
  constexpr int64_t kMask = (int64_t{1} << 53) - 1;
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = static_cast<int64_t>(uint64_t{words[2 * i]} << 32 | words[2 * i + 1]);
    out[i] = (bits & kMask) < limit ? value : 0.0f;
  }
}

}  // namespace

void draw_kept(const at::Generator& generator, double p, float value, float* out, int64_t count) {
  auto* impl = at::check_generator<at::CPUGeneratorImpl>(generator);
  std::lock_guard<std::mutex> lock(impl->mutex_);
  at::mt19937 engine = impl->engine();
  State state = engine.data();
  const auto limit = static_cast<int64_t>(std::ceil(p * 0x1.0p53));
  constexpr int64_t kBlock = 1024;
  uint32_t words[2 * kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    draw(state, words, 2 * n);
    compare(words, limit, value, out + begin, n);
  }
  engine.set_data(state);
  impl->set_engine(engine);
}

}  // namespace plait::models
