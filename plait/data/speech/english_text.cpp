#include "plait/data/speech/english_text.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>

#include "plait/core/error.h"
#include "plait/data/speech/english_numbers.h"
#include "plait/data/text/unicode.h"

namespace plait::data {
namespace {

constexpr size_t kMaxBytes = 1'000'000;
constexpr size_t kMaxWords = 120;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool all_digits(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), is_digit);
}
std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

using Table = std::map<std::string, const char*, std::less<>>;

/// Abbreviations with a full stop that ends no sentence.
const Table kAbbreviations = {{"mr", "mister"},
                              {"mrs", "missus"},
                              {"ms", "miss"},
                              {"dr", "doctor"},
                              {"st", "saint"},
                              {"prof", "professor"},
                              {"jr", "junior"},
                              {"sr", "senior"},
                              {"vs", "versus"},
                              {"etc", "et cetera"},
                              {"e.g", "for example"},
                              {"i.e", "that is"},
                              {"approx", "approximately"},
                              {"dept", "department"},
                              {"fig", "figure"},
                              {"vol", "volume"},
                              {"gen", "general"},
                              {"col", "colonel"},
                              {"capt", "captain"},
                              {"lt", "lieutenant"},
                              {"sgt", "sergeant"},
                              {"rev", "reverend"},
                              {"hon", "honorable"},
                              {"ave", "avenue"},
                              {"blvd", "boulevard"},
                              {"rd", "road"},
                              {"inc", "incorporated"},
                              {"ltd", "limited"},
                              {"corp", "corporation"},
                              {"co", "company"},
                              {"est", "established"},
                              {"no", "number"},
                              {"jan", "January"},
                              {"feb", "February"},
                              {"mar", "March"},
                              {"apr", "April"},
                              {"jun", "June"},
                              {"jul", "July"},
                              {"aug", "August"},
                              {"sep", "September"},
                              {"sept", "September"},
                              {"oct", "October"},
                              {"nov", "November"},
                              {"dec", "December"}};
/// Of those, the ones that often end a sentence too.
const char* const kMayEnd[] = {"etc", "inc", "ltd",  "co", "corp", "jr",
                               "sr",  "ave", "blvd", "rd", "no"};
const char* const kMonths[] = {"January",   "February", "March",    "April",
                               "May",       "June",     "July",     "August",
                               "September", "October",  "November", "December"};
/// Behind a number: of one, of more.
const std::map<std::string, std::pair<const char*, const char*>, std::less<>> kUnits = {
    {"km", {"kilometer", "kilometers"}},
    {"m", {"meter", "meters"}},
    {"cm", {"centimeter", "centimeters"}},
    {"mm", {"millimeter", "millimeters"}},
    {"kg", {"kilogram", "kilograms"}},
    {"g", {"gram", "grams"}},
    {"mg", {"milligram", "milligrams"}},
    {"lb", {"pound", "pounds"}},
    {"lbs", {"pound", "pounds"}},
    {"oz", {"ounce", "ounces"}},
    {"ft", {"foot", "feet"}},
    {"mi", {"mile", "miles"}},
    {"mph", {"mile per hour", "miles per hour"}},
    {"km/h", {"kilometer per hour", "kilometers per hour"}},
    {"hz", {"hertz", "hertz"}},
    {"khz", {"kilohertz", "kilohertz"}},
    {"mhz", {"megahertz", "megahertz"}},
    {"ghz", {"gigahertz", "gigahertz"}},
    {"kb", {"kilobyte", "kilobytes"}},
    {"mb", {"megabyte", "megabytes"}},
    {"gb", {"gigabyte", "gigabytes"}},
    {"tb", {"terabyte", "terabytes"}},
    {"ms", {"millisecond", "milliseconds"}},
    {"min", {"minute", "minutes"}},
    {"hr", {"hour", "hours"}},
    {"hrs", {"hour", "hours"}},
    {"kw", {"kilowatt", "kilowatts"}},
    {"%", {"percent", "percent"}}};
const std::map<std::string, std::pair<const char*, const char*>, std::less<>> kMoney = {
    {"$", {"dollar", "cent"}},
    {"£", {"pound", "penny"}},
    {"€", {"euro", "cent"}},
    {"¥", {"yen", ""}}};
const char* const kScales[] = {"hundred", "thousand", "million", "billion", "trillion"};

