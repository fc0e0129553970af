#include "plait/train/calibrate.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"
#include "plait/train/golden_section.h"

namespace plait::train {
namespace {

constexpr double kColdest = 0.05, kHottest = 20;

/// Logits in double and targets of the items that count.
struct Items {
  at::Tensor logits, target;
  int64_t n() const { return target.size(0); }
  double nll(double temperature) const {
    return at::nll_loss(at::log_softmax(logits / temperature, 1), target).item<double>();
  }
};

Items counted(const at::Tensor& logits, const at::Tensor& target) {
  if (logits.dim() != 2 || target.dim() != 1 || logits.size(0) != target.size(0)) {
    fail(ErrorCode::kInvalidArgument, "calibrate",
         "expected logits [N, K] and targets [N], got " + describe(logits) + " and " +
             describe(target));
  }
  at::Tensor labels = target.detach().to(at::kCPU, at::kLong);
  at::Tensor rows = (labels >= 0).nonzero().squeeze(1);
  Items out{logits.detach().to(at::kCPU, at::kDouble).index_select(0, rows),
            labels.index_select(0, rows)};
  require(out.logits.isfinite().all().item<bool>(), "calibrate", "expected finite logits");
  require(out.n() == 0 || out.target.max().item<int64_t>() < logits.size(1), "calibrate",
          "expected targets below the number of classes");
  return out;
}

/// The mean NLL is convex in 1/T, so it has one valley in ln T, too.
double minimise(const Items& items) {
  auto nll = [&](double log_t) { return items.nll(std::exp(log_t)); };
  return std::exp(golden_section(nll, std::log(kColdest), std::log(kHottest), 1e-6));
}

void check_present(const at::Tensor& present, int64_t rows, const std::vector<std::string>& names) {
  if (present.dim() == 2 && present.size(0) == rows &&
      present.size(1) == static_cast<int64_t>(names.size()))
    return;
  fail(ErrorCode::kInvalidArgument, "calibrate",
       "expected a presence mask of " + std::to_string(rows) + " rows and " +
           std::to_string(names.size()) + " streams, got " + describe(present));
}

double checked_temperature(const Json& value) {
  double t = value.as_double();
  if (std::isfinite(t) && t > 0) return t;
  fail(ErrorCode::kCorruptData, "calibrate", "expected a temperature above 0, got " + value.dump());
}

}  // namespace

std::string subset_name(const at::Tensor& present, const std::vector<std::string>& names) {
  if (present.dim() != 1 || present.size(0) != static_cast<int64_t>(names.size())) {
    fail(ErrorCode::kInvalidArgument, "calibrate",
         "expected one flag per stream, got " + describe(present));
  }
  at::Tensor flags = present.to(at::kCPU, at::kBool).contiguous();
  std::string out;
  for (size_t m = 0; m < names.size(); ++m) {
    if (flags.data_ptr<bool>()[m]) out += (out.empty() ? "" : "+") + names[m];
  }
  return out;
}

double fit_temperature(const at::Tensor& logits, const at::Tensor& target) {
  Items items = counted(logits, target);
  require(items.n() > 0, "calibrate", "expected at least one item with a target");
  return minimise(items);
}

Json calibrate(const at::Tensor& logits, const at::Tensor& target, const at::Tensor& present,
               const std::vector<std::string>& names, const CalibrationOptions& options) {
  check_present(present, logits.size(0), names);
  Items all = counted(logits, target);
  require(all.n() > 0, "calibrate", "expected at least one item with a target");
  double pooled = minimise(all);

  std::map<std::string, std::vector<int64_t>> members;
  for (int64_t i = 0; i < present.size(0); ++i)
    members[subset_name(present.select(0, i), names)].push_back(i);
  Json subsets = Json::object({});
  for (const auto& [name, rows] : members) {
    at::Tensor index = at::tensor(rows, at::kLong);
    Items items = counted(logits.detach().to(at::kCPU).index_select(0, index),
                          target.detach().to(at::kCPU).index_select(0, index));
    if (items.n() == 0 || name.empty()) continue;
    bool few = items.n() < options.min_items;
    double temperature = few ? pooled : minimise(items);
    subsets[name] = Json::object({{"temperature", temperature},
                                  {"n", items.n()},
                                  {"nll_before", items.nll(1)},
                                  {"nll_after", items.nll(temperature)},
                                  {"pooled", few}});
  }
  return Json::object({{"subsets", subsets}, {"default", pooled}, {"n", all.n()}});
}

at::Tensor temperatures(const Json& calibration, const at::Tensor& present,
                        const std::vector<std::string>& names) {
  check_present(present, present.dim() > 0 ? present.size(0) : 0, names);
  const Json* fallback = calibration.find("default");
  double otherwise = fallback && !fallback->is_null() ? checked_temperature(*fallback) : 1;
  const Json* subsets = calibration.find("subsets");
  at::Tensor out = at::full({present.size(0)}, otherwise, at::kFloat);
  if (!subsets) return out;
  at::Tensor flags = present.to(at::kCPU, at::kBool);
  auto* values = out.data_ptr<float>();
  for (int64_t i = 0; i < present.size(0); ++i) {
    const Json* subset = subsets->find(subset_name(flags.select(0, i), names));
    if (subset) values[i] = static_cast<float>(checked_temperature(subset->at("temperature")));
  }
  return out;
}

at::Tensor apply_calibration(const Json& calibration, const at::Tensor& logits,
                             const at::Tensor& present, const std::vector<std::string>& names) {
  check_present(present, logits.size(0), names);
  at::Tensor t =
      temperatures(calibration, present, names).to(logits.device(), logits.scalar_type());
  return logits / t.unsqueeze(1);
}

}  // namespace plait::train
