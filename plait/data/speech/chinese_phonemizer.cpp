#include <algorithm>
#include <map>

#include "plait/core/error.h"
#include "plait/data/speech/chinese_text.h"
#include "plait/data/speech/lexicon.h"
#include "plait/data/speech/phonemizer.h"
#include "plait/data/text/unicode.h"

namespace plait::data {
namespace {

/// The longest phrase of the lexicon in characters.
constexpr size_t kLongest = 16;

struct Syllable {
  std::string character;
  std::string sound;  ///< "hao3"; without a digit: no Chinese
  bool starts_word = false;
};

char tone_of(const std::string& sound) { return sound.empty() ? '0' : sound.back(); }
void set_tone(std::string& sound, char tone) { sound.back() = tone; }

char32_t mark_of(char32_t c) {
  switch (c) {
    case U'，':
    case U'、':
    case U',': return U',';
    case U'；':
    case U';': return U';';
    case U'：':
    case U':': return U':';
    case U'。':
    case U'.':
    case U'…': return U'.';
    case U'！':
    case U'!': return U'!';
    case U'？':
    case U'?': return U'?';
    default: return 0;
  }
}

class ChinesePhonemizer : public Phonemizer {
 public:
  ChinesePhonemizer(const std::string& dir, bool sandhi)
      : lexicon_(Lexicon::load(dir + "/hanzi.tsv")), sandhi_(sandhi) {}

  std::vector<std::string> operator()(const std::string& text) const override {
    std::vector<std::string> out;
    std::string line;
    std::vector<std::string> run;  // Chinese characters in a row
    std::string foreign;
    auto add = [&](const std::string& words) {
      if (words.empty()) return;
      if (!line.empty()) line += ' ';
      line += words;
    };
    auto flush = [&] {
      add(read(run));
      run.clear();
      add(foreign);
      foreign.clear();
    };
    const std::string spoken = spell_chinese(text);
    for (size_t at = 0; at < spoken.size();) {
      const size_t begin = at;
      const char32_t c = next_char(spoken, at);
      std::string character = spoken.substr(begin, at - begin);
      if (const char32_t mark = mark_of(c); mark || c == '\n') {
        flush();
        const char sign = mark ? static_cast<char>(mark) : '.';
        if (!line.empty() && mark_of(static_cast<unsigned char>(line.back())) == 0) line += sign;
        if ((sign == '.' || sign == '!' || sign == '?') && !line.empty()) {
          out.push_back(std::move(line));
          line.clear();
        }
      } else if (c >= 0x2E80 && !lexicon_.find(character).empty()) {
        if (!foreign.empty()) flush();
        run.push_back(std::move(character));
      } else if (c < 0x80 && (std::isalnum(static_cast<int>(c)) || c == '\'')) {
        if (!run.empty()) flush();
        foreign += character;
      } else {
        flush();
      }
    }
    flush();
    if (!line.empty())
      out.push_back(mark_of(static_cast<unsigned char>(line.back())) ? line : line + ".");
    return out;
  }

 private:
  /// Characters → syllables by spaces: the longest phrase that the lexicon has, then the next.
  std::string read(const std::vector<std::string>& run) const {
    std::vector<Syllable> syllables;
    for (size_t at = 0; at < run.size();) {
      size_t taken = 1;
      std::string sounds;
      for (size_t length = std::min(kLongest, run.size() - at); length > 1 && sounds.empty();
           --length) {
        std::string phrase;
        for (size_t i = 0; i < length; ++i) phrase += run[at + i];
        sounds = lexicon_.find(phrase);
        if (!sounds.empty()) taken = length;
      }
      if (sounds.empty()) sounds = lexicon_.find(run[at]);
      size_t begin = 0;
      for (size_t i = 0; i < taken; ++i) {
        const size_t end = std::min(sounds.find(' ', begin), sounds.size());
        syllables.push_back({run[at + i], sounds.substr(begin, end - begin), i == 0});
        begin = std::min(end + 1, sounds.size());
      }
      at += taken;
    }
    if (sandhi_) change_tones(syllables);
    std::string out;
    for (const Syllable& s : syllables) out += (out.empty() ? "" : " ") + s.sound;
    return out;
  }

