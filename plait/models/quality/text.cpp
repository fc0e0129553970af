#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>
#include <vector>

#include "plait/models/quality/quality.h"
#include "plait/models/quality/text_model.h"

namespace plait::models {
namespace {

// Judging the beginning of a book is enough.
constexpr size_t kMaxBytes = 20000;

struct Tokens {
  std::vector<std::string> english;  ///< Words, numbers and signs; the first word in lower case.
  std::vector<std::string> han;      ///< Pairs of neighbouring Chinese characters.
  int64_t han_characters = 0;
  int64_t other = 0;  ///< Characters of other scripts and signs without meaning here.
  bool ends_sentence = false;
};

bool is_han(std::string_view c) {
  if (c.size() != 3) return false;
  uint32_t code = (c[0] & 0x0fu) << 12 | (c[1] & 0x3fu) << 6 | (c[2] & 0x3fu);
  return code >= 0x4e00 && code <= 0x9fff;
}

Tokens tokenize(std::string_view text) {
  Tokens out;
  std::string last_han;
  bool started = false;
  for (size_t i = 0; i < text.size();) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) last_han.clear();
    if (std::isalpha(c) && c < 0x80) {
      size_t j = i;
      auto letter = [&](size_t k) {
        return k < text.size() && static_cast<unsigned char>(text[k]) < 0x80 &&
               std::isalpha(text[k]);
      };
      while (letter(j)) ++j;
      if (j < text.size() && text[j] == '\'' && letter(j + 1)) {
        ++j;
        while (letter(j)) ++j;
      }
      std::string word(text.substr(i, j - i));
      if (!started)
        std::transform(word.begin(), word.end(), word.begin(),
                       [](unsigned char k) { return std::tolower(k); });
      started = true;
      out.english.push_back(std::move(word));
      out.ends_sentence = false;
      i = j;
    } else if (std::isdigit(c)) {
      size_t j = i;
      while (j < text.size() && (std::isdigit(static_cast<unsigned char>(text[j])) ||
                                 ((text[j] == '.' || text[j] == ',') && j + 1 < text.size() &&
                                  std::isdigit(static_cast<unsigned char>(text[j + 1]))))) {
        ++j;
      }
      out.english.emplace_back(text.substr(i, j - i));
      started = true;
      i = j;
    } else if (c < 0x80) {
      if (std::string_view(".,;:!?").find(static_cast<char>(c)) != std::string_view::npos) {
        out.english.emplace_back(1, static_cast<char>(c));
        out.ends_sentence = c == '.' || c == '!' || c == '?';
        // A new sentence may start with a capital.
        if (out.ends_sentence) started = false;
      } else if (!std::isspace(c) &&
                 std::string_view("()\"'-/").find(static_cast<char>(c)) == std::string_view::npos) {
        ++out.other;
      }
      ++i;
    } else {
      size_t n = std::min<size_t>(c >= 0xf0   ? 4
                                  : c >= 0xe0 ? 3
                                  : c >= 0xc0 ? 2
                                              : 1,
                                  text.size() - i);
      std::string here(text.substr(i, n));
      if (is_han(here)) {
        ++out.han_characters;
        if (!last_han.empty()) out.han.push_back(last_han + here);
        last_han = here;
        out.ends_sentence = false;
      } else {
        last_han.clear();
        out.ends_sentence = here == "。" || here == "！" || here == "？";
        if (!out.ends_sentence && here != "，" && here != "、" && here != "；" && here != "：" &&
            here != "“" && here != "”")
          ++out.other;
      }
      i += n;
    }
  }
  return out;
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

std::string lower(const std::string& word) {
  std::string out = word;
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char k) { return std::tolower(k); });
  return out;
}

/// Share of words that seem to be in their place. Of two or three words next to nothing is known.
double order_of(const TextModel& model, const std::vector<std::string>& words) {
  double known = 1 - std::exp(-static_cast<double>(words.size()) / 5);
  return known * (1 - model.disorder(words)) + (1 - known) * 0.85;
}

/// Share of words that are spelt well.
double spelling_of(const TextModel& model, const std::vector<std::string>& words, int64_t* count) {
  double sum = 0;
  int64_t n = 0;
  for (const std::string& word : words) {
    if (!std::isalpha(static_cast<unsigned char>(word[0]))) continue;
    std::string w = lower(word);
    ++n;
    if (w.size() == 1) {
      sum += w == "a" || w == "i" ? 1.0 : 0.3;
      continue;
    }
    std::string stem = w.substr(0, w.find('\''));
    bool known = model.known(w) || model.known(stem);
    if (!known && stem.size() > 4) {
      for (std::string_view suffix : {"s", "ed", "es", "ing", "d", "er", "ly"}) {
        if (stem.ends_with(suffix) && model.known(stem.substr(0, stem.size() - suffix.size())))
          known = true;
      }
    }
    if (known) {
      sum += 1;
    } else {
      double plausible = logistic(3 * (2.6 - model.spelling(stem)));
      sum += std::isupper(static_cast<unsigned char>(word[0])) ? 0.5 + 0.4 * plausible
                                                               : 0.5 * plausible;
    }
  }
  *count = n;
  return (sum + 0.9) / (static_cast<double>(n) + 1);
}

}  // namespace

Quality text_quality(std::string_view text) {
  text = text.substr(0, kMaxBytes);
  Tokens t = tokenize(text);
  int64_t units = static_cast<int64_t>(t.english.size()) + t.han_characters;
  if (units == 0 && t.other == 0)
    return {0, {{"order", 0}, {"words", 0}, {"completeness", 0}, {"complexity", 0}}};

  const TextModel& model = TextModel::get();
  int64_t words = 0;
  double english_order = t.english.empty() ? 0.5 : order_of(model, t.english);
  double spelling = t.english.empty() ? 1 : spelling_of(model, t.english, &words);
  double han_known = 0;
  for (const std::string& pair : t.han) han_known += model.known_pair(pair);
  double han_order = (han_known + 2) / (static_cast<double>(t.han.size()) + 3);
  double han_share = units ? static_cast<double>(t.han_characters) / static_cast<double>(units) : 0;

  double order = (1 - han_share) * english_order + han_share * logistic(10 * (han_order - 0.5));
  double correct = (1 - han_share) * std::pow(spelling, 2) + han_share * 1.0;
  double completeness = 0.85 + 0.15 * t.ends_sentence;
  double length = static_cast<double>(words) + static_cast<double>(t.han_characters) / 1.7 +
                  static_cast<double>(t.other) / 4;
  std::set<std::string> distinct(t.english.begin(), t.english.end());
  double variety = t.english.size() < 4
                       ? 1
                       : std::min(1.0, 0.3 + 1.4 * static_cast<double>(distinct.size()) /
                                                 static_cast<double>(t.english.size()));
  double complexity = variety * (1 - std::exp(-(length + 1) / 4));
  double foreign = static_cast<double>(t.other) / static_cast<double>(units * 4 + t.other);
  order = (1 - foreign) * order + foreign * 0.5;
  double score = order * correct * completeness * std::pow(complexity, 0.5);
  return {std::clamp(score, 0.0, 1.0),
          {{"order", order},
           {"words", correct},
           {"completeness", completeness},
           {"complexity", complexity}}};
}

}  // namespace plait::models
