#include "plait/train/metrics.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::train {
namespace {

using Metrics = std::map<std::string, double>;

/// The items that count, in double on the CPU.
struct Labelled {
  std::vector<double> scores;  ///< [n, k]
  std::vector<int64_t> target, predicted;
  int64_t n = 0, k = 0;
  double score(int64_t i, int64_t c) const { return scores[static_cast<size_t>(i * k + c)]; }
  double confidence(int64_t i) const { return score(i, predicted[i]); }
  bool right(int64_t i) const { return predicted[i] == target[i]; }
};

std::vector<double> doubles(const at::Tensor& t) {
  at::Tensor plain = t.detach().to(at::kCPU, at::kDouble).contiguous();
  const auto* p = plain.data_ptr<double>();
  return {p, p + plain.numel()};
}

std::vector<int64_t> integers(const at::Tensor& t) {
  at::Tensor plain = t.detach().to(at::kCPU, at::kLong).contiguous();
  const auto* p = plain.data_ptr<int64_t>();
  return {p, p + plain.numel()};
}

[[noreturn]] void mismatch(const std::string& expected, const at::Tensor& a, const at::Tensor& b) {
  fail(ErrorCode::kInvalidArgument, "metrics",
       "expected " + expected + ", got " + describe(a) + " and " + describe(b));
}

void require_finite(const std::vector<double>& values) {
  bool finite =
      std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
  require(finite, "metrics", "expected finite values");
}

Labelled labelled(const at::Tensor& scores, const at::Tensor& target) {
  if (scores.dim() != 2 || target.dim() != 1 || scores.size(0) != target.size(0) ||
      scores.size(1) < 1) {
    mismatch("scores [N, K] and targets [N]", scores, target);
  }
  std::vector<double> all = doubles(scores);
  std::vector<int64_t> labels = integers(target);
  Labelled out;
  out.k = scores.size(1);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) continue;
    require(labels[i] < out.k, "metrics", "expected targets below the number of classes");
    auto row = all.begin() + static_cast<std::ptrdiff_t>(i) * out.k;
    out.scores.insert(out.scores.end(), row, row + out.k);
    out.target.push_back(labels[i]);
    out.predicted.push_back(std::max_element(row, row + out.k) - row);
  }
  out.n = static_cast<int64_t>(out.target.size());
  require(out.n > 0, "metrics", "expected at least one item with a target");
  require_finite(out.scores);
  return out;
}

/// The most confident first.
std::vector<int64_t> by_confidence(const Labelled& l) {
  std::vector<int64_t> order(l.n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return l.confidence(a) > l.confidence(b); });
  return order;
}

/// Errors of the items in that order; items of equal confidence share their mean, so the order
/// among them is no matter.
std::vector<double> shared_errors(const Labelled& l) {
  std::vector<int64_t> order = by_confidence(l);
  std::vector<double> errors(l.n);
  for (int64_t begin = 0; begin < l.n;) {
    int64_t end = begin;
    double wrong = 0;
    for (; end < l.n && l.confidence(order[end]) == l.confidence(order[begin]); ++end)
      wrong += !l.right(order[end]);
    std::fill(errors.begin() + begin, errors.begin() + end,
              wrong / static_cast<double>(end - begin));
    begin = end;
  }
  return errors;
}

/// 1-based ranks, ascending, ties at their mean.
std::vector<double> mean_ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + end + 1) / 2;
    begin = end;
  }
  return ranks;
}

/// 1-based rank of each query's right item.
std::vector<int64_t> right_ranks(const at::Tensor& similarity, const at::Tensor& target) {
  if (similarity.dim() != 2 || target.dim() != 1 || similarity.size(0) != target.size(0) ||
      target.size(0) < 1) {
    mismatch("similarities [Q, G] and targets [Q]", similarity, target);
  }
  std::vector<double> all = doubles(similarity);
  require_finite(all);
  std::vector<int64_t> labels = integers(target), ranks;
  int64_t g = similarity.size(1);
  for (size_t q = 0; q < labels.size(); ++q) {
    require(labels[q] >= 0 && labels[q] < g, "metrics", "expected targets inside the gallery");
    const double* row = all.data() + static_cast<int64_t>(q) * g;
    ranks.push_back(std::count_if(row, row + g, [&](double v) { return v >= row[labels[q]]; }));
  }
  return ranks;
}

