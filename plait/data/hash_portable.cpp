// SHA-256 (FIPS 180-4) for builds without libcrypto; chosen by CMake, tested against the same
// values.
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "plait/core/error.h"
#include "plait/data/hash.h"

namespace plait::data {
namespace {

/// The first 32 bits of the fractional part of the n-th root of the first primes, as the standard
/// defines its constants.
template <size_t N>
std::array<uint32_t, N> prime_roots(bool cube) {
  std::array<uint32_t, N> out{};
  size_t found = 0;
  for (uint32_t n = 2; found < N; ++n) {
    bool prime = true;
    for (uint32_t d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
    if (!prime) continue;
    long double root =
        cube ? std::cbrt(static_cast<long double>(n)) : std::sqrt(static_cast<long double>(n));
    out[found++] = static_cast<uint32_t>((root - std::floor(root)) * 4294967296.0L);
  }
  return out;
}

}  // namespace

struct Sha256::State {
  std::array<uint32_t, 8> h = prime_roots<8>(false);
  std::string pending;
  uint64_t bytes = 0;
  bool finished = false;

  void block(const char* data) {
    static const std::array<uint32_t, 64> kRound = prime_roots<64>(true);
    std::array<uint32_t, 64> w{};
    for (size_t i = 0; i < 16; ++i) {
      for (size_t b = 0; b < 4; ++b) w[i] = w[i] << 8 | static_cast<unsigned char>(data[4 * i + b]);
    }
    for (size_t i = 16; i < 64; ++i) {
      uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
      uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    auto v = h;
    for (size_t i = 0; i < 64; ++i) {
      uint32_t s1 = std::rotr(v[4], 6) ^ std::rotr(v[4], 11) ^ std::rotr(v[4], 25);
      uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + kRound[i] + w[i];
      uint32_t s0 = std::rotr(v[0], 2) ^ std::rotr(v[0], 13) ^ std::rotr(v[0], 22);
      uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
      v = {t1 + t2, v[0], v[1], v[2], v[3] + t1, v[4], v[5], v[6]};
    }
    for (size_t i = 0; i < 8; ++i) h[i] += v[i];
  }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) {
  if (state_->finished)
    fail(ErrorCode::kInternal, "hash", "SHA-256 was fed after it had been finished");
  state_->bytes += bytes.size();
  while (!bytes.empty()) {
    if (state_->pending.empty() && bytes.size() >= 64) {
      state_->block(bytes.data());
      bytes.remove_prefix(64);
      continue;
    }
    size_t take = std::min(bytes.size(), 64 - state_->pending.size());
    state_->pending.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (state_->pending.size() == 64) {
      state_->block(state_->pending.data());
      state_->pending.clear();
    }
  }
}

std::string Sha256::finish() {
  uint64_t bits = state_->bytes * 8;
  std::string tail("\x80", 1);
  while ((state_->bytes + tail.size()) % 64 != 56) tail += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) tail += static_cast<char>(bits >> shift & 255);
  update(tail);
  state_->finished = true;
  std::string hex;
  for (uint32_t word : state_->h) {
    for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[word >> shift & 15];
  }
  return hex;
}

}  // namespace plait::data
