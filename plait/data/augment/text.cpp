#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "plait/data/augment/kinds.h"

namespace plait::data {
namespace {

/// UTF-8 text in characters (bytes that are no UTF-8 stand alone).
std::vector<std::string> characters(const std::string& text) {
  std::vector<std::string> out;
  for (size_t i = 0; i < text.size();) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    n = std::min(n, text.size() - i);
    out.push_back(text.substr(i, n));
    i += n;
  }
  return out;
}

bool is_space(const std::string& c) { return c == " " || c == "\t" || c == "\n" || c == "\r"; }

/// Scripts that do not put spaces between words: their text is cut into pairs of characters.
bool is_unspaced(const std::string& c) {
  return c.size() == 3 && static_cast<unsigned char>(c[0]) >= 0xe3;
}

struct Words {
  std::vector<std::string> words;
  std::vector<std::string> gaps;  ///< gaps[i] stands before words[i]; one more at the end.
};

Words split(const std::string& text) {
  Words out;
  std::string word, gap;
  int unspaced = 0;
  auto end_word = [&] {
    if (word.empty()) return;
    out.gaps.push_back(gap);
    out.words.push_back(word);
    word.clear();
    gap.clear();
    unspaced = 0;
  };
  for (const std::string& c : characters(text)) {
    if (is_space(c)) {
      end_word();
      gap += c;
      continue;
    }
    if (is_unspaced(c) ? unspaced == 2 || (unspaced == 0 && !word.empty()) : unspaced > 0)
      end_word();
    word += c;
    if (is_unspaced(c)) ++unspaced;
  }
  end_word();
  out.gaps.push_back(gap);
  return out;
}

std::string join(const Words& w) {
  std::string out;
  for (size_t i = 0; i < w.words.size(); ++i) out += w.gaps[i] + w.words[i];
  return out + w.gaps.back();
}

std::string misspell(const std::string& word, DamageRandom& random) {
  std::vector<std::string> c = characters(word);
  int64_t n = static_cast<int64_t>(c.size()), i = random.below(n);
  static const char* kLetters = "etaoinshrdlucmfwypvbgkjqxz";
  std::string letter(1, kLetters[random.below(26)]);
  switch (n < 2 ? 2 : random.below(4)) {
    case 0:
      i = random.below(n - 1);
      std::swap(c[i], c[i + 1]);
      break;
    case 1: c.erase(c.begin() + i); break;
    case 2: c[i] = letter; break;
    default: c.insert(c.begin() + i, letter);
  }
  std::string out;
  for (const std::string& part : c) out += part;
  return out;
}

}  // namespace

std::string damage_text(const std::string& text, const std::string& kind, double severity,
                        uint64_t seed) {
  Words w = split(text);
  int64_t n = static_cast<int64_t>(w.words.size());
  if (n == 0) return text;
  DamageRandom random(seed);
  // One order of places for all severities: more damage includes the milder one.
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);

  if (kind == "typos") {
    int64_t count = std::max<int64_t>(1, std::llround(severity * static_cast<double>(n)));
    for (int64_t i = 0; i < count; ++i) {
      DamageRandom own(seed * 1000003 + static_cast<uint64_t>(order[i]) + 1);
      std::string& word = w.words[order[i]];
      std::string changed = word;
      for (int tries = 0; tries < 8 && changed == word; ++tries) changed = misspell(word, own);
      word = changed;
    }
  } else if (kind == "shuffle") {
    int64_t count =
        std::min<int64_t>(n, std::max<int64_t>(2, std::llround(severity * static_cast<double>(n))));
    if (n < 2) return text;
    // The chosen places hand their words on in a circle: every one of them changes.
    std::string first = w.words[order[0]];
    for (int64_t i = 0; i + 1 < count; ++i) w.words[order[i]] = w.words[order[i + 1]];
    w.words[order[count - 1]] = first;
  } else {
    int64_t count = std::llround(severity * static_cast<double>(n));
    std::vector<bool> gone(n, false);
    for (int64_t i = 0; i < std::max<int64_t>(count, 1); ++i) gone[order[i]] = true;
    Words left;
    for (int64_t i = 0; i < n; ++i) {
      if (gone[i]) continue;
      left.gaps.push_back(left.words.empty() && i > 0 ? "" : w.gaps[i]);
      left.words.push_back(w.words[i]);
    }
    left.gaps.push_back(w.gaps.back());
    return join(left);
  }
  return join(w);
}

}  // namespace plait::data