/// Letters with marks to plain ones, typographic signs to ASCII; what nobody says becomes a space.
std::string to_plain(const std::string& text) {
  // U+00C0 to U+00FF, '?' where there is no letter.
  static const char kLatin[] = "AAAAAAACEEEEIIIIDNOOOOO?OUUUUYTsaaaaaaaceeeeiiiidnooooo?ouuuuyty";
  const std::string valid = to_valid_utf8(text);
  std::string out;
  for (size_t at = 0; at < valid.size();) {
    const char32_t c = next_char(valid, at);
    if (c == '\n' || c == '\r' || (c >= 0x20 && c < 0x7F)) {
      out += static_cast<char>(c);
    } else if (c == 0x2019 || c == 0x2018) {
      out += '\'';
    } else if (c == 0x2014 || c == 0x2013) {
      out += c == 0x2014 ? " , " : "-";
    } else if (c == 0x2026) {
      out += '.';
    } else if (c == 0xA3 || c == 0x20AC || c == 0xA5) {
      append_utf8(out, c);
    } else if (c == 0xB0) {
      out += " degrees ";
    } else if (c >= 0xC0 && c <= 0xFF && kLatin[c - 0xC0] != '?') {
      out += kLatin[c - 0xC0];
    } else if (c == 0xD7) {
      out += " times ";
    } else {
      out += ' ';
    }
  }
  return out;
}

/// A number with commas between thousands and a decimal part.
struct Number {
  int64_t whole = 0;
  std::string decimals;
  bool negative = false, grouped = false;
  size_t digits = 0;
};

std::optional<Number> parse_number(std::string_view s) {
  Number out;
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) {
    out.negative = s[0] == '-';
    s.remove_prefix(1);
  }
  std::string whole;
  size_t at = 0;
  for (; at < s.size() && (is_digit(s[at]) || s[at] == ','); ++at) {
    if (s[at] == ',') {
      // Three digits follow, and then no further one.
      const std::string_view group = s.substr(at + 1, 3);
      const bool thousand = !whole.empty() && group.size() == 3 && all_digits(group) &&
                            (at + 4 == s.size() || !is_digit(s[at + 4]));
      if (!thousand) return std::nullopt;
      out.grouped = true;
    } else {
      whole += s[at];
    }
  }
  if (at < s.size()) {
    if (s[at] != '.' || !all_digits(s.substr(at + 1))) return std::nullopt;
    out.decimals = std::string(s.substr(at + 1));
  }
  if ((whole.empty() && out.decimals.empty()) || whole.size() > 18) return std::nullopt;
  out.digits = whole.size();
  std::from_chars(whole.data(), whole.data() + whole.size(), out.whole);
  return out;
}

std::string say(const Number& n) {
  std::string out = n.negative ? "minus " : "";
  out += english_cardinal(n.whole);
  if (!n.decimals.empty()) out += " point " + english_digits(n.decimals);
  return out;
}

class Speller {
 public:
  explicit Speller(const std::string& text) {
    const std::string plain = to_plain(text);
    size_t at = 0;
    while (at < plain.size()) {
      if (plain[at] == '\n' || plain[at] == '\r') {
        chunks_.emplace_back("\n");
        ++at;
      } else if (plain[at] == ' ') {
        ++at;
      } else {
        const size_t end = std::min(plain.find_first_of(" \n\r", at), plain.size());
        chunks_.push_back(plain.substr(at, end - at));
        at = end;
      }
    }
  }

  std::vector<SpokenText> run() {
    for (at_ = 0; at_ < chunks_.size(); ++at_) {
      if (chunks_[at_] == "\n") {
        end_sentence('.');
      } else {
        chunk(chunks_[at_]);
      }
    }
    end_sentence('.');
    return std::move(out_);
  }

 private:
  /// Words of a phrase, without marks.
  void add(std::string_view phrase) {
    while (!phrase.empty()) {
      const size_t end = std::min(phrase.find(' '), phrase.size());
      if (end > 0) now_.words.push_back({std::string(phrase.substr(0, end)), 0});
      phrase.remove_prefix(std::min(end + 1, phrase.size()));
    }
  }
  void mark(char c) {
    if (now_.words.empty()) return;
    if (c == '.' || c == '!' || c == '?') {
      end_sentence(c);
    } else {
      now_.words.back().mark = c;
      if (now_.words.size() > kMaxWords) end_sentence(c);
    }
  }
  void end_sentence(char c) {
    if (now_.words.empty()) return;
    if (now_.words.back().mark == 0 || c != ',') now_.words.back().mark = c;
    out_.push_back(std::move(now_));
    now_ = {};
  }
  const std::string* next() const {
    return at_ + 1 < chunks_.size() && chunks_[at_ + 1] != "\n" ? &chunks_[at_ + 1] : nullptr;
  }

