#include "plait/data/text/jinja_text.h"

#include <algorithm>

#include "plait/core/error.h"
#include "plait/data/text/jinja_builtins.h"

namespace plait::data::jinja {

namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80;
}

std::vector<Value> reverse_split(const std::string& text, const std::string& by, int64_t most) {
  if (by.empty()) fail_template("rsplit: expected a separator that is not empty");
  std::vector<Value> out;
  size_t end = text.size();
  while (most-- != 0 && end >= by.size()) {
    const size_t at = text.rfind(by, end - by.size());
    if (at == std::string::npos) break;
    out.emplace_back(text.substr(at + by.size(), end - at - by.size()));
    end = at;
  }
  out.emplace_back(text.substr(0, end));
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<Value> split_lines(const std::string& text) {
  std::vector<Value> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of("\r\n", at), text.size());
    out.emplace_back(text.substr(at, end - at));
    at = end + (text.compare(end, 2, "\r\n") == 0 ? 2 : 1);
  }
  return out;
}

/// startswith and endswith take one text or several.
bool has_affix(const std::string& text, const Value& affix, bool at_start) {
  const auto has = [&](const Value& one) {
    return at_start ? text.starts_with(one.text()) : text.ends_with(one.text());
  };
  if (List* list = affix.list_of()) return std::any_of(list->items.begin(), list->items.end(), has);
  return has(affix);
}

bool all_of(const std::string& text, bool (*what)(char)) {
  return !text.empty() && std::all_of(text.begin(), text.end(), what);
}

/// Index of a byte counted in characters.
int64_t characters_before(const std::string& text, size_t byte) {
  return byte == std::string::npos ? -1
                                   : static_cast<int64_t>(characters(text.substr(0, byte)).size());
}

}  // namespace

std::string stripped(const std::string& text, std::string_view what, bool left, bool right) {
  size_t begin = 0, end = text.size();
  while (left && begin < end && what.find(text[begin]) != std::string_view::npos) ++begin;
  while (right && end > begin && what.find(text[end - 1]) != std::string_view::npos) --end;
  return text.substr(begin, end - begin);
}

std::string cased(std::string text, bool upper) {
  for (char& c : text) {
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return text;
}

std::string capitalized(const std::string& text) {
  std::string out = cased(text, false);
  if (!out.empty()) out[0] = cased(out.substr(0, 1), true)[0];
  return out;
}

std::string titled(const std::string& text) {
  std::string out = cased(text, false);
  for (size_t i = 0; i < out.size(); ++i) {
    if (i == 0 || !is_letter(out[i - 1])) out[i] = cased(out.substr(i, 1), true)[0];
  }
  return out;
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to,
                     int64_t most) {
  std::string out;
  const auto room = [&] {
    if (out.size() > kMaxText) fail(ErrorCode::kResourceLimit, "template", "the text is too long");
  };
  if (from.empty()) {
    for (const std::string& c : characters(text)) {
      if (most-- != 0) out += to;
      out += c;
      room();
    }
    return most != 0 ? out + to : out;
  }
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string::npos && most-- != 0;
       at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += to;
    done = at + from.size();
    room();
  }
  out.append(text, done);
  return out;
}

std::vector<Value> split(const std::string& text, const Value* separator, int64_t most) {
  std::vector<Value> out;
  if (separator && !separator->is_none()) {
    const std::string& by = separator->text();
    if (by.empty()) fail_template("split: expected a separator that is not empty");
    size_t done = 0;
    for (size_t at = text.find(by); at != std::string::npos && most-- != 0;
         at = text.find(by, done)) {
      out.emplace_back(text.substr(done, at - done));
      done = at + by.size();
    }
    out.emplace_back(text.substr(done));
    return out;
  }
  size_t at = 0;
  while (true) {
    at = text.find_first_not_of(kBlanks, at);
    if (at == std::string::npos) return out;
    if (most-- == 0) {
      out.emplace_back(stripped(text.substr(at), kBlanks, false, true));
      return out;
    }
    const size_t end = std::min(text.find_first_of(kBlanks, at), text.size());
    out.emplace_back(text.substr(at, end - at));
    at = end;
  }
}

bool text_method(const std::string& text, const std::string& name, const Arguments& a, Value& out) {
  const auto argument = [&](size_t place, const char* key) -> const Value& {
    const Value* given = a.get(place, key);
    if (!given) fail_template(name + ": expected more arguments");
    return *given;
  };
  const auto most = [&](size_t place, const char* key) {
    const Value* given = a.get(place, key);
    return given ? given->integer() : int64_t{-1};
  };
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const Value* what = a.get(0, "chars");
    const std::string set = what && !what->is_none() ? what->text() : std::string(kBlanks);
    out = stripped(text, set, name != "rstrip", name != "lstrip");
  } else if (name == "upper" || name == "lower") {
    out = cased(text, name == "upper");
  } else if (name == "title") {
    out = titled(text);
  } else if (name == "capitalize") {
    out = capitalized(text);
  } else if (name == "split") {
    out = Value::list(split(text, a.get(0, "sep"), most(1, "maxsplit")));
  } else if (name == "rsplit") {
    out = Value::list(reverse_split(text, argument(0, "sep").text(), most(1, "maxsplit")));
  } else if (name == "splitlines") {
    out = Value::list(split_lines(text));
  } else if (name == "startswith" || name == "endswith") {
    out = has_affix(text, argument(0, "prefix"), name == "startswith");
  } else if (name == "replace") {
    out = replaced(text, argument(0, "old").text(), argument(1, "new").text(), most(2, "count"));
  } else if (name == "find") {
    out = characters_before(text, text.find(argument(0, "sub").text()));
  } else if (name == "rfind") {
    out = characters_before(text, text.rfind(argument(0, "sub").text()));
  } else if (name == "count") {
    out = static_cast<int64_t>(split(text, &argument(0, "sub"), -1).size()) - 1;
  } else if (name == "removeprefix" || name == "removesuffix") {
    const std::string& part = argument(0, "prefix").text();
    out = text;
    if (name == "removeprefix" && text.starts_with(part)) out = text.substr(part.size());
    if (name == "removesuffix" && text.ends_with(part))
      out = text.substr(0, text.size() - part.size());
  } else if (name == "join") {
    out = apply_filter("join", argument(0, "iterable"), {{Value(text)}, {}});
  } else if (name == "isdigit" || name == "isnumeric" || name == "isdecimal") {
    out = all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  } else if (name == "isalpha") {
    out = all_of(text, is_letter);
  } else if (name == "isspace") {
    out = all_of(text, [](char c) { return kBlanks.find(c) != std::string_view::npos; });
  } else if (name == "isupper") {
    out = cased(text, true) == text && cased(text, false) != text;
  } else if (name == "islower") {
    out = cased(text, false) == text && cased(text, true) != text;
  } else {
    return false;
  }
  return true;
}

}  // namespace plait::data::jinja