struct Pairs {
  std::vector<double> prediction, target;
  double n = 0;
};

Pairs pairs(const at::Tensor& prediction, const at::Tensor& target) {
  if (prediction.sizes() != target.sizes()) mismatch("equal shapes", prediction, target);
  std::vector<double> p = doubles(prediction), t = doubles(target);
  Pairs out;
  for (size_t i = 0; i < t.size(); ++i) {
    if (std::isnan(t[i])) continue;
    out.prediction.push_back(p[i]);
    out.target.push_back(t[i]);
  }
  require(!out.target.empty(), "metrics", "expected at least one entry with a target");
  require_finite(out.prediction);
  require_finite(out.target);
  out.n = static_cast<double>(out.target.size());
  return out;
}

double top_k_of(const Labelled& l, int64_t k) {
  require(k >= 1, "metrics", "expected k of at least 1");
  double hits = 0;
  for (int64_t i = 0; i < l.n; ++i) {
    int64_t ahead = 0;
    double own = l.score(i, l.target[i]);
    for (int64_t c = 0; c < l.k; ++c)
      ahead += l.score(i, c) > own || (l.score(i, c) == own && c < l.target[i]);
    hits += ahead < k;
  }
  return hits / static_cast<double>(l.n);
}

double accuracy_of(const Labelled& l) { return top_k_of(l, 1); }

double macro_f1_of(const Labelled& l) {
  std::vector<double> right(l.k), predicted(l.k), actual(l.k);
  for (int64_t i = 0; i < l.n; ++i) {
    right[l.target[i]] += l.right(i);
    predicted[l.predicted[i]] += 1;
    actual[l.target[i]] += 1;
  }
  double sum = 0, classes = 0;
  for (int64_t c = 0; c < l.k; ++c) {
    if (predicted[c] + actual[c] == 0) continue;
    sum += 2 * right[c] / (predicted[c] + actual[c]);
    classes += 1;
  }
  return sum / classes;
}

double nll_of(const Labelled& l) {
  double sum = 0;
  for (int64_t i = 0; i < l.n; ++i) sum -= std::log(std::max(l.score(i, l.target[i]), 1e-12));
  return sum / static_cast<double>(l.n);
}

double brier_of(const Labelled& l) {
  double sum = 0;
  for (int64_t i = 0; i < l.n; ++i) {
    for (int64_t c = 0; c < l.k; ++c) {
      double d = l.score(i, c) - (c == l.target[i]);
      sum += d * d;
    }
  }
  return sum / static_cast<double>(l.n);
}

std::vector<ReliabilityBin> bins_of(const Labelled& l, int64_t count) {
  require(count >= 1 && count <= 10000, "metrics", "expected 1 to 10000 bins");
  std::vector<ReliabilityBin> bins(count);
  auto width = static_cast<double>(count);
  for (int64_t b = 0; b < count; ++b) {
    bins[b].lower = static_cast<double>(b) / width;
    bins[b].upper = static_cast<double>(b + 1) / width;
  }
  for (int64_t i = 0; i < l.n; ++i) {
    double confidence = l.confidence(i);
    auto b =
        std::clamp<int64_t>(static_cast<int64_t>(std::ceil(confidence * width)) - 1, 0, count - 1);
    bins[b].count += 1;
    bins[b].confidence += confidence;
    bins[b].accuracy += l.right(i);
  }
  for (ReliabilityBin& bin : bins) {
    if (bin.count == 0) continue;
    bin.confidence /= static_cast<double>(bin.count);
    bin.accuracy /= static_cast<double>(bin.count);
  }
  return bins;
}

double ece_of(const Labelled& l, int64_t count) {
  double sum = 0;
  for (const ReliabilityBin& bin : bins_of(l, count)) {
    sum += static_cast<double>(bin.count) * std::abs(bin.confidence - bin.accuracy);
  }
  return sum / static_cast<double>(l.n);
}

double aurc_of(const Labelled& l) {
  double wrong = 0, sum = 0, n = 0;
  for (double error : shared_errors(l)) {
    wrong += error;
    sum += wrong / ++n;
  }
  return sum / n;
}

}  // namespace

double accuracy(const at::Tensor& scores, const at::Tensor& target) {
  return accuracy_of(labelled(scores, target));
}

double top_k_accuracy(const at::Tensor& scores, const at::Tensor& target, int64_t k) {
  return top_k_of(labelled(scores, target), k);
}

