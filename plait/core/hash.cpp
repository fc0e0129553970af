#include "plait/core/hash.h"

#include <algorithm>
#include <cstring>

namespace plait {
namespace {

// Fractional bits of the square roots of small primes: nothing up the sleeve.
constexpr uint64_t kKeys[] = {0x6a09e667f3bcc909, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
                              0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
                              0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

/// Both halves of the 128-bit product, folded.
uint64_t fold(uint64_t a, uint64_t b) {
  auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t load(const uint8_t* bytes) {
  uint64_t v;
  std::memcpy(&v, bytes, 8);
  return v;
}

uint64_t finalize(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

void append_hex(std::string& out, uint64_t v) {
  for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[(v >> shift) & 15];
}

}  // namespace

ContentHash::ContentHash() : lanes_{kKeys[0], kKeys[1], kKeys[2], kKeys[3]} {}

void ContentHash::block(const uint8_t* bytes) {
  uint64_t w[4] = {load(bytes), load(bytes + 8), load(bytes + 16), load(bytes + 24)};
  // Each word enters two lanes, once through a product and once by addition, so no word can be
  // cancelled by a zero factor.
  lanes_[0] = fold(lanes_[0] ^ w[0], kKeys[4] ^ w[1]) + w[2];
  lanes_[1] = fold(lanes_[1] ^ w[1], kKeys[5] ^ w[2]) + w[3];
  lanes_[2] = fold(lanes_[2] ^ w[2], kKeys[6] ^ w[3]) + w[0];
  lanes_[3] = fold(lanes_[3] ^ w[3], kKeys[7] ^ w[0]) + w[1];
}

ContentHash& ContentHash::update(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  size_t held = length_ % 32;
  length_ += size;
  if (held > 0) {
    size_t take = std::min(size, 32 - held);
    if (take > 0) std::memcpy(pending_.data() + held, bytes, take);
    bytes += take;
    size -= take;
    if (held + take < 32) return *this;
    block(pending_.data());
  }
  for (; size >= 32; bytes += 32, size -= 32) block(bytes);
  if (size > 0) std::memcpy(pending_.data(), bytes, size);
  return *this;
}

ContentHash& ContentHash::update(std::string_view text) {
  uint64_t size = text.size();
  return update(&size, sizeof size).update(text.data(), text.size());
}

std::string ContentHash::digest() const {
  ContentHash end = *this;
  size_t held = length_ % 32;
  std::fill(end.pending_.begin() + static_cast<std::ptrdiff_t>(held), end.pending_.end(),
            uint8_t{0});
  end.block(end.pending_.data());
  uint64_t high = fold(end.lanes_[0] ^ kKeys[5], end.lanes_[1] ^ length_) + end.lanes_[2];
  uint64_t low =
      fold(end.lanes_[2] ^ kKeys[7], end.lanes_[3] ^ ~length_) + end.lanes_[0] + end.lanes_[1] * 3;
  std::string out;
  append_hex(out, finalize(high ^ end.lanes_[3]));
  append_hex(out, finalize(low + fold(high, kKeys[4])));
  return out;
}

std::string content_hash(std::string_view bytes) {
  return ContentHash().update(bytes.data(), bytes.size()).digest();
}

uint64_t mix_seed(uint64_t seed, uint64_t a, uint64_t b) {
  uint64_t x = finalize(seed + 0x9e3779b97f4a7c15);
  x = finalize(x ^ (a + 0x9e3779b97f4a7c15));
  return finalize(x + finalize(b + 0x3c6ef372fe94f82b));
}

}  // namespace plait
