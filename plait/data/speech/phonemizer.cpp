#include "plait/data/speech/phonemizer.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "plait/core/error.h"
#include "plait/data/packages/process.h"
#include "plait/data/speech/english_text.h"
#include "plait/data/text/unicode.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "speech";

/// Runs espeak-ng for each clause, because it does not say which pauses the text had.
class EspeakPhonemizer : public Phonemizer {
 public:
  explicit EspeakPhonemizer(std::string voice) : voice_(std::move(voice)) {
    const bool plain = !voice_.empty() && std::all_of(voice_.begin(), voice_.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '-' || c == '_';
    });
    require(plain, kUnit, "expected an espeak-ng voice's name");
    run_checked({"espeak-ng", "--version"});
  }

  std::vector<std::string> operator()(const std::string& text) const override {
    if (text.size() > 1'000'000)
      fail(ErrorCode::kResourceLimit, kUnit, "expected at most 1000000 bytes of text");
    std::vector<std::string> out;
    std::string sentence, clause;
    auto speak = [&](char mark) {
      std::string said = phonemes(clause);
      clause.clear();
      if (said.empty()) return;
      sentence += (sentence.empty() ? "" : " ") + said + mark;
    };
    const std::string valid = to_valid_utf8(text);
    for (size_t i = 0; i < valid.size(); ++i) {
      const char c = valid[i], after = i + 1 < valid.size() ? valid[i + 1] : ' ';
      const bool pause = std::string_view(".,;:!?").find(c) != std::string_view::npos &&
                         after <= ' ' && after >= 0;
      if (!pause && c != '\n') {
        clause += c < ' ' && c >= 0 ? ' ' : c;
        continue;
      }
      const char mark = c == '\n' ? '.' : c;
      speak(mark);
      if (std::string_view(".!?").find(mark) == std::string_view::npos || sentence.empty())
        continue;
      out.push_back(std::move(sentence));
      sentence.clear();
    }
    speak('.');
    if (!sentence.empty()) out.push_back(std::move(sentence));
    return out;
  }

 private:
  std::string phonemes(const std::string& clause) const {
    if (clause.find_first_not_of(' ') == std::string::npos) return "";
    const ProcessResult result =
        run_checked({"espeak-ng", "-q", "--ipa", "-v", voice_, "--", clause});
    std::string out;
    bool bracket = false;  // "(en)" says that the language changes.
    for (char c : to_valid_utf8(result.output)) {
      if (c == '(') bracket = true;
      if (!bracket) out += c == '\n' || c == '\r' ? ' ' : c;
      if (c == ')') bracket = false;
    }
    const size_t first = out.find_first_not_of(' '), last = out.find_last_not_of(' ');
    return first == std::string::npos ? "" : out.substr(first, last - first + 1);
  }
  std::string voice_;
};

class LetterPhonemizer : public Phonemizer {
 public:
  explicit LetterPhonemizer(const std::vector<std::string>& characters)
      : characters_(characters.begin(), characters.end()) {}

  std::vector<std::string> operator()(const std::string& text) const override {
    if (text.size() > 1'000'000)
      fail(ErrorCode::kResourceLimit, kUnit, "expected at most 1000000 bytes of text");
    const CharClasses& classes = CharClasses::instance();
    const std::string valid = to_valid_utf8(text);
    std::vector<std::string> out;
    std::string line;
    auto end = [&] {
      const size_t first = line.find_first_not_of(' '), last = line.find_last_not_of(' ');
      if (first != std::string::npos) out.push_back(line.substr(first, last - first + 1));
      line.clear();
    };
    for (size_t at = 0; at < valid.size();) {
      const char32_t c = next_char(valid, at);
      std::string as_is, small;
      append_utf8(as_is, c);
      append_utf8(small, classes.lower(c));
      if (characters_.count(as_is)) {
        line += as_is;
      } else if (characters_.count(small)) {
        line += small;
      } else if (c == '\n') {
        line += ' ';
      }
      const bool stop =
          c == '.' || c == '!' || c == '?' || c == '\n' || c == U'。' || c == U'！' || c == U'？';
      if (stop && (at == valid.size() || valid[at] <= ' ' || c > 0x7F)) end();
    }
    end();
    return out;
  }

 private:
  std::set<std::string> characters_;
};

}  // namespace

std::shared_ptr<const Phonemizer> espeak_phonemizer(const std::string& voice) {
  return std::make_shared<EspeakPhonemizer>(voice);
}

std::shared_ptr<const Phonemizer> letter_phonemizer(const std::vector<std::string>& characters) {
  return std::make_shared<LetterPhonemizer>(characters);
}

std::shared_ptr<const Phonemizer> make_phonemizer(const Json& voice, const std::string& dir,
                                                  const std::string& name) {
  std::string kind = name;
  const std::string language = voice.get("language", "");
  const bool letters = voice.get("front_end", "phonemes") == "letters";
  const bool lexicon = std::filesystem::exists(dir + "/lexicon.tsv") && language.starts_with("en");
  const bool chinese = std::filesystem::exists(dir + "/hanzi.tsv");
  if (kind.empty())
    kind = letters ? "letters" : lexicon ? "lexicon" : chinese ? "pinyin" : "espeak";
  if (kind == "pinyin" || kind == "plain_pinyin") return chinese_phonemizer(dir, kind == "pinyin");
  if (kind == "espeak") return espeak_phonemizer(language);
  if (kind == "letters") {
    std::vector<std::string> characters;
    for (const auto& [character, ids] : voice.at("symbols").members())
      characters.push_back(character);
    return letter_phonemizer(characters);
  }
  if (kind != "lexicon")
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected a front end of lexicon, pinyin, plain_pinyin, espeak, letters");
  if (!lexicon)
    fail(ErrorCode::kNotFound, kUnit,
         dir + ": expected an English voice with lexicon.tsv, found none");
  return english_phonemizer(dir);
}

}  // namespace plait::data
