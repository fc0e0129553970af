#include "plait/data/text/vocab.h"

#include <algorithm>
#include <cstring>

#include "plait/core/error.h"

namespace plait::data {
namespace {

uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  return x ^ x >> 32;
}

uint64_t hash_of(std::string_view text) {
  uint64_t hash = text.size() * 0x9E3779B97F4A7C15u;
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    hash = mix(hash ^ word);
  }
  uint64_t rest = 0;
  std::memcpy(&rest, text.data() + at, text.size() - at);
  return mix(hash ^ rest);
}

}  // namespace

size_t Vocab::slot_of(std::string_view token, uint64_t hash) const {
  size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at] != 0) {
    const Entry& entry = entries_[slots_[at] - 1];
    if (entry.hash == hash && text(entry) == token) return at;
    at = (at + 1) & mask;
  }
  return at;
}

void Vocab::grow() {
  size_t size = slots_.empty() ? 64 : slots_.size() * 2;
  slots_.assign(size, 0);
  for (size_t i = 0; i < entries_.size(); ++i) {
    size_t at = entries_[i].hash & (size - 1);
    while (slots_[at] != 0) at = (at + 1) & (size - 1);
    slots_[at] = static_cast<uint32_t>(i + 1);
  }
}

void Vocab::add(std::string_view token, uint32_t id) {
  if ((entries_.size() + 1) * 2 > slots_.size()) grow();
  uint64_t hash = hash_of(token);
  size_t at = slot_of(token, hash);
  if (slots_[at] != 0) {
    entries_[slots_[at] - 1].id = id;
    return;
  }
  entries_.push_back({hash, bytes_.size(), static_cast<uint32_t>(token.size()), id});
  bytes_ += token;
  slots_[at] = static_cast<uint32_t>(entries_.size());
}

void Vocab::finish(const std::string& where) {
  uint32_t highest = 0;
  for (const Entry& entry : entries_) highest = std::max(highest, entry.id);
  if (highest > entries_.size() * 4 + 65536) {
    fail(ErrorCode::kResourceLimit, "tokenizer",
         "expected ids of about the number of tokens (" + std::to_string(entries_.size()) +
             ") at " + where + ", got " + std::to_string(highest));
  }
  by_id_.assign(entries_.empty() ? 0 : size_t{highest} + 1, 0);
  for (size_t i = 0; i < entries_.size(); ++i)
    by_id_[entries_[i].id] = static_cast<uint32_t>(i + 1);
}

int64_t Vocab::find(std::string_view token) const {
  if (slots_.empty()) return -1;
  size_t at = slot_of(token, hash_of(token));
  return slots_[at] == 0 ? -1 : static_cast<int64_t>(entries_[slots_[at] - 1].id);
}

std::string_view Vocab::token(uint32_t id) const {
  return contains(id) ? text(entries_[by_id_[id] - 1]) : std::string_view();
}

int32_t Trie::walk(int32_t node, std::string_view bytes) const {
  for (char c : bytes) {
    if (node < 0) return node;
    node = step(node, static_cast<unsigned char>(c));
  }
  return node;
}

Trie Trie::build(std::vector<std::pair<std::string_view, int32_t>> keys) {
  std::stable_sort(keys.begin(), keys.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  Trie trie;
  std::vector<Unit>& units = trie.units_;
  struct Range {
    int32_t node;
    size_t begin, end, depth;
  };
  std::vector<Range> open{{kRoot, 0, keys.size(), 0}};
  std::vector<std::pair<unsigned char, size_t>> labels;  // label and where its keys begin
  size_t first_free = 1;
  while (!open.empty()) {
    Range range = open.back();
    open.pop_back();
    size_t at = range.begin;
    while (at < range.end && keys[at].first.size() == range.depth) {
      if (range.depth > 0) units[static_cast<size_t>(range.node)].value = keys[at].second;
      ++at;
    }
    if (at == range.end) continue;
    labels.clear();
    for (size_t i = at; i < range.end; ++i) {
      auto label = static_cast<unsigned char>(keys[i].first[range.depth]);
      if (labels.empty() || labels.back().first != label) labels.emplace_back(label, i);
    }
    // Look for a base whose slots are all free; after a run of failures the search starts further
    // on for good.
    auto used = [&](size_t i) { return i < units.size() && units[i].parent >= 0; };
    while (used(first_free)) ++first_free;
    size_t base =
        std::max<size_t>(1, first_free > labels[0].first ? first_free - labels[0].first : 1);
    size_t tried = 0;
    for (;; ++base) {
      bool fits = true;
      for (const auto& [label, begin] : labels) fits = fits && !used(base + label);
      if (fits) break;
      ++tried;
    }
    if (tried > 64) first_free = std::max(first_free, base);
    size_t last = base + labels.back().first;
    if (last >= units.size()) units.resize(std::max(last + 1, units.size() + units.size() / 2));
    units[static_cast<size_t>(range.node)].base = static_cast<int32_t>(base);
    for (size_t i = 0; i < labels.size(); ++i) {
      size_t child = base + labels[i].first;
      units[child].parent = range.node;
      size_t end = i + 1 < labels.size() ? labels[i + 1].second : range.end;
      open.push_back({static_cast<int32_t>(child), labels[i].second, end, range.depth + 1});
    }
  }
  // A leaf's base of 0 points into the root's children, whose parent is another node: no false
  // child but the root's own.
  units.shrink_to_fit();
  return trie;
}

void PairMap::reserve(size_t count) {
  size_t size = 64;
  while (size < count * 2) size *= 2;
  slots_.assign(size, Slot{});
}

size_t PairMap::slot_of(uint64_t key) const {
  size_t mask = slots_.size() - 1;
  size_t at = mix(key) & mask;
  while (slots_[at].key != UINT64_MAX && slots_[at].key != key) at = (at + 1) & mask;
  return at;
}

void PairMap::set(uint32_t left, uint32_t right, Merge merge) {
  uint64_t key = uint64_t{left} << 32 | right;
  slots_[slot_of(key)] = {key, merge};
}

const PairMap::Merge* PairMap::find(uint32_t left, uint32_t right) const {
  if (slots_.empty()) return nullptr;
  const Slot& slot = slots_[slot_of(uint64_t{left} << 32 | right)];
  return slot.key == UINT64_MAX ? nullptr : &slot.merge;
}

bool WordCache::find(std::string_view word, std::vector<Token>& out) const {
  if (word.size() >= kMaxWord) return false;
  Shard& s = shard(word);
  std::lock_guard lock(s.mutex);
  auto found = s.words.find(word);
  if (found == s.words.end()) return false;
  out.insert(out.end(), found->second.begin(), found->second.end());
  return true;
}

void WordCache::put(std::string_view word, const Token* tokens, size_t count) const {
  if (word.size() >= kMaxWord) return;
  Shard& s = shard(word);
  std::lock_guard lock(s.mutex);
  if (s.words.size() >= kPerShard) s.words.clear();
  s.words.emplace(std::string(word), std::vector<Token>(tokens, tokens + count));
}

}  // namespace plait::data
