#include "plait/data/text/unicode_normal.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>

#include <algorithm>

#include "plait/core/error.h"

namespace plait::data {
namespace {

const icu::Normalizer2& instance(bool compatible) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* found = compatible ? icu::Normalizer2::getNFKCInstance(status)
                                             : icu::Normalizer2::getNFCInstance(status);
  if (U_FAILURE(status) || !found)
    fail(ErrorCode::kUnavailable, "tokenizer", "ICU's normalisation data is missing");
  return *found;
}

bool stands_for_itself(char32_t c) {
  return c < 0xA0 || (c >= 0x3400 && c < 0xA000 && (c < 0x4DC0 || c >= 0x4E00));
}

/// The reference's tables of normalisation and scripts are those of Unicode 9: younger characters
/// are left alone.
constexpr uint8_t kReferenceVersion = 9;

bool known(char32_t c) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(c), age);
  return age[0] != 0 && age[0] <= kReferenceVersion;
}

bool decompose_with(const icu::Normalizer2& data, char32_t c, std::u32string& out) {
  icu::UnicodeString text;
  if (stands_for_itself(c) || !data.getDecomposition(static_cast<UChar32>(c), text)) return false;
  if (!known(c)) return false;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    out.push_back(static_cast<char32_t>(text.char32At(i)));
  }
  return true;
}

/// A character of the new text: `change` 0 stands for one of the old text, 1 is new, -n swallows
/// the n that follow.
struct Item {
  char32_t c;
  int change;
  uint8_t order;
};

std::vector<Item> decompose_all(std::string_view text, const icu::Normalizer2& data) {
  std::vector<Item> items;
  items.reserve(text.size());
  std::u32string parts;
  bool unordered = false;
  for (size_t at = 0; at < text.size();) {
    char32_t c = next_char(text, at);
    parts.clear();
    if (!decompose_with(data, c, parts)) parts.assign(1, c);
    for (size_t i = 0; i < parts.size(); ++i) {
      uint8_t order = combining_class(parts[i]);
      unordered |= order != 0 && !items.empty() && items.back().order > order;
      items.push_back({parts[i], i > 0 ? 1 : 0, order});
    }
  }
  if (!unordered) return items;
  for (size_t i = 0; i < items.size();) {
    if (items[i].order == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < items.size() && items[end].order != 0) ++end;
    std::stable_sort(items.begin() + static_cast<std::ptrdiff_t>(i),
                     items.begin() + static_cast<std::ptrdiff_t>(end),
                     [](const Item& a, const Item& b) { return a.order < b.order; });
    i = end;
  }
  return items;
}

void compose_all(std::vector<Item>& items, const icu::Normalizer2& data) {
  size_t size = 0;
  constexpr size_t kNone = SIZE_MAX;
  size_t starter = kNone;
  int last_order = -1;  // of the last character kept since the starter
  for (const Item& item : items) {
    if (starter != kNone && (last_order < item.order || last_order == -1)) {
      UChar32 composed =
          data.composePair(static_cast<UChar32>(items[starter].c), static_cast<UChar32>(item.c));
      if (composed >= 0) {
        items[starter].c = static_cast<char32_t>(composed);
        items[starter].change += item.change - 1;
        continue;
      }
    }
    if (item.order == 0) {
      starter = size;
      last_order = -1;
    } else {
      last_order = item.order;
    }
    items[size++] = item;
  }
  items.resize(size);
}

}  // namespace

bool decompose(char32_t c, std::u32string& out) {
  return !stands_for_itself(c) && decompose_with(instance(false), c, out);
}

uint8_t combining_class(char32_t c) {
  if (c < 0x300 || stands_for_itself(c)) return 0;
  uint8_t order = u_getCombiningClass(static_cast<UChar32>(c));
  return order != 0 && known(c) ? order : 0;
}

void normalize_unicode(AlignedText& text, NormalForm form) {
  bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  bool plain = true;
  for (char c : text.bytes) plain &= static_cast<unsigned char>(c) < 0x80;
  if (plain) return;
  const icu::Normalizer2& data = instance(compatible);
  std::vector<Item> items = decompose_all(text.bytes, data);
  if (form == NormalForm::kNfc || form == NormalForm::kNfkc) compose_all(items, data);

  const std::string& old = text.bytes;
  Rewriter out(text);
  auto next = [&] { return out.cursor() < old.size() ? char_size(old[out.cursor()]) : 0; };
  for (const Item& item : items) {
    if (item.change > 0) {
      out.insert(item.c);
      continue;
    }
    out.replace(item.c, next());
    for (int n = item.change; n < 0; ++n) out.drop(next());
  }
  text = out.finish();
}

size_t grapheme_end(std::string_view text, size_t begin) {
  size_t at = begin;
  auto property = [](char32_t c) {
    return u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_GRAPHEME_CLUSTER_BREAK);
  };
  auto pictographic = [](char32_t c) {
    return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_EXTENDED_PICTOGRAPHIC);
  };
  char32_t c = next_char(text, at);
  if (at < text.size() && c < 0x80 && static_cast<unsigned char>(text[at]) < 0x80) {
    return c == '\r' && text[at] == '\n' ? at + 1 : at;
  }
  int before = property(c);
  bool emoji = pictographic(c), joined = false;
  int flags = before == U_GCB_REGIONAL_INDICATOR ? 1 : 0;
  while (at < text.size()) {
    size_t next = at;
    c = next_char(text, next);
    int after = property(c);
    auto control = [](int p) { return p == U_GCB_CONTROL || p == U_GCB_CR || p == U_GCB_LF; };
    if (before == U_GCB_CR && after == U_GCB_LF) return next;
    if (control(before) || control(after)) return at;
    bool keep = after == U_GCB_EXTEND || after == U_GCB_ZWJ || after == U_GCB_SPACING_MARK ||
                before == U_GCB_PREPEND;
    keep |= before == U_GCB_L &&
            (after == U_GCB_L || after == U_GCB_V || after == U_GCB_LV || after == U_GCB_LVT);
    keep |= (before == U_GCB_LV || before == U_GCB_V) && (after == U_GCB_V || after == U_GCB_T);
    keep |= (before == U_GCB_LVT || before == U_GCB_T) && after == U_GCB_T;
    keep |= joined && pictographic(c);
    keep |=
        before == U_GCB_REGIONAL_INDICATOR && after == U_GCB_REGIONAL_INDICATOR && flags % 2 == 1;
    if (!keep) return at;
    if (after == U_GCB_REGIONAL_INDICATOR) ++flags;
    joined = emoji && after == U_GCB_ZWJ;
    if (after != U_GCB_EXTEND && after != U_GCB_ZWJ) emoji = pictographic(c);
    before = after;
    at = next;
  }
  return at;
}

int script_class(char32_t c) {
  if (c == ' ' || !known(c)) return -1;
  if (c == 0x30FC) return USCRIPT_HAN;
  if (c == 0x589 || c == 0x61C) return USCRIPT_COMMON;  // as in Unicode 9
  if (c == 0x953 || c == 0x954) return USCRIPT_DEVANAGARI;
  UErrorCode status = U_ZERO_ERROR;
  UScriptCode script = uscript_getScript(static_cast<UChar32>(c), &status);
  if (U_FAILURE(status) || script == USCRIPT_UNKNOWN) return -1;
  if (script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA) return USCRIPT_HAN;
  return script;
}

}  // namespace plait::data
