#include <algorithm>
#include <cctype>
#include <map>
#include <mutex>
#include <unordered_map>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/data/speech/english_text.h"
#include "plait/data/speech/letter_to_sound.h"
#include "plait/data/speech/lexicon.h"
#include "plait/data/speech/phonemizer.h"
#include "plait/data/text/unicode.h"

namespace plait::data {
namespace {

/// Words that lose their stress between others.
const std::map<std::string, const char*, std::less<>> kWeak = {
    {"a", "ɐ"},         {"an", "ɐn"},          {"the", "ðə"},     {"of", "ʌv"},
    {"to", "tə"},       {"and", "ænd"},        {"in", "ɪn"},      {"is", "ɪz"},
    {"it", "ɪt"},       {"i", "aɪ"},           {"you", "juː"},    {"he", "hiː"},
    {"she", "ʃiː"},     {"we", "wiː"},         {"they", "ðeɪ"},   {"that", "ðæt"},
    {"was", "wʌz"},     {"for", "fɔːɹ"},       {"on", "ɔn"},      {"are", "ɑːɹ"},
    {"as", "æz"},       {"with", "wɪð"},       {"his", "hɪz"},    {"at", "æt"},
    {"be", "biː"},      {"this", "ðɪs"},       {"have", "hæv"},   {"from", "fɹʌm"},
    {"or", "ɔːɹ"},      {"had", "hæd"},        {"by", "baɪ"},     {"but", "bʌt"},
    {"not", "nˌɑːt"},   {"what", "wˌʌt"},      {"were", "wɜː"},   {"when", "wɛn"},
    {"your", "jʊɹ"},    {"can", "kæn"},        {"there", "ðɛɹ"},  {"their", "ðɛɹ"},
    {"which", "wˌɪtʃ"}, {"if", "ɪf"},          {"will", "wɪl"},   {"how", "hˌaʊ"},
    {"them", "ðˌɛm"},   {"than", "ðɐn"},       {"its", "ɪts"},    {"who", "hˌuː"},
    {"my", "maɪ"},      {"me", "miː"},         {"her", "hɜː"},    {"him", "hˌɪm"},
    {"us", "ˌʌs"},      {"our", "ˌaʊɚ"},       {"would", "wʊd"},  {"could", "kʊd"},
    {"should", "ʃˌʊd"}, {"has", "hɐz"},        {"been", "bˌɪn"},  {"so", "sˌoʊ"},
    {"do", "dˈuː"},     {"these", "ðiːz"},     {"those", "ðoʊz"}, {"some", "sˌʌm"},
    {"am", "æm"},       {"because", "bɪkˈʌz"}, {"into", "ˌɪntʊ"}, {"does", "dˈʌz"},
    {"did", "dˈɪd"},    {"up", "ˌʌp"}};
/// Names of the letters, from a.
const char* const kLetters[] = {"ˈeɪ",   "bˈiː",       "sˈiː",  "dˈiː", "ˈiː", "ˈɛf",  "dʒˈiː",
                                "ˈeɪtʃ", "ˈaɪ",        "dʒˈeɪ", "kˈeɪ", "ˈɛl", "ˈɛm",  "ˈɛn",
                                "ˈoʊ",   "pˈiː",       "kjˈuː", "ˈɑːɹ", "ˈɛs", "tˈiː", "jˈuː",
                                "vˈiː",  "dˈʌbəljˌuː", "ˈɛks",  "wˈaɪ", "zˈiː"};
/// Behind these a word that can be one is a verb, behind those a participle.
const char* const kBeforeVerb[] = {"to",  "will",  "would",  "can",    "could", "should", "must",
                                   "may", "might", "shall",  "i",      "you",   "we",     "they",
                                   "not", "don't", "didn't", "please", "who",   "let's"};
const char* const kBeforeParticiple[] = {"have", "has", "had",   "was", "were",
                                         "been", "be",  "being", "is",  "are"};

template <class List>
bool contains(const List& list, const std::string& word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

std::string lower(const std::string& s) {
  std::string out = s;
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

char32_t last_char(const std::string& s) {
  char32_t c = 0;
  for (size_t at = 0; at < s.size();) c = next_char(s, at);
  return c;
}

bool starts_with_vowel(const std::string& phonemes) {
  for (size_t at = 0; at < phonemes.size();) {
    const char32_t c = next_char(phonemes, at);
    if (c == U'ˈ' || c == U'ˌ') continue;
    return std::u32string_view(U"aeiouæɐɑɔəɚɛɜɪʊʌᵻ").find(c) != std::u32string_view::npos;
  }
  return false;
}

class EnglishPhonemizer : public Phonemizer {
 public:
  explicit EnglishPhonemizer(const std::string& dir)
      : lexicon_(Lexicon::load(dir + "/lexicon.tsv")),
        network_(load_safetensors(dir + "/letter_to_sound.safetensors")) {}

  std::vector<std::string> operator()(const std::string& text) const override {
    std::vector<std::string> out;
    for (const SpokenText& sentence : spell_english(text)) {
      std::vector<std::string> said;
      std::string before;
      for (const SpokenWord& word : sentence.words) {
        const bool ends = word.mark != 0;
        said.push_back(pronounce(word.text, before, ends));
        before = ends && word.mark != ',' ? "" : lower(word.text);
      }
      std::string line;
      for (size_t i = 0; i < said.size(); ++i) {
        const bool linked = i + 1 < said.size() && sentence.words[i].mark == 0;
        const bool vowel_next = linked && starts_with_vowel(said[i + 1]);
        const std::string word = lower(sentence.words[i].text);
        if (vowel_next && word == "the") said[i] = "ðɪ";
        if (vowel_next && word == "to") said[i] = "tʊ";
        const char32_t last = last_char(said[i]);
        if (vowel_next && (last == U'ɚ' || said[i].ends_with("ɜː"))) said[i] += "ɹ";
        if (said[i].empty()) continue;
        if (!line.empty()) line += ' ';
        line += said[i];
        if (sentence.words[i].mark) line += sentence.words[i].mark;
      }
      if (!line.empty()) out.push_back(std::move(line));
    }
    return out;
  }

 private:
  std::string pronounce(const std::string& word, const std::string& before, bool ends) const {
    const std::string small = lower(word);
    // At the end of a phrase words keep their stress; so does a single capital that is not "I" or
    // the article.
    if (auto found = kWeak.find(small); found != kWeak.end() && !(ends && small == "a")) {
      const bool capital_letter = word.size() == 1 && word != "I" && word != "a" &&
                                  !before.empty() &&
                                  std::isupper(static_cast<unsigned char>(word[0]));
      if (!capital_letter) return found->second;
    }
    if (word.size() == 1 && std::isalpha(static_cast<unsigned char>(word[0])))
      return kLetters[small[0] - 'a'];
    const bool capitals = word.size() > 1 && std::all_of(word.begin(), word.end(), [](char c) {
                            return std::isupper(static_cast<unsigned char>(c)) != 0;
                          });
    if (capitals) {
      if (std::string said = lexicon_.find(word); !said.empty()) return said;
      if (word.size() <= 3 && lookup(small, before).empty()) return spell(small);
      // A short run of capitals without vowels is spelled out, whatever it looks like.
      if (word.size() <= 5 && word.find_first_of("AEIOUY") == std::string::npos)
        return spell(small);
    }
    if (std::string said = lookup(small, before); !said.empty()) return said;
    if (std::string said = lexicon_.find(word); !said.empty()) return said;
    std::string name = small;
    name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
    if (std::string said = lexicon_.find(name); !said.empty()) return said;
    if (std::string said = with_ending(small, before); !said.empty()) return said;
    return guess(small);
  }

  static std::string spell(const std::string& letters) {
    std::string out;
    for (char c : letters) {
      if (c < 'a' || c > 'z') continue;
      std::string name = kLetters[c - 'a'];
      // One main stress, on the last letter.
      if (size_t at = out.rfind("ˈ"); at != std::string::npos) out.replace(at, 2, "ˌ");
      out += name;
    }
    return out;
  }

  std::string lookup(const std::string& word, const std::string& before) const {
    if (contains(kBeforeVerb, before)) return lexicon_.find(word, "VERB");
    if (contains(kBeforeParticiple, before)) return lexicon_.find(word, "VBN");
    return lexicon_.find(word);
  }

  std::string stem(const std::string& word, const std::string& before) const {
    if (word.size() < 2) return "";
    if (std::string said = lookup(word, before); !said.empty()) return said;
    std::string name = word;
    name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
    return lexicon_.find(name);
  }

  /// -s, -'s, -ed, -ing, -ly, -er behind a word of the lexicon, and words put together of two.
  std::string with_ending(const std::string& word, const std::string& before) const {
    const size_t n = word.size();
    if (word.ends_with("'s") || word.ends_with("s'"))
      if (std::string said = stem(word.substr(0, n - 2), before); !said.empty())
        return said + plural(said);
    if (word.ends_with("'ll"))
      if (std::string said = stem(word.substr(0, n - 3), before); !said.empty()) return said + "əl";
    if (word.ends_with("s") && !word.ends_with("ss")) {
      for (const std::string& root :
           {word.substr(0, n - 1), word.ends_with("ies") ? word.substr(0, n - 3) + "y" : "",
            word.ends_with("es") ? word.substr(0, n - 2) : ""})
        if (std::string said = stem(root, before); !said.empty()) return said + plural(said);
    }
    if (word.ends_with("ed") && n > 3) {
      for (const std::string& root :
           {word.substr(0, n - 1), word.substr(0, n - 2), undoubled(word.substr(0, n - 2)),
            word.ends_with("ied") ? word.substr(0, n - 3) + "y" : ""})
        if (std::string said = stem(root, "to"); !said.empty()) return past(said);
    }
    if (word.ends_with("ing") && n > 4) {
      const std::string root = word.substr(0, n - 3);
      for (const std::string& candidate : {root, root + "e", undoubled(root)})
        if (std::string said = stem(candidate, "to"); !said.empty())
          return before_vowel(said) + "ɪŋ";
    }
    if (word.ends_with("ly") && n > 4)
      if (std::string said = stem(word.substr(0, n - 2), ""); !said.empty()) return said + "li";
    if (word.ends_with("er") && n > 4) {
      const std::string root = word.substr(0, n - 2);
      for (const std::string& candidate : {root, root + "e", undoubled(root)})
        if (std::string said = stem(candidate, "to"); !said.empty())
          return before_vowel(said) + "ɚ";
    }
    if (word.ends_with("n't"))
      if (std::string said = stem(word.substr(0, n - 3), ""); !said.empty()) return said + "ənt";
    for (size_t cut = n - 3; n >= 7 && cut >= 4; --cut) {
      std::string first = lexicon_.find(word.substr(0, cut)),
                  second = lexicon_.find(word.substr(cut));
      if (first.empty() || second.empty()) continue;
      if (size_t at = second.find("ˈ"); at != std::string::npos) second.replace(at, 2, "ˌ");
      return first + second;
    }
    return "";
  }

  static std::string undoubled(const std::string& root) {
    const size_t n = root.size();
    return n > 2 && root[n - 1] == root[n - 2] ? root.substr(0, n - 1) : "";
  }
  static std::string plural(const std::string& said) {
    const char32_t last = last_char(said);
    if (std::u32string_view(U"szʃʒ").find(last) != std::u32string_view::npos) return "ᵻz";
    return std::u32string_view(U"ptkfθ").find(last) != std::u32string_view::npos ? "s" : "z";
  }
  static std::string past(const std::string& said) {
    const char32_t last = last_char(said);
    if (last == U't') return before_vowel(said) + "ᵻd";
    if (last == U'd') return said + "ᵻd";
    return said +
           (std::u32string_view(U"pkfθsʃ").find(last) != std::u32string_view::npos ? "t" : "d");
  }
  /// Between vowels American t is a tap.
  static std::string before_vowel(const std::string& said) {
    if (!said.ends_with("t") || said.ends_with("st") || said.ends_with("ʃt")) return said;
    std::string root = said.substr(0, said.size() - 1);
    const char32_t last = last_char(root);
    const bool vowel = std::u32string_view(U"ɪʊəɚæɛʌːɹ").find(last) != std::u32string_view::npos;
    return vowel ? root + "ɾ" : said;
  }

  std::string guess(const std::string& word) const {
    {
      std::lock_guard lock(mutex_);
      if (auto found = guesses_.find(word); found != guesses_.end()) return found->second;
    }
    std::string said = arpabet_to_ipa(network_(word));
    std::lock_guard lock(mutex_);
    if (guesses_.size() < 10'000) guesses_.emplace(word, said);
    return said;
  }

  Lexicon lexicon_;
  LetterToSound network_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::string> guesses_;
};

}  // namespace

std::shared_ptr<const Phonemizer> english_phonemizer(const std::string& dir) {
  return std::make_shared<EnglishPhonemizer>(dir);
}

}  // namespace plait::data