  void chunk(std::string_view s) {
    if (now_.words.size() > 2 * kMaxWords) end_sentence('.');
    while (!s.empty() &&
           std::string_view("\"'([{<*_~`|\\").find(s.front()) != std::string_view::npos) {
      // An apostrophe before a letter belongs to the word ('tis).
      if (s.front() == '\'' && s.size() > 1 && is_letter(s[1]) && s.back() != '\'') break;
      s.remove_prefix(1);
    }
    size_t end = s.size();
    while (end > 0 &&
           std::string_view("\"')]}>*_~`|\\.,;:!?").find(s[end - 1]) != std::string_view::npos)
      --end;
    std::string_view tail = s.substr(end);
    s = s.substr(0, end);
    if (s == "-") return mark(',');
    if (!s.empty() && abbreviation(s, tail)) return;
    if (!s.empty()) core(s);
    // The stop of "p.m." ends no sentence that goes on in small letters.
    const std::string* following = next();
    if (tail.starts_with(".") && s.size() > 2 && s[s.size() - 2] == '.' && is_letter(s.back()) &&
        following && std::islower(static_cast<unsigned char>(following->front())))
      tail.remove_prefix(1);
    char pause = 0;
    for (char c : tail) {
      if (std::string_view(".!?").find(c) != std::string_view::npos) {
        pause = pause == '?' || pause == '!' ? pause : c;
      } else if (std::string_view(",;:").find(c) != std::string_view::npos && pause == 0) {
        pause = c;
      }
    }
    if (pause) mark(pause);
  }

  bool abbreviation(std::string_view s, std::string_view tail) {
    if (tail.empty() || tail.front() != '.') return false;
    const std::string word = lower(s);
    auto found = kAbbreviations.find(word);
    if (found == kAbbreviations.end()) return false;
    const std::string* following = next();
    const bool capital = following && std::isupper(static_cast<unsigned char>(following->front()));
    const bool may_end =
        std::find(std::begin(kMayEnd), std::end(kMayEnd), word) != std::end(kMayEnd);
    if (word == "no" && !(following && is_digit(following->front()))) return false;
    if (word == "st" && !capital) {
      add("street");
    } else {
      add(found->second);
    }
    if (!following || (may_end && capital)) {
      end_sentence('.');
    } else if (tail.find(',') != std::string_view::npos) {
      mark(',');
    }
    return true;
  }

  /// A chunk without the marks around it.
  void core(std::string_view s) {
    if (money(s) || number(s) || time_or_date(s) || initials(s)) return;
    if (auto unit = kUnits.find(lower(s)); s == "%" && unit != kUnits.end()) return add("percent");
    pieces(s);
  }

  bool money(std::string_view s) {
    for (const auto& [sign, names] : kMoney) {
      if (!s.starts_with(sign)) continue;
      auto amount = parse_number(s.substr(sign.size()));
      if (!amount) return false;
      const std::string name = names.first;
      const std::string plural = name == "yen" ? name : name + "s";
      if (const std::string* word = next(); word) {
        const std::string scale = word->substr(0, word->find_first_of(".,;:!?"));
        if (std::find(std::begin(kScales), std::end(kScales), scale) != std::end(kScales)) {
          add(say(*amount) + " " + scale + " " + plural);
          const std::string tail = word->substr(scale.size());
          ++at_;
          if (tail.find_first_of(",;:.!?") == 0) mark(tail[0]);
          return true;
        }
      }
      if (amount->decimals.size() == 2 && *names.second) {
        const int64_t cents = std::stoll(amount->decimals);
        Number whole = *amount;
        whole.decimals.clear();
        std::string small = names.second;
        small = small == "penny" ? "pence" : small + (cents == 1 ? "" : "s");
        if (whole.whole > 0 || cents == 0)
          add(say(whole) + " " + (whole.whole == 1 ? name : plural));
        if (whole.whole > 0 && cents > 0) add("and");
        if (cents > 0) add(english_cardinal(cents) + " " + small);
      } else {
        add(say(*amount) + " " + (amount->whole == 1 && amount->decimals.empty() ? name : plural));
      }
      return true;
    }
    return false;
  }

