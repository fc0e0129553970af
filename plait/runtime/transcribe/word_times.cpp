#include "plait/runtime/transcribe/word_times.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "plait/core/error.h"

namespace plait::runtime {
namespace {

constexpr int64_t kMedianWidth = 7;
constexpr double kSecondsPerToken = 0.02;
constexpr const char* kPrepended = "\"'“¿([{-";
constexpr const char* kAppended = "\"'.。,，!！?？:：”)]}、";

std::vector<std::pair<int64_t, int64_t>> upper_heads(const models::WhisperDecoder& model) {
  std::vector<std::pair<int64_t, int64_t>> heads;
  for (int64_t layer = model.layers() / 2; layer < model.layers(); ++layer) {
    for (int64_t head = 0; head < model.heads(); ++head) heads.emplace_back(layer, head);
  }
  return heads;
}

/// Median over seven neighbours of the last dimension, reflected at the ends. x [H, T, S].
at::Tensor median_filter(const at::Tensor& x) {
  constexpr int64_t kSide = kMedianWidth / 2;
  if (x.size(-1) <= kSide) return x;
  at::Tensor padded = at::reflection_pad1d(x, {kSide, kSide});
  return std::get<0>(padded.unfold(-1, kMedianWidth, 1).sort()).select(-1, kSide);
}

std::string strip(const std::string& text) {
  const size_t first = text.find_first_not_of(' '), last = text.find_last_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

bool among(const std::string& mark, std::string_view marks) {
  return !mark.empty() && marks.find(mark) != std::string_view::npos;
}

void give(TimedWord& from, TimedWord& to, bool before) {
  to.text = before ? from.text + to.text : to.text + from.text;
  to.tokens.insert(before ? to.tokens.begin() : to.tokens.end(), from.tokens.begin(),
                   from.tokens.end());
  from.text.clear();
  from.tokens.clear();
}

void merge_marks(std::vector<TimedWord>& words) {
  size_t target = words.size() - 1;
  for (size_t i = words.size() - 1; i-- > 0;) {
    if (words[i].text.starts_with(" ") && among(strip(words[i].text), kPrepended)) {
      give(words[i], words[target], /*before=*/true);
    } else {
      target = i;
    }
  }
  target = 0;
  for (size_t i = 1; i < words.size(); ++i) {
    if (!words[target].text.ends_with(" ") && among(words[i].text, kAppended)) {
      give(words[i], words[target], /*before=*/false);
    } else {
      target = i;
    }
  }
}

}  // namespace

std::vector<std::pair<int64_t, int64_t>> warp(const at::Tensor& costs) {
  require(costs.dim() == 2 && costs.numel() > 0, "transcribe", "expected costs [N, M]");
  const int64_t rows = costs.size(0), columns = costs.size(1);
  at::Tensor given = costs.to(at::kCPU, at::kDouble).contiguous();
  const double* cost = given.const_data_ptr<double>();
  const auto width = static_cast<size_t>(columns + 1);
  std::vector<float> sum(static_cast<size_t>(rows + 1) * width,
                         std::numeric_limits<float>::infinity());
  std::vector<uint8_t> from(sum.size(), 0);
  sum[0] = 0;
  for (size_t i = 1; i <= static_cast<size_t>(rows); ++i) {
    for (size_t j = 1; j <= static_cast<size_t>(columns); ++j) {
      const float both = sum[(i - 1) * width + j - 1], row = sum[(i - 1) * width + j],
                  column = sum[i * width + j - 1];
      const bool take_both = both < row && both < column;
      const bool take_row = !take_both && row < both && row < column;
      from[i * width + j] = take_both ? 0 : take_row ? 1 : 2;
      const float least = take_both ? both : take_row ? row : column;
      sum[i * width + j] =
          static_cast<float>(cost[(i - 1) * static_cast<size_t>(columns) + j - 1] + least);
    }
  }
  std::vector<std::pair<int64_t, int64_t>> path;
  for (int64_t i = rows, j = columns; i > 0 || j > 0;) {
    path.emplace_back(i - 1, j - 1);
    const int way = i == 0   ? 2
                    : j == 0 ? 1
                             : from[static_cast<size_t>(i) * width + static_cast<size_t>(j)];
    if (way != 2) --i;
    if (way != 1) --j;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

std::vector<TimedWord> align_words(const models::WhisperDecoder& model, const WhisperTokens& tokens,
                                   const models::CrossKeys& sound, const std::vector<int64_t>& ids,
                                   const std::string& language, int64_t frames) {
  if (ids.empty() || frames < 2) return {};
  std::vector<int64_t> all = tokens.prompt(language, "transcribe");
  const auto before = static_cast<int64_t>(all.size());
  all.push_back(tokens.no_timestamps);
  all.insert(all.end(), ids.begin(), ids.end());
  all.push_back(tokens.end);
  const auto count = static_cast<int64_t>(ids.size());
  if (static_cast<int64_t>(all.size()) > model.max_length()) return {};

  const auto heads = tokens.alignment_heads.empty() ? upper_heads(model) : tokens.alignment_heads;
  auto [scores, hidden] =
      model.alignment(at::tensor(all, at::kLong).to(model.device()), sound, heads);
  at::Tensor logits = model.word_logits(hidden.narrow(0, before, count)).to(at::kFloat);
  at::Tensor share = at::softmax(logits.narrow(1, 0, tokens.end), 1);
  at::Tensor spoken =
      share.gather(1, at::tensor(ids, at::kLong).to(share.device()).unsqueeze(1)).squeeze(1).cpu();

  at::Tensor weights = scores.to(at::kFloat).slice(2, 0, frames / 2).softmax(-1);
  auto [deviation, mean] = at::std_mean(weights, {1}, /*unbiased=*/false, /*keepdim=*/true);
  weights = median_filter((weights - mean) / deviation).mean(0);
  auto path = warp(-weights.slice(0, before, weights.size(0) - 1));

  // When each token begins: the first column of its row.
  std::vector<double> begins(static_cast<size_t>(count + 1), 0);
  for (size_t i = path.size(); i-- > 0;)
    begins[static_cast<size_t>(path[i].first)] =
        static_cast<double>(path[i].second) * kSecondsPerToken;

  std::vector<TimedWord> words;
  size_t at = 0;
  for (TokenizedWord& word : tokens.split_words(ids, language)) {
    const size_t next = at + word.tokens.size();
    const double probability =
        spoken.slice(0, static_cast<int64_t>(at), static_cast<int64_t>(next)).mean().item<double>();
    words.push_back({word.text, begins[at], begins[next], probability, std::move(word.tokens)});
    at = next;
  }
  return words;
}

void tidy_words(std::vector<TimedWord>& words, double& median, double& longest) {
  std::vector<double> durations;
  for (const TimedWord& word : words) {
    if (word.end != word.start) durations.push_back(word.end - word.start);
  }
  std::sort(durations.begin(), durations.end());
  const size_t n = durations.size();
  median = n == 0 ? 0 : n % 2 ? durations[n / 2] : (durations[n / 2 - 1] + durations[n / 2]) / 2;
  median = std::min(0.7, median);
  longest = 2 * median;
  constexpr const char* kSentenceEnds = ".。!！?？";
  for (size_t i = 1; n > 0 && i < words.size(); ++i) {
    if (words[i].end - words[i].start <= longest) continue;
    if (among(words[i].text, kSentenceEnds)) {
      words[i].end = words[i].start + longest;
    } else if (among(words[i - 1].text, kSentenceEnds)) {
      words[i].start = words[i].end - longest;
    }
  }
  if (!words.empty()) merge_marks(words);
}

}  // namespace plait::runtime
