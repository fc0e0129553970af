#include "plait/train/text_metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <random>
#include <set>

#include "plait/core/error.h"

namespace plait::train {
namespace {

constexpr size_t kLongest = 4;
constexpr double kSigma = 6.0;  ///< Of the penalty on differences in length
constexpr const char* kUnit = "cider";

using Counts = std::map<std::vector<std::string>, double>;

Counts count_runs(const std::vector<std::string>& words) {
  Counts counts;
  for (size_t n = 1; n <= kLongest; ++n) {
    for (size_t i = 0; i + n <= words.size(); ++i) {
      const auto begin = words.begin() + static_cast<long>(i);
      ++counts[{begin, begin + static_cast<long>(n)}];
    }
  }
  return counts;
}

/// Counts weighed by rareness, with the norm of each length of run.
struct Weighed {
  Counts runs;
  std::array<double, kLongest> norm{};
  double length = 0;  ///< In pairs of words, as the reference implementation has it
};

Weighed weigh(const Counts& counts, const std::map<std::vector<std::string>, double>& items_with,
              double log_items) {
  Weighed out;
  for (const auto& [run, count] : counts) {
    auto found = items_with.find(run);
    const double with = found == items_with.end() ? 1.0 : std::max(1.0, found->second);
    const double weight = count * (log_items - std::log(with));
    out.runs[run] = weight;
    out.norm[run.size() - 1] += weight * weight;
    if (run.size() == 2) out.length += count;
  }
  for (double& norm : out.norm) norm = std::sqrt(norm);
  return out;
}

double likeness(const Weighed& candidate, const Weighed& reference) {
  std::array<double, kLongest> sums{};
  for (const auto& [run, weight] : candidate.runs) {
    auto found = reference.runs.find(run);
    if (found != reference.runs.end())
      sums[run.size() - 1] += std::min(weight, found->second) * found->second;
  }
  const double longer = candidate.length - reference.length;
  double total = 0;
  for (size_t n = 0; n < kLongest; ++n) {
    const double norms = candidate.norm[n] * reference.norm[n];
    if (norms != 0) sums[n] /= norms;
    total += sums[n] * std::exp(-longer * longer / (2 * kSigma * kSigma));
  }
  return total / kLongest;
}

/// Bytes of the character that starts with this one.
size_t width_of(unsigned char first) {
  return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

bool is_punctuation(const std::string& character) {
  static const std::set<std::string> wide = {"，", "。", "！", "？", "、", "；", "：",
                                             "“",  "”",  "（", "）", "《", "》"};
  return character.size() == 1 ? std::ispunct(static_cast<unsigned char>(character[0])) != 0
                               : wide.count(character) > 0;
}

}  // namespace

std::vector<std::string> caption_words(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  auto finish = [&] {
    while (!word.empty() && is_punctuation(word.substr(word.size() - 1))) word.pop_back();
    size_t begin = 0;
    while (begin < word.size() && is_punctuation(word.substr(begin, 1))) ++begin;
    if (begin < word.size()) words.push_back(word.substr(begin));
    word.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const std::string character = text.substr(i, width_of(static_cast<unsigned char>(text[i])));
    i += character.size();
    if (character.size() >= 3) {
      finish();
      if (!is_punctuation(character)) words.push_back(character);
    } else if (character.size() == 1 && std::isspace(static_cast<unsigned char>(character[0]))) {
      finish();
    } else if (character.size() == 1 && character[0] >= 'A' && character[0] <= 'Z') {
      word += static_cast<char>(character[0] + 32);
    } else {
      word += character;
    }
  }
  finish();
  return words;
}

std::vector<double> cider(const std::vector<std::vector<std::string>>& candidates,
                          const std::vector<std::vector<std::vector<std::string>>>& references) {
  require(!candidates.empty() && candidates.size() == references.size(), kUnit,
          "expected references for every candidate");
  std::vector<std::vector<Counts>> counted;
  std::map<std::vector<std::string>, double> items_with;
  for (const auto& item : references) {
    require(!item.empty(), kUnit, "expected at least one reference of every item");
    std::set<std::vector<std::string>> seen;
    counted.emplace_back();
    for (const auto& words : item) {
      counted.back().push_back(count_runs(words));
      for (const auto& [run, count] : counted.back().back()) seen.insert(run);
    }
    for (const auto& run : seen) ++items_with[run];
  }
  const double log_items = std::log(static_cast<double>(references.size()));
  std::vector<double> scores;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Weighed candidate = weigh(count_runs(candidates[i]), items_with, log_items);
    double sum = 0;
    for (const Counts& reference : counted[i])
      sum += likeness(candidate, weigh(reference, items_with, log_items));
    scores.push_back(10 * sum / static_cast<double>(counted[i].size()));
  }
  return scores;
}

PairedDifference paired_bootstrap(const std::vector<double>& first,
                                  const std::vector<double>& second, uint64_t seed, int64_t draws) {
  require(!first.empty() && first.size() == second.size() && draws > 0, "bootstrap",
          "expected two lists of the same items");
  std::vector<double> gaps(first.size()), means;
  for (size_t i = 0; i < first.size(); ++i) gaps[i] = first[i] - second[i];
  const auto n = static_cast<double>(gaps.size());
  PairedDifference out;
  for (double gap : gaps) out.difference += gap / n;
  std::mt19937_64 random(seed);
  int64_t not_better = 0;
  for (int64_t d = 0; d < draws; ++d) {
    double sum = 0;
    for (size_t i = 0; i < gaps.size(); ++i) sum += gaps[random() % gaps.size()];
    means.push_back(sum / n);
    if (sum <= 0) ++not_better;
  }
  std::sort(means.begin(), means.end());
  const auto at = [&](double share) {
    return means[static_cast<size_t>(share * static_cast<double>(means.size() - 1))];
  };
  out.low = at(0.025);
  out.high = at(0.975);
  out.p = static_cast<double>(not_better + 1) / static_cast<double>(draws + 1);
  return out;
}

}  // namespace plait::train
