#include "plait/data/speech/lexicon.h"

#include <algorithm>
#include <map>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/text/unicode.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "lexicon";
constexpr size_t kMaxBytes = size_t{64} << 20;

std::u32string to_chars(std::string_view text) {
  std::u32string out;
  for (size_t at = 0; at < text.size();) out += next_char(text, at);
  return out;
}

bool is_vowel(char32_t c) {
  return std::u32string_view(U"AIOWYaeiouæɑɔəɛɜɪʊʌᵻᵊ").find(c) != std::u32string_view::npos;
}

}  // namespace

Lexicon Lexicon::load(const std::string& path) { return parse(read_file(path, kMaxBytes), path); }

Lexicon Lexicon::parse(std::string text, const std::string& name) {
  Lexicon out;
  out.text_ = std::move(text);
  if (out.text_.size() > kMaxBytes)
    fail(ErrorCode::kResourceLimit, kUnit, name + ": expected at most 64 MiB");
  if (!is_utf8(out.text_)) fail(ErrorCode::kCorruptData, kUnit, name + ": expected UTF-8");
  for (size_t at = 0; at < out.text_.size();) {
    const size_t end = std::min(out.text_.find('\n', at), out.text_.size());
    const size_t tab = out.text_.find('\t', at);
    const auto number = std::to_string(out.lines_.size() + 1);
    if (tab == std::string::npos || tab >= end || tab == at)
      fail(ErrorCode::kCorruptData, kUnit,
           name + ": line " + number + ": expected word TAB phonemes");
    out.lines_.push_back(static_cast<uint32_t>(at));
    const size_t n = out.lines_.size();
    auto word = [&](size_t i) { return out.line(i).substr(0, out.line(i).find('\t')); };
    if (n > 1 && !(word(n - 2) < word(n - 1)))
      fail(ErrorCode::kCorruptData, kUnit, name + ": line " + number + ": expected sorted words");
    at = end + 1;
  }
  return out;
}

std::string_view Lexicon::line(size_t i) const {
  const size_t begin = lines_[i];
  return std::string_view(text_).substr(begin,
                                        std::min(text_.find('\n', begin), text_.size()) - begin);
}