  bool number(std::string_view s) {
    size_t digits = s.find_first_not_of("+-0123456789.,");
    std::string_view head = s.substr(0, digits);
    std::string suffix = digits == std::string_view::npos ? "" : lower(s.substr(digits));
    auto n = parse_number(head);
    if (!n) return false;
    if (suffix.empty()) {
      const std::string* word = next();
      if (word) {
        const size_t end = word->find_first_of(".,;:!?)");
        const std::string unit = word->substr(0, end);
        auto found = kUnits.find(unit);
        // "5 m" is metres; "5 No" and "5 Min" are not units.
        if (found != kUnits.end() && unit == lower(unit)) {
          add(say(*n) + " " +
              (n->whole == 1 && n->decimals.empty() ? found->second.first : found->second.second));
          ++at_;
          if (end != std::string::npos && (*word)[end] != ')') mark((*word)[end]);
          return true;
        }
      }
      const bool leading_zero = n->digits > 1 && head.front() == '0';
      const bool year = n->digits == 4 && !n->grouped && n->decimals.empty() && !n->negative &&
                        n->whole >= 1100 && n->whole < 2100;
      if (leading_zero && n->decimals.empty()) {
        add(english_digits(head));
      } else {
        add(year ? english_year(n->whole) : say(*n));
      }
      return true;
    }
    if (n->decimals.empty() && !n->negative) {
      if (suffix == "st" || suffix == "nd" || suffix == "rd" || suffix == "th") {
        add(english_ordinal(n->whole));
        return true;
      }
      if (suffix == "s" || suffix == "'s") {
        std::string year = n->digits == 4 ? english_year(n->whole) : english_cardinal(n->whole);
        year = year.ends_with("y") ? year.substr(0, year.size() - 1) + "ies"
                                   : year + (year.ends_with("x") ? "es" : "s");
        add(year);
        return true;
      }
    }
    if (auto found = kUnits.find(suffix); found != kUnits.end()) {
      add(say(*n) + " " +
          (n->whole == 1 && n->decimals.empty() ? found->second.first : found->second.second));
      return true;
    }
    if (suffix == "k" || suffix == "bn") {
      add(say(*n) + (suffix == "k" ? " thousand" : " billion"));
      return true;
    }
    return false;
  }