double macro_f1(const at::Tensor& scores, const at::Tensor& target) {
  return macro_f1_of(labelled(scores, target));
}

at::Tensor confusion_matrix(const at::Tensor& scores, const at::Tensor& target) {
  Labelled l = labelled(scores, target);
  at::Tensor out = at::zeros({l.k, l.k}, at::kLong);
  auto* cells = out.data_ptr<int64_t>();
  for (int64_t i = 0; i < l.n; ++i) ++cells[l.target[i] * l.k + l.predicted[i]];
  return out;
}

double negative_log_likelihood(const at::Tensor& probabilities, const at::Tensor& target) {
  return nll_of(labelled(probabilities, target));
}

double brier_score(const at::Tensor& probabilities, const at::Tensor& target) {
  return brier_of(labelled(probabilities, target));
}

std::vector<ReliabilityBin> reliability_bins(const at::Tensor& probabilities,
                                             const at::Tensor& target, int64_t bins) {
  return bins_of(labelled(probabilities, target), bins);
}

Json to_json(const std::vector<ReliabilityBin>& bins) {
  Json out = Json::array();
  for (const ReliabilityBin& bin : bins) {
    out.push_back(Json::object({{"lower", bin.lower},
                                {"upper", bin.upper},
                                {"count", bin.count},
                                {"confidence", bin.confidence},
                                {"accuracy", bin.accuracy}}));
  }
  return out;
}

double expected_calibration_error(const at::Tensor& probabilities, const at::Tensor& target,
                                  int64_t bins) {
  return ece_of(labelled(probabilities, target), bins);
}

double calibration_error_by_chance(const at::Tensor& probabilities, uint64_t seed, int64_t draws,
                                   int64_t bins) {
  require(draws > 0 && probabilities.dim() == 2 && probabilities.size(0) > 0, "metrics",
          "expected probabilities [N, K] and at least one draw");
  auto generator = at::detail::createCPUGenerator(seed);
  at::Tensor p = probabilities.to(at::kCPU, at::kDouble).clamp_min(0);
  double total = 0;
  for (int64_t d = 0; d < draws; ++d) {
    at::Tensor target = at::multinomial(p, 1, /*replacement=*/true, generator).squeeze(1);
    total += expected_calibration_error(probabilities, target, bins);
  }
  return total / static_cast<double>(draws);
}

double aurc(const at::Tensor& probabilities, const at::Tensor& target) {
  return aurc_of(labelled(probabilities, target));
}

double selective_risk(const at::Tensor& probabilities, const at::Tensor& target, double coverage) {
  require(coverage > 0 && coverage <= 1, "metrics", "expected a coverage above 0 and up to 1");
  std::vector<double> errors = shared_errors(labelled(probabilities, target));
  auto kept =
      static_cast<std::ptrdiff_t>(std::ceil(coverage * static_cast<double>(errors.size()) - 1e-9));
  return std::accumulate(errors.begin(), errors.begin() + kept, 0.0) / static_cast<double>(kept);
}

Metrics classification_metrics(const at::Tensor& probabilities, const at::Tensor& target) {
  Labelled l = labelled(probabilities, target);
  Metrics out = {{"accuracy", accuracy_of(l)},   {"macro_f1", macro_f1_of(l)}, {"nll", nll_of(l)},
                 {"brier", brier_of(l)},         {"ece", ece_of(l, 15)},       {"aurc", aurc_of(l)},
                 {"n", static_cast<double>(l.n)}};
  if (l.k > 5) out["top_5_accuracy"] = top_k_of(l, 5);
  return out;
}

double auroc(const at::Tensor& score, const at::Tensor& positive) {
  if (score.dim() != 1 || score.sizes() != positive.sizes())
    mismatch("scores [N] and labels [N]", score, positive);
  std::vector<double> values = doubles(score), labels = doubles(positive);
  require_finite(values);
  std::vector<double> ranks = mean_ranks(values);
  double sum = 0, hits = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == 0) continue;
    sum += ranks[i];
    hits += 1;
  }
  double misses = static_cast<double>(labels.size()) - hits;
  require(hits > 0 && misses > 0, "metrics", "expected items of both kinds");
  return (sum - hits * (hits + 1) / 2) / (hits * misses);
}