std::string Lexicon::find(std::string_view word, std::string_view kind) const {
  size_t low = 0, high = lines_.size();
  while (low < high) {
    const size_t middle = (low + high) / 2;
    const std::string_view row = line(middle);
    const std::string_view there = row.substr(0, row.find('\t'));
    if (there == word) {
      std::string_view rest = row.substr(there.size() + 1);
      const size_t end = rest.find('\t');
      std::string out(rest.substr(0, end));
      while (!kind.empty() && rest.find('\t') != std::string_view::npos) {
        rest.remove_prefix(rest.find('\t') + 1);
        if (rest.starts_with(kind) && rest.size() > kind.size() && rest[kind.size()] == '=')
          return std::string(rest.substr(kind.size() + 1, rest.find('\t') - kind.size() - 1));
      }
      return out;
    }
    if (there < word) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return "";
}

std::string misaki_to_ipa(std::string_view phonemes) {
  static const std::map<char32_t, const char*> kPlain = {
      {U'A', "eɪ"}, {U'I', "aɪ"}, {U'O', "oʊ"}, {U'W', "aʊ"}, {U'Y', "ɔɪ"}, {U'ʤ', "dʒ"},
      {U'ʧ', "tʃ"}, {U'ᵊ', "ə"},  {U'ɑ', "ɑː"}, {U'ɔ', "ɔː"}, {U'u', "uː"}};
  const std::u32string in = to_chars(phonemes);
  const auto vowels = std::count_if(in.begin(), in.end(), is_vowel);
  std::string out;
  for (size_t i = 0; i < in.size(); ++i) {
    const char32_t c = in[i], before = i > 0 ? in[i - 1] : 0,
                   after = i + 1 < in.size() ? in[i + 1] : 0;
    const bool r = after == U'ɹ', vowel_follows = i + 2 < in.size() && is_vowel(in[i + 2]);
    if ((c == U'ɜ' || c == U'ə') && r) {
      out += c == U'ɜ' ? "ɜː" : "ɚ";
      if (vowel_follows) out += "ɹ";
      ++i;
    } else if (c == U'i') {
      // Long where it is stressed or the word's only vowel.
      out += before == U'ˈ' || before == U'ˌ' || vowels == 1 ? "iː" : "i";
    } else if (c == U'n' && before == U'ʔ') {
      out += "n\u0329";
    } else if (auto found = kPlain.find(c); found != kPlain.end()) {
      out += found->second;
    } else {
      append_utf8(out, c);
    }
  }
  return out;
}

std::string arpabet_to_ipa(std::string_view sounds) {
  static const std::map<std::string, const char*, std::less<>> kSounds = {
      {"AA", "ɑː"}, {"AE", "æ"}, {"AH", "ʌ"}, {"AO", "ɔː"}, {"AW", "aʊ"}, {"AY", "aɪ"}, {"B", "b"},
      {"CH", "tʃ"}, {"D", "d"},  {"DH", "ð"}, {"EH", "ɛ"},  {"ER", "ɜː"}, {"EY", "eɪ"}, {"F", "f"},
      {"G", "ɡ"},   {"HH", "h"}, {"IH", "ɪ"}, {"IY", "iː"}, {"JH", "dʒ"}, {"K", "k"},   {"L", "l"},
      {"M", "m"},   {"N", "n"},  {"NG", "ŋ"}, {"OW", "oʊ"}, {"OY", "ɔɪ"}, {"P", "p"},   {"R", "ɹ"},
      {"S", "s"},   {"SH", "ʃ"}, {"T", "t"},  {"TH", "θ"},  {"UH", "ʊ"},  {"UW", "uː"}, {"V", "v"},
      {"W", "w"},   {"Y", "j"},  {"Z", "z"},  {"ZH", "ʒ"}};
  struct Sound {
    std::string name;
    char stress;
  };
  std::vector<Sound> list;
  for (size_t at = 0; at < sounds.size();) {
    const size_t end = std::min(sounds.find(' ', at), sounds.size());
    std::string name(sounds.substr(at, end - at));
    char stress = 0;
    if (!name.empty() && name.back() >= '0' && name.back() <= '2') {
      stress = name.back();
      name.pop_back();
    }
    if (!name.empty()) list.push_back({name, stress});
    at = end + 1;
  }
  const auto vowels =
      std::count_if(list.begin(), list.end(), [](const Sound& s) { return s.stress; });
  std::string out;
  for (size_t i = 0; i < list.size(); ++i) {
    const auto& [name, stress] = list[i];
    const bool last = i + 1 == list.size();
    if (stress == '1') out += "ˈ";
    if (stress == '2') out += "ˌ";
    const bool vowel_before = i > 0 && (list[i - 1].stress || list[i - 1].name == "R");
    if (name == "AH" && stress == '0') {
      out += "ə";
    } else if (name == "ER" && stress == '0') {
      out += "ɚ";
      if (!last && list[i + 1].stress) out += "ɹ";
    } else if (name == "IY" && stress == '0' && vowels > 1) {
      out += "i";
    } else if (name == "T" && vowel_before && !last && list[i + 1].stress == '0') {
      out += "ɾ";
    } else if (auto found = kSounds.find(name); found != kSounds.end()) {
      out += found->second;
    }
  }
  return out;
}

std::string english_lexicon(const Json& gold, const Json& silver) {
  std::map<std::string, std::string> rows;
  auto usable = [](const std::string& word) {
    return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '\'';
    });
  };
  for (const Json* source : {&gold, &silver}) {
    for (const auto& [word, said] : source->members()) {
      if (!usable(word) || rows.count(word)) continue;
      std::string row;
      if (said.is_string()) {
        row = misaki_to_ipa(said.as_string());
      } else if (said.is_object()) {
        row = misaki_to_ipa(said.get("DEFAULT", ""));
        if (row.empty()) continue;
        for (const auto& [kind, phonemes] : said.members()) {
          if (kind == "DEFAULT" || !phonemes.is_string()) continue;
          const std::string other = misaki_to_ipa(phonemes.as_string());
          if (other != misaki_to_ipa(said.get("DEFAULT", ""))) row += "\t" + kind + "=" + other;
        }
      }
      if (!row.empty()) rows.emplace(word, std::move(row));
    }
  }
  std::string out;
  for (const auto& [word, row] : rows) out += word + "\t" + row + "\n";
  return out;
}

}  // namespace plait::data