  static std::vector<std::string_view> split(std::string_view s, char at) {
    std::vector<std::string_view> out;
    while (true) {
      const size_t end = s.find(at);
      out.push_back(s.substr(0, end));
      if (end == std::string_view::npos) return out;
      s.remove_prefix(end + 1);
    }
  }
  static int64_t value(std::string_view digits) {
    int64_t out = 0;
    std::from_chars(digits.data(), digits.data() + std::min<size_t>(digits.size(), 18), out);
    return out;
  }
  bool date(std::string_view year, std::string_view month, std::string_view day) {
    if (year.size() != 4 || month.size() > 2 || day.size() > 2) return false;
    const int64_t m = value(month), d = value(day);
    if (m < 1 || m > 12 || d < 1 || d > 31) return false;
    add(std::string(kMonths[m - 1]) + " " + english_ordinal(d));
    mark(',');
    add(english_year(value(year)));
    return true;
  }
  bool time_or_date(std::string_view s) {
    auto numbers = [](const std::vector<std::string_view>& parts) {
      return std::all_of(parts.begin(), parts.end(), all_digits);
    };
    std::string suffix;
    std::string_view clock = s;
    for (const char* half : {"am", "pm"}) {
      if (lower(s).ends_with(half) && s.size() > 2 && is_digit(s[s.size() - 3])) {
        suffix = half;
        clock = s.substr(0, s.size() - 2);
      }
    }
    auto parts = split(clock, ':');
    // "3:45 pm" in two chunks.
    std::string tail;
    if (const std::string* word = next(); word && suffix.empty() && parts.size() > 1) {
      const std::string half = lower(*word);
      for (const char* form : {"a.m.", "p.m.", "am", "pm"}) {
        if (!half.starts_with(form) ||
            half.find_first_of("abcdefghijklmnopqrstuvwxyz", std::string(form).size()) !=
                std::string::npos)
          continue;
        suffix = form[0] == 'a' ? "am" : "pm";
        tail = half.substr(std::string(form).size());
        if (tail.empty() && half.ends_with(".") && at_ + 2 == chunks_.size()) tail = ".";
        break;
      }
    }
    const bool two_chunks = !suffix.empty() && clock.size() == s.size();
    const bool hours = numbers(parts) && parts[0].size() <= 2 && value(parts[0]) < 25;
    if (hours &&
        (parts.size() == 1 ? !suffix.empty() : parts.size() <= 3 && parts[1].size() == 2)) {
      add(english_cardinal(value(parts[0])));
      const int64_t minutes = parts.size() > 1 ? value(parts[1]) : 0;
      if (minutes > 0) add((minutes < 10 ? "oh " : "") + english_cardinal(minutes));
      if (minutes == 0 && suffix.empty()) add("o'clock");
      if (parts.size() == 3) add("and " + english_cardinal(value(parts[2])) + " seconds");
      if (!suffix.empty()) add(suffix == "am" ? "A M" : "P M");
      if (two_chunks) ++at_;
      if (tail.find_first_of(",;:.!?") == 0) mark(tail[0]);
      return true;
    }
    parts = split(s, '-');
    if (parts.size() == 3 && numbers(parts) && date(parts[0], parts[1], parts[2])) return true;
    if (parts.size() == 2 && numbers(parts) && parts[0].size() <= 4 && parts[1].size() <= 4) {
      number(parts[0]);
      add("to");
      number(parts[1]);
      return true;
    }
    parts = split(s, '/');
    if (parts.size() == 3 && numbers(parts) && date(parts[2], parts[0], parts[1])) return true;
    if (parts.size() == 2 && numbers(parts) && parts[0].size() <= 3 && parts[1].size() <= 3)
      return fraction(value(parts[0]), value(parts[1]));
    return false;
  }
  bool fraction(int64_t above, int64_t below) {
    if (below < 2 || above < 1) return false;
    std::string part = below == 2 ? "half" : below == 4 ? "quarter" : english_ordinal(below);
    if (above > 1) part = part == "half" ? "halves" : part + "s";
    add(english_cardinal(above) + " " + part);
    return true;
  }
  /// "U.S", "a.m", "J.R.R".
  bool initials(std::string_view s) {
    auto parts = split(s, '.');
    if (parts.size() < 2) return false;
    for (std::string_view part : parts) {
      if (part.size() != 1 || !is_letter(part[0])) return false;
    }
    for (std::string_view part : parts)
      add(std::string(1, static_cast<char>(std::toupper(static_cast<unsigned char>(part[0])))));
    return true;
  }

  /// Anything else: runs of letters, of digits, and signs that have a name.
  void pieces(std::string_view s) {
    for (size_t at = 0; at < s.size();) {
      if (is_letter(s[at]) || s[at] == '\'') {
        size_t end = at;
        while (end < s.size() && (is_letter(s[end]) || s[end] == '\'')) ++end;
        if (std::any_of(s.begin() + static_cast<long>(at), s.begin() + static_cast<long>(end),
                        is_letter))
          now_.words.push_back({std::string(s.substr(at, end - at)), 0});
        at = end;
      } else if (is_digit(s[at])) {
        size_t end = at;
        while (end < s.size() &&
               (is_digit(s[end]) || (end + 1 < s.size() && s[end] == '.' && is_digit(s[end + 1]))))
          ++end;
        auto n = parse_number(s.substr(at, end - at));
        add(n ? say(*n) : english_digits(s.substr(at, end - at)));
        at = end;
      } else {
        sign(s[at], at + 1 < s.size() && at > 0);
        ++at;
      }
    }
  }
  void sign(char c, bool inside) {
    switch (c) {
      case '&': return add("and");
      case '+': return add("plus");
      case '=': return add("equals");
      case '%': return add("percent");
      case '@': return add("at");
      case '#': return add("number");
      case '/': return inside ? add("slash") : void();
      case '.': return inside ? add("dot") : void();
      case ',':
      case ';':
      case ':': return inside ? mark(c) : void();
      case '$': return add("dollars");
      default: return;
    }
  }

  std::vector<std::string> chunks_;
  size_t at_ = 0;
  SpokenText now_;
  std::vector<SpokenText> out_;
};

}  // namespace

std::vector<SpokenText> spell_english(const std::string& text) {
  if (text.size() > kMaxBytes)
    fail(ErrorCode::kResourceLimit, "speech",
         "expected at most " + std::to_string(kMaxBytes) + " bytes of text");
  return Speller(text).run();
}

}  // namespace plait::data
