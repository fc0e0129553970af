#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace plait {

/// A fast 128-bit content hash (multiply and fold over 32-byte blocks), for cache keys and
/// fingerprints. The same bytes give the same digest on every machine of the same byte order,
/// however they are cut into updates. Not cryptographic: for files that were downloaded compare a
/// SHA-256 instead.
class ContentHash {
 public:
  ContentHash();
  ContentHash& update(const void* bytes, size_t size);
  /// Adds the length too, so that ("ab", "c") and ("a", "bc") differ.
  ContentHash& update(std::string_view text);
  /// 32 hexadecimal digits of what has been added so far.
  std::string digest() const;

 private:
  void block(const uint8_t* bytes);
  std::array<uint64_t, 4> lanes_;
  std::array<uint8_t, 32> pending_{};
  uint64_t length_ = 0;
};

/// Digest of one piece of text or bytes.
std::string content_hash(std::string_view bytes);

/// A well mixed 64-bit seed from up to three numbers: an item's seed is mix_seed(seed, epoch,
/// index), whatever the number of workers and the order of the work.
uint64_t mix_seed(uint64_t seed, uint64_t a = 0, uint64_t b = 0);

/// Uniform in [0, 1) from a seed.
inline double unit_interval(uint64_t seed) { return static_cast<double>(seed >> 11) * 0x1.0p-53; }

}  // namespace plait
