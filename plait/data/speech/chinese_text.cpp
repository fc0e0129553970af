#include "plait/data/speech/chinese_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "plait/core/error.h"
#include "plait/data/text/unicode.h"

namespace plait::data {
namespace {

constexpr std::array<const char*, 10> kDigits = {"零", "一", "二", "三", "四",
                                                 "五", "六", "七", "八", "九"};

/// 1 to 9999; `inside`: behind a larger part, where ten is 一十.
std::string below_ten_thousand(uint64_t n, bool inside) {
  static constexpr std::array<const char*, 4> kPlaces = {"", "十", "百", "千"};
  std::string out;
  bool zero = false;
  uint64_t divisor = 1000;
  for (size_t place = 4; place-- > 0; divisor /= 10) {
    const uint64_t digit = n / divisor % 10;
    if (digit == 0) {
      zero = !out.empty();
      continue;
    }
    if (zero) out += kDigits[0];
    zero = false;
    const bool bare_ten = place == 1 && digit == 1 && out.empty() && !inside;
    if (!bare_ten) out += kDigits[digit];
    out += kPlaces[place];
  }
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Full-width forms to plain ones.
std::string to_half_width(const std::string& text) {
  const std::string valid = to_valid_utf8(text);
  std::string out;
  for (size_t at = 0; at < valid.size();) {
    char32_t c = next_char(valid, at);
    const bool keeps_mark = c == U'，' || c == U'！' || c == U'？' || c == U'：' || c == U'；' ||
                            c == U'（' || c == U'）';
    if (c >= 0xFF01 && c <= 0xFF5E && !keeps_mark) c -= 0xFEE0;
    if (c == 0x3000) c = ' ';
    append_utf8(out, c);
  }
  return out;
}

struct Unit {
  const char* sign;
  const char* spoken;
};
constexpr Unit kUnits[] = {{"km/h", "公里每小时"}, {"km", "公里"}, {"kg", "公斤"}, {"cm", "厘米"},
                           {"mm", "毫米"},         {"ml", "毫升"}, {"mg", "毫克"}, {"℃", "摄氏度"},
                           {"°C", "摄氏度"},       {"m", "米"},    {"g", "克"},    {"L", "升"}};
/// Behind 2 these make it 两.
constexpr const char* kMeasures[] = {"个",   "位",   "本", "张",   "只", "条", "件", "次", "天",
                                     "年前", "年后", "名", "家",   "辆", "座", "块", "杯", "碗",
                                     "小时", "分钟", "周", "岁半", "斤", "倍", "种", "台", "部"};

class Speller {
 public:
  explicit Speller(std::string text) : text_(std::move(text)) {}

  std::string run() {
    while (at_ < text_.size()) {
      if (!number()) {
        const size_t size = char_size(text_[at_]);
        out_.append(text_, at_, size);
        at_ += size;
      }
    }
    return std::move(out_);
  }

 private:
  std::string_view rest(size_t from) const {
    return std::string_view(text_).substr(std::min(from, text_.size()));
  }
  bool follows(size_t from, std::string_view what) const { return rest(from).starts_with(what); }
  std::string digits_at(size_t from) const {
    size_t end = from;
    while (end < text_.size() && is_digit(text_[end])) ++end;
    return text_.substr(from, end - from);
  }
  static int64_t value(const std::string& digits) {
    int64_t out = 0;
    std::from_chars(digits.data(), digits.data() + std::min<size_t>(digits.size(), 18), out);
    return out;
  }

  bool number() {
    size_t at = at_;
    bool negative = false;
    const char before = at_ > 0 ? text_[at_ - 1] : ' ';
    if ((text_[at] == '-' || follows(at, "−")) && !is_digit(before) &&
        !(before >= 'A' && before <= 'z')) {
      const size_t size = char_size(text_[at]);
      if (at + size < text_.size() && is_digit(text_[at + size])) {
        negative = true;
        at += size;
      }
    }
    for (const auto& [sign, name] :
         {Unit{"¥", "元"}, Unit{"￥", "元"}, Unit{"$", "美元"}, Unit{"€", "欧元"}}) {
      const size_t size = std::string_view(sign).size();
      if (!follows(at, sign) || at + size >= text_.size() || !is_digit(text_[at + size])) continue;
      at_ = at + size;
      plain(negative, digits_at(at_));
      // "$5万" is 五万美元.
      for (const char* scale : {"万亿", "万", "亿"}) {
        if (!follows(at_, scale)) continue;
        out_ += scale;
        at_ += std::string_view(scale).size();
        break;
      }
      out_ += name;
      return true;
    }
    const std::string first = digits_at(at);
    if (first.empty()) return false;
    at_ = at;
    if (!negative && (date(first) || time(first) || fraction(first) || range(first))) return true;
    plain(negative, first);
    return true;
  }

  /// 2024-03-01, 2024/3/1 and 2024年.
  bool date(const std::string& year) {
    const size_t end = at_ + year.size();
    if (year.size() != 4) return false;
    if (follows(end, "年")) {
      out_ += chinese_digits(year);
      at_ = end;
      return true;
    }
    const char sign = end < text_.size() ? text_[end] : ' ';
    if (sign != '-' && sign != '/' && sign != '.') return false;
    const std::string month = digits_at(end + 1);
    const size_t second = end + 1 + month.size();
    if (month.empty() || month.size() > 2 || second >= text_.size() || text_[second] != sign)
      return false;
    const std::string day = digits_at(second + 1);
    if (day.empty() || day.size() > 2 || value(month) < 1 || value(month) > 12 || value(day) < 1 ||
        value(day) > 31)
      return false;
    out_ += chinese_digits(year) + "年" + chinese_number(value(month)) + "月" +
            chinese_number(value(day)) + "日";
    at_ = second + 1 + day.size();
    return true;
  }
  /// 3:45 and 3：45.
  bool time(const std::string& hour) {
    size_t at = at_ + hour.size();
    const size_t colon = follows(at, ":") ? 1 : follows(at, "：") ? 3 : 0;
    const std::string minute = colon ? digits_at(at + colon) : "";
    if (hour.size() > 2 || minute.size() != 2 || value(hour) > 24 || value(minute) > 59)
      return false;
    at_ = at + colon + 2;
    out_ += (value(hour) == 2 ? std::string("两") : chinese_number(value(hour))) + "点";
    if (value(minute) == 0) {
      out_ += "整";
    } else if (value(minute) == 30) {
      out_ += "半";
    } else {
      out_ += (value(minute) < 10 ? "零" : "") + chinese_number(value(minute)) + "分";
    }
    return true;
  }
  bool fraction(const std::string& above) {
    const size_t at = at_ + above.size();
    if (!follows(at, "/")) return false;
    const std::string below = digits_at(at + 1);
    if (below.empty() || value(below) == 0 || above.size() > 4 || below.size() > 4) return false;
    out_ += chinese_number(value(below)) + "分之" + chinese_number(value(above));
    at_ = at + 1 + below.size();
    return true;
  }
  /// 10-20, 10~20, 10—20.
  bool range(const std::string& from) {
    const size_t at = at_ + from.size();
    for (const char* sign : {"-", "~", "～", "—"}) {
      if (!follows(at, sign)) continue;
      const size_t next = at + std::string_view(sign).size();
      const std::string to = digits_at(next);
      if (to.empty() || from.size() > 4 || to.size() > 4 || follows(next + to.size(), sign))
        return false;
      out_ += chinese_number(value(from)) + "到";
      at_ = next;
      return true;
    }
    return false;
  }

  /// A number with thousands, decimals and what stands behind it.
  void plain(bool negative, std::string whole) {
    at_ += whole.size();
    while (whole.size() <= 15 && follows(at_, ",") && digits_at(at_ + 1).size() == 3) {
      whole += digits_at(at_ + 1);
      at_ += 4;
    }
    std::string decimals;
    if (follows(at_, ".") && !(decimals = digits_at(at_ + 1)).empty()) at_ += 1 + decimals.size();
    std::string said;
    const bool digit_by_digit =
        decimals.empty() && ((whole.size() > 1 && whole[0] == '0') || whole.size() > 13 ||
                             (whole.size() == 11 && whole[0] == '1'));
    const bool pair = whole == "2" && decimals.empty() && !negative &&
                      std::any_of(std::begin(kMeasures), std::end(kMeasures),
                                  [&](const char* m) { return follows(at_, m); });
    const bool ordinal = out_.ends_with("第");
    if (digit_by_digit) {
      said = chinese_digits(whole);
    } else if (pair && !ordinal) {
      said = "两";
    } else {
      said = chinese_number(value(whole));
      if (!decimals.empty()) said += "点" + chinese_digits(decimals);
    }
    if (negative) said = "负" + said;
    if (follows(at_, "%") || follows(at_, "％")) {
      at_ += char_size(text_[at_]);
      out_ +=
          (negative ? "负百分之" + said.substr(std::string_view("负").size()) : "百分之" + said);
      return;
    }
    out_ += said;
    for (const auto& [sign, spoken] : kUnits) {
      const size_t end = at_ + std::string_view(sign).size();
      const bool whole_word = end >= text_.size() || !((text_[end] >= 'A' && text_[end] <= 'Z') ||
                                                       (text_[end] >= 'a' && text_[end] <= 'z'));
      if (!follows(at_, sign) || !whole_word) continue;
      out_ += spoken;
      at_ = end;
      return;
    }
  }

  std::string text_, out_;
  size_t at_ = 0;
};

}  // namespace

std::string chinese_number(int64_t number) {
  if (number == 0) return kDigits[0];
  uint64_t n = number < 0 ? ~static_cast<uint64_t>(number) + 1 : static_cast<uint64_t>(number);
  std::vector<uint64_t> groups;
  for (; n > 0; n /= 10000) groups.push_back(n % 10000);
  static constexpr std::array<const char*, 5> kGroups = {"", "万", "亿", "万亿", "亿亿"};
  std::string out;
  bool gap = false;
  for (size_t i = groups.size(); i-- > 0;) {
    if (groups[i] == 0) {
      gap = true;
      continue;
    }
    if (!out.empty() && (gap || groups[i] < 1000)) out += kDigits[0];
    gap = false;
    out += below_ten_thousand(groups[i], !out.empty()) + kGroups[i];
  }
  return number < 0 ? "负" + out : out;
}

std::string chinese_digits(std::string_view digits) {
  std::string out;
  for (char c : digits) {
    if (is_digit(c)) out += kDigits[static_cast<size_t>(c - '0')];
  }
  return out;
}

std::string spell_chinese(const std::string& text) {
  if (text.size() > 1'000'000)
    fail(ErrorCode::kResourceLimit, "speech", "expected at most 1000000 bytes of text");
  return Speller(to_half_width(text)).run();
}

}  // namespace plait::data
