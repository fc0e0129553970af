#include "plait/models/quality/text_model.h"

#include <array>
#include <cctype>
#include <cstring>

#include "plait/core/error.h"

namespace plait::models {
namespace {

const char kEncoded[] =
#include "plait/models/quality/text_model.inc"
    ;

constexpr std::array<std::string_view, 16> kSuffixes = {
    "ing",  "ed", "ly", "tion", "ness", "ment", "ous", "ive",
    "able", "al", "er", "est",  "ies",  "s",    "y",   "ic"};

std::vector<uint8_t> decode_base64(std::string_view text) {
  static const std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::array<int, 256> value{};
  for (size_t i = 0; i < kAlphabet.size(); ++i)
    value[static_cast<uint8_t>(kAlphabet[i])] = static_cast<int>(i);
  std::vector<uint8_t> out;
  out.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(value[static_cast<uint8_t>(c)]);
    count += 6;
    if (count >= 8) out.push_back(static_cast<uint8_t>(bits >> (count -= 8)));
  }
  return out;
}

uint64_t hash(std::string_view data, uint64_t seed) {
  uint64_t h = 0xcbf29ce484222325ULL ^ (seed * 0x9e3779b97f4a7c15ULL);
  for (char c : data) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
  return h ^ (h >> 29);
}

}  // namespace

const TextModel& TextModel::get() {
  static const TextModel model;
  return model;
}

TextModel::TextModel() {
  std::vector<uint8_t> bytes = decode_base64(kEncoded);
  std::array<uint32_t, 10> header{};
  std::memcpy(header.data(), bytes.data(), sizeof(header));
  classes_ = header[0];
  first_special_ = header[2];
  hashes_ = header[5];
  const uint8_t* at = bytes.data() + sizeof(header);
  auto take = [&](size_t n) {
    std::vector<uint8_t> part(at, at + n);
    at += n;
    return part;
  };
  std::vector<uint8_t> vocabulary = take(header[6]);
  size_t letters = 27 * 27 * 27, pairs = size_t{classes_} * classes_;
  near_ = take(pairs);
  skip_ = take(pairs);
  letters_ = take(letters);
  words_ = take(header[3] / 8);
  pairs_ = take(header[4] / 8);
  if (at != bytes.data() + bytes.size())
    fail(ErrorCode::kInternal, "text quality", "the built-in table is broken");
  std::string_view text(reinterpret_cast<const char*>(vocabulary.data()), vocabulary.size());
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    size_t tab = line.find('\t');
    vocabulary_.emplace(std::string(line.substr(0, tab)),
                        std::stoi(std::string(line.substr(tab + 1))));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
}

int TextModel::word_class(std::string_view word) const {
  auto it = vocabulary_.find(std::string(word));
  if (it != vocabulary_.end()) return it->second;
  int first = static_cast<int>(first_special_), n = static_cast<int>(kSuffixes.size());
  if (std::isdigit(static_cast<unsigned char>(word[0]))) return first + n;
  if (std::isupper(static_cast<unsigned char>(word[0]))) return first + n + 1;
  for (int i = 0; i < n; ++i) {
    if (word.size() > kSuffixes[i].size() + 2 && word.ends_with(kSuffixes[i])) return first + i;
  }
  return first + n + 2;
}

bool TextModel::contains(const std::vector<uint8_t>& bloom, std::string_view item) const {
  uint64_t a = hash(item, 1), b = hash(item, 2) | 1;
  for (uint64_t i = 0; i < hashes_; ++i) {
    uint64_t bit = (a + i * b) % (bloom.size() * 8);
    if (!(bloom[bit >> 3] >> (bit & 7) & 1)) return false;
  }
  return true;
}

bool TextModel::known(std::string_view word) const { return contains(words_, word); }
bool TextModel::known_pair(std::string_view pair) const { return contains(pairs_, pair); }

double TextModel::spelling(std::string_view word) const {
  int a = 0, b = 0, n = 0;
  double sum = 0;
  for (size_t i = 0; i <= word.size(); ++i) {
    int c = i == word.size() ? 0 : word[i] - 'a' + 1;
    if (c < 0 || c > 26) continue;
    sum += letters_[(a * 27 + b) * 27 + c] / 16.0;
    a = b;
    b = c;
    ++n;
  }
  return sum / n;
}

}  // namespace plait::models
