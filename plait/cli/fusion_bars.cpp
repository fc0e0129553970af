#include "plait/cli/fusion_bars.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "plait/api/fusion_study.h"
#include "plait/cli/bench_result.h"
#include "plait/cli/earlier_rivals.h"
#include "plait/cli/terminal.h"

namespace plait::cli {
namespace {

constexpr double kSignificant = 0.05;

struct Bar {
  std::string name;
  double value = 0, bar = 0;
  bool at_least = true;
  std::string note = "";
};

double mean(const std::vector<double>& v) {
  return v.empty() ? 0 : std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}

/// Mean over conditions of every seed.
std::vector<double> overall(const Json& raw, const std::string& method) {
  std::vector<double> out(raw.at("studies").size());
  const auto conditions = raw.at("conditions").as_strings();
  for (const std::string& condition : conditions) {
    const std::vector<double> values = accuracies(raw, method, condition);
    for (size_t i = 0; i < out.size(); ++i) out[i] += values[i];
  }
  for (double& value : out) value /= static_cast<double>(conditions.size());
  return out;
}

std::vector<double> difference(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

bool is_rival(const std::string& method) {
  return method != "trust" && method != "trust_bare" && method != "oracle";
}

template <class F>
std::vector<double> each_study(const Json& raw, const F& value) {
  std::vector<double> out;
  for (const Json& study : raw.at("studies").items()) out.push_back(value(study));
  return out;
}

/// One-sided p-value of losing as many of the differing items by chance (McNemar's exact test).
double mcnemar(double lost, double won) {
  const double n = lost + won;
  double p = 0;
  for (double k = lost; k <= n; ++k)
    p += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) -
                  n * std::log(2.0));
  return std::min(p, 1.0);
}

void handwritten_bars(std::vector<Bar>& out, const Json& raw) {
  auto of = [&](const char* condition) { return 100 * mean(accuracies(raw, "trust", condition)); };
  out.push_back({"handwritten: accuracy at noise 10, %", of("noise_10"), 98.3});
  out.push_back({"handwritten: accuracy with swapped views, %", of("swapped"), 97.5});
}

void accuracy_bars(std::vector<Bar>& out, const Json& raw, const std::string& name) {
  double least = std::numeric_limits<double>::infinity(), worst_p = 0, best_clean = 0;
  std::string closest, unproven;
  const std::vector<double> own = overall(raw, "trust");
  for (const std::string& method : all_methods(raw)) {
    if (!is_rival(method)) continue;
    const std::vector<double> ahead = difference(own, overall(raw, method));
    if (mean(ahead) < least) least = mean(ahead), closest = method;
    const double p = paired_p_value(ahead);
    if (p > worst_p) worst_p = p, unproven = method;
    best_clean = std::max(best_clean, mean(accuracies(raw, method, "clean")));
  }
  const double clean = mean(accuracies(raw, "trust", "clean"));
  out.push_back({name + ": mean over conditions ahead of the best rival (" + closest + "), points",
                 100 * least, 0});
  out.push_back({name + ": p-value of being ahead, largest over rivals (" + unproven + ")", worst_p,
                 kSignificant, false});
  out.push_back({name + ": mean over conditions behind the oracle, points",
                 100 * mean(difference(overall(raw, "oracle"), own)), 1, false});
  out.push_back({name + ": clean accuracy behind the best rival, points",
                 100 * (best_clean - clean), 0.3, false});
}

void trust_bars(std::vector<Bar>& out, const Json& raw, const std::string& name) {
  double seen = -1, unseen = -1, off = 0, low = 0, aurc = 0, aurc_of_mean = 0;
  const size_t seeds = raw.at("studies").size();
  const double items = static_cast<double>(seeds) * raw.at("test_items").as_double();
  for (const std::string& condition : raw.at("conditions").as_strings()) {
    const bool known = raw.at("studies").items().front().at("seen").at(condition).as_bool();
    double& most = known ? seen : unseen;
    most = std::max(most, mean(each_study(raw, [&](const Json& s) {
                      const Json& c = s.at("calibration").at(condition);
                      return c.at("ece").as_double() - c.at("ece_of_calibrated").as_double();
                    })));
    for (const char* target : {"0.8", "0.9", "0.95"}) {
      const double asked = std::stod(target);
      const double covered = mean(each_study(raw, [&](const Json& s) {
        return s.at("sets").at(condition).at(target).at("coverage").as_double();
      }));
      // Below what was promised by more than chance; a class that is right more often than that
      // cannot be left out, so that coverage above it is no fault.
      const double error = 2 * std::sqrt(asked * (1 - asked) / items);
      if (known) off = std::max(off, asked - covered - error);
      if (!known) low = std::max(low, asked - covered);
    }
    aurc += mean(each_study(raw, [&](const Json& s) {
      return s.at("methods").at("trust").at(condition).at("aurc").as_double();
    }));
    aurc_of_mean += mean(each_study(raw, [&](const Json& s) {
      return s.at("methods").at("mean").at(condition).at("aurc").as_double();
    }));
  }
  out.push_back(
      {name + ": ECE beyond a calibrated model's, worst condition, points", 100 * seen, 3, false});
  if (unseen > -1) {
    out.push_back({name + ": the same under damage never seen, points", 100 * unseen, 6, false});
    out.push_back({name + ": sets' coverage below the target under damage never seen, points",
                   100 * low, 3, false});
  }
  out.push_back({name + ": sets' coverage below the target beyond 2 standard errors, points",
                 100 * off, 1, false});
  out.push_back({name + ": AURC against the mean of probabilities, ratio",
                 aurc_of_mean > 0 ? aurc / aurc_of_mean : 1, 0.7, false});
}

void gate_bars(std::vector<Bar>& out, const Json& raw, const std::string& name) {
  const auto conditions = raw.at("conditions").as_strings();
  auto drop = [&](const std::string& condition) {
    return 100 * mean(each_study(raw, [&](const Json& s) {
             return s.at("methods").at("trust_bare").at(condition).at("accuracy").as_double() -
                    s.at("permuted").at(condition).as_double();
           }));
  };
  for (const char* damaged : {"noise_10", "mixed/seen"}) {
    if (std::find(conditions.begin(), conditions.end(), damaged) == conditions.end()) continue;
    out.push_back({name + ": accuracy lost when items exchange breakages, " + damaged + ", points",
                   drop(damaged), 8});
  }
  out.push_back({name + ": the same on clean items, points", drop("clean"), 0.3, false});
}

void route_bars(std::vector<Bar>& out, const Json& raw, const std::string& name) {
  if (!raw.at("studies").items().front().contains("route")) return;
  auto of = [&](const char* key) {
    return each_study(raw,
                      [&](const Json& s) { return s.at("route").at("clean").at(key).as_double(); });
  };
  std::vector<double> full = of("full"), routed = of("accuracy");
  out.push_back({name + ": cost of the certified route, share", mean(of("cost")), 0.55, false});
  out.push_back(
      {name + ": accuracy lost by it, points", 100 * (mean(full) - mean(routed)), 0.5, false});
}

void never_worse_bars(std::vector<Bar>& out, const std::vector<Json>& raw) {
  double cells = 0, violations = 0, deepest = 0, below = 0;
  for (const Json& set : raw) {
    for (const Json& study : set.at("studies").items()) {
      for (const auto& [condition, others] : study.at("never_worse").members()) {
        for (const auto& [other, counts] : others.members()) {
          const double lost = counts.at("lost").as_double(), won = counts.at("won").as_double();
          const double depth = (lost - won) / counts.at("items").as_double();
          ++cells;
          if (depth > 0) ++below;
          if (depth <= 0 || mcnemar(lost, won) > kSignificant) continue;
          ++violations;
          deepest = std::max(deepest, depth);
        }
      }
    }
  }
  if (cells == 0) return;
  out.push_back(
      {"never worse: cells significantly below the best single stream or static fusion (of " +
           format("%.0f", cells) + "; below by any amount " +
           format("%.1f %%", 100 * below / cells) + "), %",
       100 * violations / cells, 1, false});
  out.push_back({"never worse: the deepest of them, points", 100 * deepest, 1, false});
}

}  // namespace

