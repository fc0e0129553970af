// fusion_task_kinds OUTPUT.json [--seeds N]: the trust fusion of values, labels and a search on UCI
// mfeat's six views of handwritten digits (real data; damage is synthetic). Values: the view "mor"
// (six morphological features) without those that are nearly discrete, from the five others.
// Labels: of the digit, whether it is even, above four, and has a hole. Search: four views look for
// the item's "pix" among all test items, each by a ridge regression to 24 principal components of
// it. Damage: one view of every item, drawn at random, becomes noise of 5 deviations or another
// item's. 500 items to fit with, 400 for the test.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/data/datasets/datasets.h"
#include "plait/models/trust/answers.h"
#include "plait/models/trust/evidence.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/trust_retrieval.h"
#include "plait/train/trust/trust_values.h"

namespace plait::bench {
namespace {

using models::Decider;
using models::Evidence;
using models::TrustModel;
using train::TrustData;

constexpr int64_t kTrain = 500, kTest = 400, kSpace = 24;
constexpr double kCoverage = 0.9;

struct Views {
  std::vector<std::string> names;
  std::vector<at::Tensor> x;  ///< Standardised
  at::Tensor mor, digit;
};

at::Tensor rows_of(const std::vector<Sample>& samples, const std::string& stream) {
  std::vector<at::Tensor> rows;
  for (const Sample& s : samples)
    rows.push_back(std::get<at::Tensor>(s.streams.at(stream)).to(at::kFloat).flatten());
  return at::stack(rows);
}

Views read() {
  const data::DatasetSplits splits =
      data::load_dataset("handwritten", {.seed = 0, .validation = 0.0, .test = 0.0});
  Views out;
  for (const auto& [name, modality] : splits.info.streams) {
    at::Tensor x = rows_of(splits.train, name);
    x = (x - x.mean(0)) / x.std(0).clamp_min(1e-6);
    if (name == "mor") {
      out.mor = x;
    } else {
      out.names.push_back(name);
      out.x.push_back(x);
    }
  }
  std::vector<int64_t> digits;
  for (const Sample& s : splits.train)
    digits.push_back(std::atoll(s.labels.at(splits.info.label).as_string().c_str()));
  out.digit = at::tensor(digits, at::kLong);
  return out;
}

TrustData pick(const Views& views, const std::vector<size_t>& which, const at::Tensor& rows) {
  TrustData out;
  for (size_t m : which) out.features.push_back({views.x[m].index_select(0, rows)});
  out.present = at::ones({rows.size(0), static_cast<int64_t>(which.size())}, at::kBool);
  return out;
}

/// One view of every item hit: 0 none, 1 noise, 2 another item's.
std::vector<at::Tensor> damaged(const TrustData& data, int kind, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  const auto streams = static_cast<int64_t>(data.features.size());
  at::Tensor hit = at::randint(streams, {data.size()}, generator, at::kLong);
  std::vector<at::Tensor> out = data.clean();
  for (int64_t m = 0; kind > 0 && m < streams; ++m) {
    at::Tensor& x = out[static_cast<size_t>(m)];
    at::Tensor broken =
        kind == 1 ? x + 5 * at::randn(x.sizes(), generator) : x.roll(data.size() / 2, 0);
    x = at::where((hit == m).unsqueeze(1), broken, x);
  }
  return out;
}

using Score = std::function<double(const at::Tensor& log_probabilities)>;

/// By decider, what `score` says of the answers.
void add(Json& out, const std::string& condition, const TrustModel& model, const Evidence& e,
         const std::string& metric, const Score& score) {
  std::string line = condition + " " + metric;
  for (Decider decider : {Decider::kTrust, Decider::kRobustProduct, Decider::kProduct,
                          Decider::kMean, Decider::kBestSingle}) {
    at::Tensor logs = decider == Decider::kTrust ? model.decide(e).log_probabilities
                                                 : model.decide_as(decider, e, {});
    const double value = score(logs);
    out[condition][metric][to_string(decider)].push_back(value);
    char text[64];
    std::snprintf(text, sizeof text, "  %s %.4f", to_string(decider).c_str(), value);
    line += text;
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

const char* const kConditions[] = {"clean", "noise", "another"};

double mean_of(const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); }

void values(const Views& views, const at::Tensor& train_rows, const at::Tensor& test_rows,
            uint64_t seed, Json& out) {
  std::vector<int64_t> smooth;
  for (int64_t r = 0; r < views.mor.size(1); ++r) {
    if (std::get<0>(at::_unique(views.mor.select(1, r))).size(0) > 100) smooth.push_back(r);
  }
  at::Tensor y = views.mor.index_select(1, at::tensor(smooth, at::kLong)).to(at::kDouble);
  TrustData data = pick(views, {0, 1, 2, 3, 4}, train_rows);
  TrustData test = pick(views, {0, 1, 2, 3, 4}, test_rows);
  train::TrustOptions options;
  options.min_bank = 3000;
  options.seed = seed;
  at::Tensor known = y.index_select(0, train_rows), truth = y.index_select(0, test_rows);
  train::TrustFit fit = train::fit_trust_values(data, known, views.names, options);
  TrustModel model(fit.trust);
  train::TrustItems items = train::every_subset(train::out_of_fold_items(fit, seed), seed);
  train::calibrate_trust(model, items);
  train::fit_intervals(model, items, known.index_select(0, items.item));
  const auto& grid = *model.fusion().grid();
  at::Tensor bins = grid.bins_of(truth);
  for (int kind = 0; kind < 3; ++kind) {
    Evidence e = model.fusion().gather(damaged(test, kind, mix_seed(seed, 5)),
                                       at::ones(test.present.sizes()), test.present);
    add(out, kConditions[kind], model, e, "rmse", [&](const at::Tensor& logs) {
      return std::sqrt(mean_of(((grid.mean(logs) - truth) / grid.scale()).square()));
    });
    add(out, kConditions[kind], model, e, "crps",
        [&](const at::Tensor& logs) { return mean_of(loss_of(model.fusion(), logs, bins)); });
    const auto verdict = model.decide(e);
    auto [low, high] = model.prediction_intervals(verdict, kCoverage);
    const double covered = mean_of(at::logical_and(truth >= low, truth <= high));
    const double width = mean_of((high - low) / grid.scale());
    out[kConditions[kind]]["coverage"].push_back(covered);
    out[kConditions[kind]]["interval_width"].push_back(width);
    std::fprintf(stderr, "%s coverage %.3f width %.3f\n", kConditions[kind], covered, width);
  }
}

void labels(const Views& views, const at::Tensor& train_rows, const at::Tensor& test_rows,
            uint64_t seed, Json& out) {
  const at::Tensor& d = views.digit;
  at::Tensor hole =
      (d == 0).logical_or(d == 4).logical_or(d == 6).logical_or(d == 8).logical_or(d == 9);
  at::Tensor all = at::stack({d % 2 == 0, d > 4, hole}, 1).to(at::kLong);
  TrustData data = pick(views, {0, 1, 2, 3, 4}, train_rows);
  TrustData test = pick(views, {0, 1, 2, 3, 4}, test_rows);
  data.target = all.index_select(0, train_rows);
  at::Tensor truth = all.index_select(0, test_rows);
  train::TrustOptions options;
  options.min_bank = 3000;
  options.seed = seed;
  train::TrustFit fit = train::fit_trust(data, views.names, 2, options);
  TrustModel model(fit.trust);
  train::calibrate_trust(model, train::every_subset(train::out_of_fold_items(fit, seed), seed));
  for (int kind = 0; kind < 3; ++kind) {
    Evidence e = model.fusion().gather(damaged(test, kind, mix_seed(seed, 5)),
                                       at::ones(test.present.sizes()), test.present);
    for (const char* metric : {"micro_f1", "exact_match", "brier"}) {
      add(out, kConditions[kind], model, e, metric, [&](const at::Tensor& logs) {
        at::Tensor p = logs.exp().unflatten(1, {-1, 2}).select(2, 1);
        return train::multi_label_metrics(p, truth).at(metric);
      });
    }
  }
}

at::Tensor unit(const at::Tensor& x) { return x / x.norm(2, -1, true).clamp_min(1e-6); }

void search(const Views& views, const at::Tensor& train_rows, const at::Tensor& test_rows,
            uint64_t seed, Json& out) {
  std::vector<size_t> queries;
  std::vector<std::string> names;
  at::Tensor pix;
  for (size_t m = 0; m < views.names.size(); ++m) {
    if (views.names[m] == "pix") {
      pix = views.x[m];
    } else {
      queries.push_back(m);
      names.push_back(views.names[m]);
    }
  }
  // Embeddings are learnt on one half of the items, trust on the other.
  at::Tensor half = train_rows.slice(0, 0, kTrain / 2), rest = train_rows.slice(0, kTrain / 2);
  at::Tensor seen = pix.index_select(0, half);
  at::Tensor axes = std::get<2>(at::linalg_svd(seen, false)).narrow(0, 0, kSpace).t();
  at::Tensor z = at::matmul(pix, axes);
  std::vector<at::Tensor> maps;
  for (size_t m : queries) {
    at::Tensor x = views.x[m].index_select(0, half);
    at::Tensor normal = at::matmul(x.t(), x) + 30 * at::eye(x.size(1));
    maps.push_back(at::linalg_solve(normal, at::matmul(x.t(), z.index_select(0, half))));
  }
  train::RetrievalData data{
      pick(views, queries, rest), unit(z.index_select(0, rest)),
      [&](size_t m, const at::Tensor& x) { return unit(at::matmul(x, maps[m])); }};
  train::TrustOptions options;
  options.min_bank = 3000;
  options.seed = seed;
  train::TrustFit fit = train::fit_trust_retrieval(data, names, options);
  TrustModel model(fit.trust);
  train::calibrate_trust(model, train::every_subset(train::out_of_fold_items(fit, seed), seed));
  TrustData test = pick(views, queries, test_rows);
  at::Tensor gallery = unit(z.index_select(0, test_rows));
  for (int kind = 0; kind < 3; ++kind) {
    std::vector<at::Tensor> x = damaged(test, kind, mix_seed(seed, 5)), embedded;
    for (size_t m = 0; m < x.size(); ++m) embedded.push_back(data.embed(m, x[m]));
    Evidence e = model.fusion().gather_candidates(
        x, train::candidate_scores(at::stack(embedded, 1), gallery), at::ones(test.present.sizes()),
        test.present);
    for (const char* metric : {"recall@1", "recall@10", "mrr"}) {
      add(out, kConditions[kind], model, e, metric, [&](const at::Tensor& logs) {
        return train::retrieval_metrics(logs, at::arange(logs.size(0), at::kLong)).at(metric);
      });
    }
  }
}

int run(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "expected fusion_task_kinds OUTPUT.json [--seeds N]\n");
    return 2;
  }
  const int64_t seeds = argc > 3 ? std::atoll(argv[3]) : 3;
  at::NoGradGuard no_grad;
  const Views views = read();
  Json out = Json::object({});
  for (int64_t seed = 0; seed < seeds; ++seed) {
    auto generator = at::detail::createCPUGenerator(mix_seed(static_cast<uint64_t>(seed), 1));
    at::Tensor order = at::randperm(views.digit.size(0), generator);
    at::Tensor train_rows = order.slice(0, 0, kTrain),
               test_rows = order.slice(0, kTrain, kTrain + kTest);
    const auto draw = static_cast<uint64_t>(seed);
    std::fprintf(stderr, "values, seed %lld\n", static_cast<long long>(seed));
    values(views, train_rows, test_rows, draw, out["values"]);
    std::fprintf(stderr, "labels, seed %lld\n", static_cast<long long>(seed));
    labels(views, train_rows, test_rows, draw, out["labels"]);
    std::fprintf(stderr, "search, seed %lld\n", static_cast<long long>(seed));
    search(views, train_rows, test_rows, draw, out["search"]);
    out.write(argv[1]);
  }
  return 0;
}

}  // namespace
}  // namespace plait::bench

int main(int argc, char** argv) {
  try {
    return plait::bench::run(argc, argv);
  } catch (const plait::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