double spearman(const at::Tensor& a, const at::Tensor& b) {
  if (a.dim() != 1 || a.sizes() != b.sizes() || a.size(0) < 2)
    mismatch("two lists of equal length, at least 2", a, b);
  std::vector<double> x = doubles(a), y = doubles(b);
  require_finite(x);
  require_finite(y);
  x = mean_ranks(x);
  y = mean_ranks(y);
  double mean = (static_cast<double>(x.size()) + 1) / 2, xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}

double recall_at_k(const at::Tensor& similarity, const at::Tensor& target, int64_t k) {
  require(k >= 1, "metrics", "expected k of at least 1");
  std::vector<int64_t> ranks = right_ranks(similarity, target);
  auto hits = std::count_if(ranks.begin(), ranks.end(), [&](int64_t rank) { return rank <= k; });
  return static_cast<double>(hits) / static_cast<double>(ranks.size());
}

double mean_reciprocal_rank(const at::Tensor& similarity, const at::Tensor& target) {
  std::vector<int64_t> ranks = right_ranks(similarity, target);
  double sum = 0;
  for (int64_t rank : ranks) sum += 1 / static_cast<double>(rank);
  return sum / static_cast<double>(ranks.size());
}

Metrics retrieval_metrics(const at::Tensor& similarity, const at::Tensor& target) {
  return {{"recall@1", recall_at_k(similarity, target, 1)},
          {"recall@5", recall_at_k(similarity, target, 5)},
          {"recall@10", recall_at_k(similarity, target, 10)},
          {"mrr", mean_reciprocal_rank(similarity, target)},
          {"n", static_cast<double>(target.numel())}};
}

Metrics multi_label_metrics(const at::Tensor& probabilities, const at::Tensor& target) {
  if (probabilities.dim() != 2 || probabilities.sizes() != target.sizes())
    mismatch("probabilities and targets [N, L]", probabilities, target);
  at::Tensor rows = (target >= 0).all(1).nonzero().squeeze(1);
  require(rows.size(0) > 0, "metrics", "expected an item with known labels");
  at::Tensor p = probabilities.detach().to(at::kCPU, at::kDouble).index_select(0, rows);
  at::Tensor y = target.to(at::kCPU, at::kDouble).index_select(0, rows);
  require_finite(doubles(p));
  at::Tensor given = (p >= 0.5).to(at::kDouble);
  auto mean = [](const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); };
  const auto hits = (given * y).sum().item<double>(), all = (given + y).sum().item<double>();
  return {{"micro_f1", all > 0 ? 2 * hits / all : 1},
          {"exact_match", mean((given == y).all(1))},
          {"accuracy", mean(given == y)},
          {"brier", mean((p - y).square())},
          {"n", static_cast<double>(rows.size(0))}};
}

double mean_squared_error(const at::Tensor& prediction, const at::Tensor& target) {
  Pairs p = pairs(prediction, target);
  double sum = 0;
  for (size_t i = 0; i < p.target.size(); ++i)
    sum += (p.prediction[i] - p.target[i]) * (p.prediction[i] - p.target[i]);
  return sum / p.n;
}

double mean_absolute_error(const at::Tensor& prediction, const at::Tensor& target) {
  Pairs p = pairs(prediction, target);
  double sum = 0;
  for (size_t i = 0; i < p.target.size(); ++i) sum += std::abs(p.prediction[i] - p.target[i]);
  return sum / p.n;
}

double r2_score(const at::Tensor& prediction, const at::Tensor& target) {
  Pairs p = pairs(prediction, target);
  double mean = std::accumulate(p.target.begin(), p.target.end(), 0.0) / p.n, residual = 0,
         total = 0;
  for (size_t i = 0; i < p.target.size(); ++i) {
    residual += (p.prediction[i] - p.target[i]) * (p.prediction[i] - p.target[i]);
    total += (p.target[i] - mean) * (p.target[i] - mean);
  }
  if (total == 0) return residual == 0 ? 1 : 0;
  return 1 - residual / total;
}

Metrics regression_metrics(const at::Tensor& prediction, const at::Tensor& target) {
  double mse = mean_squared_error(prediction, target);
  return {{"mse", mse},
          {"rmse", std::sqrt(mse)},
          {"mae", mean_absolute_error(prediction, target)},
          {"r2", r2_score(prediction, target)},
          {"n", pairs(prediction, target).n}};
}

}  // namespace plait::train