  /// Tones that change before others: 一 and 不, and third tones in a row, word by word from the
  /// right.
  static void change_tones(std::vector<Syllable>& s) {
    for (size_t i = 0; i + 1 < s.size(); ++i) {
      const char next = tone_of(s[i + 1].sound);
      const bool ordinal = i > 0 && (s[i - 1].character == "第" || is_numeral(s[i - 1].character));
      if (s[i].character == "不" && tone_of(s[i].sound) == '4' && next == '4')
        set_tone(s[i].sound, '2');
      if (s[i].character == "一" && tone_of(s[i].sound) == '1' && !ordinal &&
          !is_numeral(s[i + 1].character) && s[i + 1].character != "月" &&
          s[i + 1].character != "日" && s[i + 1].character != "号" && s[i + 1].character != "点" &&
          s[i + 1].character != "分") {
        set_tone(s[i].sound, next == '4' || next == '5' ? '2' : '4');
      }
    }
    for (size_t begin = 0; begin < s.size();) {
      size_t end = begin;
      while (end < s.size() && tone_of(s[end].sound) == '3') ++end;
      if (end - begin >= 2) raise(s, begin, end);
      begin = std::max(end, begin + 1);
    }
  }
  static void raise(std::vector<Syllable>& s, size_t begin, size_t end) {
    if (end - begin == 3 && !s[begin + 1].starts_word) {
      // Two and one: both of the first word rise.
      set_tone(s[begin].sound, '2');
      set_tone(s[begin + 1].sound, '2');
      return;
    }
    for (size_t i = begin; i + 1 < end; ++i) {
      const bool within = !s[i + 1].starts_word;
      const bool next_rises = i + 2 < end && !s[i + 2].starts_word && s[i + 1].starts_word;
      if (within || !next_rises) set_tone(s[i].sound, '2');
    }
  }
  static bool is_numeral(const std::string& c) {
    for (const char* numeral : {"零", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十"}) {
      if (c == numeral) return true;
    }
    return false;
  }

  Lexicon lexicon_;
  bool sandhi_;
};

/// "hǎo" → "hao3"; ü as v, the neutral tone 5.
std::string numbered(const std::string& marked) {
  static const std::map<char32_t, std::pair<const char*, char>> kMarks = {
      {U'ā', {"a", '1'}},     {U'á', {"a", '2'}},     {U'ǎ', {"a", '3'}},    {U'à', {"a", '4'}},
      {U'ē', {"e", '1'}},     {U'é', {"e", '2'}},     {U'ě', {"e", '3'}},    {U'è', {"e", '4'}},
      {U'ī', {"i", '1'}},     {U'í', {"i", '2'}},     {U'ǐ', {"i", '3'}},    {U'ì', {"i", '4'}},
      {U'ō', {"o", '1'}},     {U'ó', {"o", '2'}},     {U'ǒ', {"o", '3'}},    {U'ò', {"o", '4'}},
      {U'ū', {"u", '1'}},     {U'ú', {"u", '2'}},     {U'ǔ', {"u", '3'}},    {U'ù', {"u", '4'}},
      {U'ǖ', {"v", '1'}},     {U'ǘ', {"v", '2'}},     {U'ǚ', {"v", '3'}},    {U'ǜ', {"v", '4'}},
      {U'ü', {"v", 0}},       {U'ń', {"n", '2'}},     {U'ň', {"n", '3'}},    {U'ǹ', {"n", '4'}},
      {U'ḿ', {"m", '2'}},     {U'ế', {"ê", '2'}},     {U'ề', {"ê", '4'}},    {U'\u0304', {"", '1'}},
      {U'\u0301', {"", '2'}}, {U'\u030C', {"", '3'}}, {U'\u0300', {"", '4'}}};
  std::string out;
  char tone = '5';
  for (size_t at = 0; at < marked.size();) {
    const char32_t c = next_char(marked, at);
    if (auto found = kMarks.find(c); found != kMarks.end()) {
      out += found->second.first;
      if (found->second.second) tone = found->second.second;
    } else {
      append_utf8(out, c);
    }
  }
  return out + tone;
}

}  // namespace

std::string chinese_lexicon(const Json& characters, const Json& phrases) {
  std::map<std::string, std::string> rows;
  for (const auto& [code, sounds] : characters.members()) {
    uint32_t value = 0;
    for (char c : code) {
      if (c < '0' || c > '9' || value > 0x110000)
        fail(ErrorCode::kCorruptData, "lexicon", "expected code points as keys");
      value = value * 10 + static_cast<uint32_t>(c - '0');
    }
    std::string character;
    if (value < 0x80 || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) continue;
    append_utf8(character, value);
    const std::string& all = sounds.as_string();
    if (!all.empty()) rows[character] = numbered(all.substr(0, all.find(',')));
  }
  for (const auto& [phrase, syllables] : phrases.members()) {
    if (syllables.size() != count_chars(phrase) || syllables.size() < 2 ||
        syllables.size() > kLongest)
      continue;
    std::string row;
    for (const Json& syllable : syllables.items())
      row += (row.empty() ? "" : " ") + numbered(syllable.at(size_t{0}).as_string());
    rows[phrase] = row;
  }
  std::string out;
  for (const auto& [word, row] : rows) out += word + "\t" + row + "\n";
  return out;
}

std::shared_ptr<const Phonemizer> chinese_phonemizer(const std::string& dir, bool sandhi) {
  return std::make_shared<ChinesePhonemizer>(dir, sandhi);
}

}  // namespace plait::data