double paired_p_value(const std::vector<double>& differences) {
  const size_t n = differences.size();
  const double observed = std::accumulate(differences.begin(), differences.end(), 0.0);
  if (n > 16) {
    double squares = 0;
    for (double d : differences) squares += d * d;
    return squares > 0 ? 0.5 * std::erfc(observed / std::sqrt(2 * squares)) : 1;
  }
  size_t as_far = 0;
  for (size_t signs = 0; signs < (size_t{1} << n); ++signs) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += (signs >> i & 1) ? -differences[i] : differences[i];
    if (sum >= observed - 1e-12) ++as_far;
  }
  return static_cast<double>(as_far) / static_cast<double>(size_t{1} << n);
}

Json bar(const std::string& name, double value, double bar, bool at_least) {
  return Json::object({{"name", name},
                       {"value", value},
                       {"bar", bar},
                       {"at_least", at_least},
                       {"holds", at_least ? value >= bar : value <= bar}});
}

Json bars_of(const std::vector<Json>& raw) {
  std::vector<Bar> bars;
  for (const Json& set : raw) {
    const std::string name = set.get("dataset", "");
    if (name == "handwritten") handwritten_bars(bars, set);
    accuracy_bars(bars, set, name);
    trust_bars(bars, set, name);
    gate_bars(bars, set, name);
    route_bars(bars, set, name);
  }
  never_worse_bars(bars, raw);
  // A certified route may break its promise in a share of the runs.
  double runs = 0, broken = 0;
  for (const Json& set : raw) {
    for (const Json& study : set.at("studies").items()) {
      if (!study.contains("route")) continue;
      ++runs;
      broken += study.at("route").at("clean").at("lost").as_double() > 0.005 + 1e-9;
    }
  }
  if (runs > 0)
    bars.push_back({"routes: share of runs that lose more than the promised 0.5 points, %",
                    100 * broken / runs, 10, false});
  Json out = Json::array();
  for (const Bar& b : bars) out.push_back(bar(b.name, b.value, b.bar, b.at_least));
  return out;
}

std::string bars_markdown(const Json& bars) {
  std::string out =
      "# What the trust fusion is held to\n\nMade by `plait bench fusion`.\n\n"
      "| figure | value | bar | holds |\n|---|---|---|---|\n";
  for (const Json& bar : bars.items()) {
    out += "| " + bar.at("name").as_string() + " | " + format("%.3g", bar.at("value").as_double()) +
           " | " + (bar.at("at_least").as_bool() ? "≥ " : "≤ ") +
           format("%g", bar.at("bar").as_double()) + " | " +
           (bar.at("holds").as_bool() ? "yes" : "**no**") + " |\n";
  }
  return out;
}

}  // namespace plait::cli
