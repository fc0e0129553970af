#pragma once
#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace plait::data {

/// Token strings and their ids, both ways. Filled once, then only read.
class Vocab {
 public:
  /// A token that is there already gets the new id.
  void add(std::string_view token, uint32_t id);
  /// To be called after the last add. @throws Error kResourceLimit when the ids are far beyond the
  /// number of tokens.
  void finish(const std::string& where);
  /// The id, or -1.
  int64_t find(std::string_view token) const;
  /// The token with that id; empty when there is none (see contains).
  std::string_view token(uint32_t id) const;
  bool contains(uint32_t id) const { return id < by_id_.size() && by_id_[id] != 0; }
  size_t size() const { return entries_.size(); }
  /// Calls f(token, id) for every token.
  template <class F>
  void each(F f) const {
    for (const Entry& entry : entries_) f(text(entry), entry.id);
  }

 private:
  struct Entry {
    uint64_t hash;
    size_t begin;
    uint32_t length;
    uint32_t id;
  };
  std::string_view text(const Entry& entry) const {
    return std::string_view(bytes_).substr(entry.begin, entry.length);
  }
  size_t slot_of(std::string_view token, uint64_t hash) const;
  void grow();

  std::string bytes_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // entry + 1; 0: free
  std::vector<uint32_t> by_id_;  // entry + 1
};

/// A double-array trie over byte strings.
class Trie {
 public:
  /// Keys must not be empty; of equal keys the last one counts.
  static Trie build(std::vector<std::pair<std::string_view, int32_t>> keys);
  static constexpr int32_t kRoot = 0;
  bool empty() const { return units_.size() <= 1; }
  /// The child, or -1.
  int32_t step(int32_t node, unsigned char byte) const {
    size_t child = static_cast<size_t>(units_[static_cast<size_t>(node)].base) + byte;
    return child < units_.size() && units_[child].parent == node ? static_cast<int32_t>(child) : -1;
  }
  int32_t walk(int32_t node, std::string_view bytes) const;
  /// The value of the key that ends here, or -1.
  int32_t value(int32_t node) const { return units_[static_cast<size_t>(node)].value; }

 private:
  struct Unit {
    int32_t base = 0;
    int32_t parent = -1;
    int32_t value = -1;
  };
  std::vector<Unit> units_ = std::vector<Unit>(1);
};

/// A map from pairs of ids to (rank, new id).
class PairMap {
 public:
  struct Merge {
    uint32_t rank;
    uint32_t id;
  };
  void reserve(size_t count);
  void set(uint32_t left, uint32_t right, Merge merge);
  const Merge* find(uint32_t left, uint32_t right) const;

 private:
  struct Slot {
    uint64_t key = UINT64_MAX;
    Merge merge{};
  };
  size_t slot_of(uint64_t key) const;
  std::vector<Slot> slots_;
};

/// A token of a piece: its bytes [begin, end) within the piece.
struct Token {
  uint32_t id;
  uint32_t begin;
  uint32_t end;
};

/// What pieces became, so that frequent words are merged once. Bounded, thread-safe.
class WordCache {
 public:
  bool find(std::string_view word, std::vector<Token>& out) const;
  void put(std::string_view word, const Token* tokens, size_t count) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::vector<Token>, Hash, std::equal_to<>> words;
  };
  static constexpr size_t kShards = 16, kPerShard = 1024, kMaxWord = 256;
  Shard& shard(std::string_view word) const { return shards_[Hash{}(word) % kShards]; }
  mutable std::array<Shard, kShards> shards_;
};

}  // namespace plait::data
