#include "plait/models/quality/text_model.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstring>
#include <numeric>

#include "plait/core/base64.h"
#include "plait/core/error.h"

namespace plait::models {
namespace {

const char kEncoded[] =
#include "plait/models/quality/text_model.inc"
    ;

constexpr std::array<std::string_view, 16> kSuffixes = {
    "ing",  "ed", "ly", "tion", "ness", "ment", "ous", "ive",
    "able", "al", "er", "est",  "ies",  "s",    "y",   "ic"};

/// Takes the table apart, which is in the byte order of every supported machine (little endian).
class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}

  template <class T>
  std::vector<T> values(size_t n) {
    if (n * sizeof(T) > bytes_.size() - at_)
      fail(ErrorCode::kInternal, "text quality", "the built-in table is too short");
    std::vector<T> out(n);
    std::memcpy(out.data(), bytes_.data() + at_, n * sizeof(T));
    at_ += n * sizeof(T);
    return out;
  }

  /// Whole numbers after their scale.
  template <class T>
  std::vector<float> scaled(size_t n) {
    float scale = values<float>(1)[0];
    std::vector<T> whole = values<T>(n);
    std::vector<float> out(n);
    std::transform(whole.begin(), whole.end(), out.begin(),
                   [scale](T v) { return scale * static_cast<float>(v); });
    return out;
  }

  bool at_end() const { return at_ == bytes_.size(); }

 private:
  const std::string& bytes_;
  size_t at_ = 0;
};

/// out = max(0, weight x + bias), weight [out, n].
void linear(const std::vector<float>& weight, const std::vector<float>& bias, const float* x,
            size_t n, std::vector<float>* out) {
  for (size_t o = 0; o < out->size(); ++o) {
    const float* w = weight.data() + o * n;
    // Eight sums at once, so that the compiler may use vectors; n is a multiple of eight.
    std::array<float, 8> sums{};
    for (size_t i = 0; i < n; i += 8)
      for (size_t k = 0; k < 8; ++k) sums[k] += w[i + k] * x[i + k];
    (*out)[o] = std::max(0.f, std::accumulate(sums.begin(), sums.end(), bias[o]));
  }
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
  const std::string bytes = decode_base64(kEncoded).value();
  Reader in(bytes);
  auto header = in.values<uint32_t>(10);
  uint32_t symbols = header[0] + header[1] + 5;  // + number, capitalised, other, begin, end
  dimensions_ = header[2], side_ = header[3], hidden_ = header[4], pooled_ = header[5];
  hashes_ = header[8];
  std::vector<char> vocabulary = in.values<char>(header[9]);
  embedding_ = in.scaled<int8_t>(size_t{symbols} * dimensions_);
  hidden_weight_ = in.scaled<int16_t>(size_t{hidden_} * 2 * side_ * dimensions_);
  hidden_bias_ = in.scaled<int16_t>(hidden_);
  pooled_weight_ = in.scaled<int16_t>(size_t{pooled_} * hidden_);
  pooled_bias_ = in.scaled<int16_t>(pooled_);
  share_weight_ = in.scaled<int16_t>(pooled_);
  share_bias_ = in.scaled<int16_t>(1);
  letters_ = in.values<uint8_t>(27 * 27 * 27);
  words_ = in.values<uint8_t>(header[6] / 8);
  pairs_ = in.values<uint8_t>(header[7] / 8);
  if (!in.at_end()) fail(ErrorCode::kInternal, "text quality", "the built-in table is broken");
  std::string_view text(vocabulary.data(), vocabulary.size());
  for (uint32_t i = 0; i < header[0]; ++i) {
    std::string_view word = text.substr(0, text.find('\n'));
    vocabulary_.emplace(word, i);
    text.remove_prefix(std::min(text.size(), word.size() + 1));
  }
}

size_t TextModel::symbol(std::string_view word) const {
  auto it = vocabulary_.find(std::string(word));
  if (it != vocabulary_.end()) return it->second;
  size_t first = vocabulary_.size(), n = kSuffixes.size();
  if (std::isdigit(static_cast<unsigned char>(word[0]))) return first + n;
  if (std::isupper(static_cast<unsigned char>(word[0]))) return first + n + 1;
  for (size_t i = 0; i < n; ++i) {
    if (word.size() > kSuffixes[i].size() + 2 && word.ends_with(kSuffixes[i])) return first + i;
  }
  return first + n + 2;
}

double TextModel::disorder(const std::vector<std::string>& words) const {
  size_t begin = vocabulary_.size() + kSuffixes.size() + 3, gaps = words.size() + 1;
  // What stands around gap g are the symbols g to g + 2 side: one run of the padded text.
  std::vector<float> around((words.size() + 2 * side_) * dimensions_);
  for (size_t i = 0; i < words.size() + 2 * side_; ++i) {
    size_t s = i < side_ ? begin : i >= side_ + words.size() ? begin + 1 : symbol(words[i - side_]);
    std::copy_n(embedding_.begin() + static_cast<int64_t>(s * dimensions_), dimensions_,
                around.begin() + static_cast<int64_t>(i * dimensions_));
  }
  size_t width = size_t{2} * side_ * dimensions_;
  std::vector<float> mean(hidden_), window(hidden_);
  for (size_t g = 0; g < gaps; ++g) {
    linear(hidden_weight_, hidden_bias_, around.data() + g * dimensions_, width, &window);
    for (size_t h = 0; h < hidden_; ++h) mean[h] += window[h] / static_cast<float>(gaps);
  }
  std::vector<float> pooled(pooled_);
  linear(pooled_weight_, pooled_bias_, mean.data(), hidden_, &pooled);
  double logit = std::inner_product(pooled.begin(), pooled.end(), share_weight_.begin(),
                                    static_cast<double>(share_bias_[0]));
  return 1 / (1 + std::exp(-logit));
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
