// What the trust engine says once it knows whom to believe: static fusions, shares, sets.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "plait/core/error.h"
#include "plait/runtime/multiply_adds.h"
#include "plait/runtime/trust_item.h"
#include "plait/runtime/trust_math.h"

namespace plait::runtime {

using models::Decider;
using models::StaticFusions;

/// What the trust fusion's streams add; others than it may answer.
void TrustEngine::answer_by_trust(const Item& item, Arena& arena) const {
  pool(item, item.breakage, item.support);
  const float scale = scale_[static_cast<size_t>(item.subset)];
  const auto count = static_cast<int64_t>(streams()) * classes_;
  for (int64_t i = 0; i < count; ++i) item.support[i] *= scale;
  if (joint_) ask_jointly(item, scale, arena);
}

/// See TrustModel::conflict; of the trust fusion's support.
float TrustEngine::conflict(const Item& item, Arena& arena) const {
  float *all = arena.take(classes_), *own = arena.take(classes_), *others = arena.take(classes_);
  std::fill_n(all, classes_, 0.0F);
  int64_t here = 0;
  for (size_t m = 0; m < streams(); ++m) {
    here += item.has(m);
    const float* support = item.support + static_cast<int64_t>(m) * classes_;
    for (int64_t k = 0; item.has(m) && k < classes_; ++k) all[k] += support[k];
  }
  if (here < 2) return 0;
  float out = 0;
  for (size_t m = 0; m < streams(); ++m) {
    if (!item.has(m)) continue;
    const float* support = item.support + static_cast<int64_t>(m) * classes_;
    for (int64_t k = 0; k < classes_; ++k) {
      own[k] = support[k] + log_prior_[static_cast<size_t>(k)];
      others[k] = all[k] - support[k] + log_prior_[static_cast<size_t>(k)];
    }
    softmax(own, classes_, own);
    softmax(others, classes_, others);
    const float least = *std::min_element(own, own + classes_),
                least_others = *std::min_element(others, others + classes_);
    float left = 0, right = 0, both = 0;
    for (int64_t k = 0; k < classes_; ++k) {
      const float a = own[k] - least, b = others[k] - least_others;
      left += a, right += b, both += a * b;
    }
    out += left * right - both;
  }
  return out / static_cast<float>(here);
}

/// Mixes in what the streams that are heard say together; see TrustFusion::fuse_with.
void TrustEngine::ask_jointly(const Item& item, float scale, Arena& arena) const {
  std::array<const float*, kMostStreams> tokens{};
  int64_t heard = 0;
  float whole = 1;
  auto hears = [&](size_t m) {
    return item.has(m) && item.breakage[m] < models::TrustFusion::kHeard;
  };
  for (size_t m = 0; m < streams(); ++m) {
    if (!hears(m)) continue;
    tokens[static_cast<size_t>(heard++)] = item.records[m] + experts_[m].layout().token;
    whole *= 1 - item.breakage[m];
  }
  if (heard < 2) return;
  add_multiply_adds(joint_->multiply_adds(heard));
  float* nats = arena.take(classes_);
  joint_->answer(*loops_, tokens.data(), heard, nats, arena);
  const float eps = std::max(1 - whole, floor_), share = scale / static_cast<float>(heard);
  for (int64_t k = 0; k < classes_; ++k) {
    const float ratio = std::exp(nats[k] - log_prior_[static_cast<size_t>(k)]);
    nats[k] = share * std::log((1 - eps) * ratio + eps);
  }
  for (size_t m = 0; m < streams(); ++m) {
    float* support = item.support + static_cast<int64_t>(m) * classes_;
    const float part = hears(m) ? joint_weight_ : 0;
    for (int64_t k = 0; k < classes_; ++k)
      support[k] = (1 - joint_weight_) * support[k] + part * nats[k];
  }
}

/// As StaticFusions: support, and of the mean (which is no sum of supports) the answer.
void TrustEngine::answer_statically(Decider decider, const Item& item, Arena& arena) const {
  std::fill_n(item.support, static_cast<int64_t>(streams()) * classes_, 0.0F);
  if (decider == Decider::kJoint) return;
  constexpr auto kFloor = static_cast<float>(StaticFusions::kFloor);
  constexpr float kLeast = std::numeric_limits<float>::min();
  size_t best = 0;
  for (int64_t m : model_->statics().ranking()) {
    best = static_cast<size_t>(m);
    if (item.has(best)) break;
  }
  int64_t here = 0;
  float* sum = arena.take(classes_);
  std::fill_n(sum, classes_, 0.0F);
  for (size_t m = 0; m < streams(); ++m) {
    if (!item.has(m)) continue;
    ++here;
    for (int64_t k = 0; k < classes_; ++k) sum[k] += item.p[static_cast<int64_t>(m) * classes_ + k];
  }
  for (int64_t k = 0; decider == Decider::kMean && k < classes_; ++k)
    item.log_probabilities[k] = std::log(std::max(sum[k] / static_cast<float>(here), kLeast));
  for (size_t m = 0; m < streams(); ++m) {
    if (!item.has(m) || (decider == Decider::kBestSingle && m != best)) continue;
    const float* log_p = item.records[m] + experts_[m].layout().log_probabilities;
    const auto row = static_cast<int64_t>(m) * classes_;
    for (int64_t k = 0; k < classes_; ++k) {
      const auto at = static_cast<size_t>(k);
      float& nats = item.support[row + k];
      if (decider == Decider::kRobustProduct) {
        nats = std::log((1 - kFloor) * item.ratio[row + k] + kFloor);
      } else if (decider == Decider::kMean) {
        float others = 0;
        for (size_t o = 0; o < streams(); ++o)
          others += o != m && item.has(o) ? item.p[static_cast<int64_t>(o) * classes_ + k] : 0;
        const float without = here > 1 ? others / static_cast<float>(here - 1) : prior_[at];
        nats = item.log_probabilities[k] - std::log(std::max(without, kLeast));
      } else {
        nats = log_p[k] - log_prior_[at];
      }
    }
  }
}

/// See share_of_evidence.
void TrustEngine::share_evidence(const Item& item, Arena& arena) const {
  float* alone = arena.take(classes_);
  float total = 0;
  for (size_t m = 0; m < streams(); ++m) {
    item.weights[m] = 0;
    if (!item.has(m)) continue;
    const float* support = item.support + static_cast<int64_t>(m) * classes_;
    for (int64_t k = 0; k < classes_; ++k)
      alone[k] = support[k] + log_prior_[static_cast<size_t>(k)];
    log_softmax(alone, classes_, alone);
    float moved = 0;
    for (int64_t k = 0; k < classes_; ++k)
      moved += std::exp(alone[k]) * (alone[k] - log_prior_[static_cast<size_t>(k)]);
    item.weights[m] = std::max(moved, 0.0F) + 1e-6F;
    total += item.weights[m];
  }
  for (size_t m = 0; m < streams(); ++m) item.weights[m] /= total;
}

at::Tensor TrustEngine::prediction_sets(const Verdict& verdict, double coverage,
                                        bool class_conditional) const {
  require(coverage > 0 && coverage < 1, "conformal", "expected a coverage between 0 and 1");
  const models::ConformalSets& fitted = model_->sets();
  require(fitted.fitted(), "conformal", "expected calibrated sets");
  const at::Tensor log_p = verdict.log_probabilities.contiguous(), groups = verdict.group;
  require(!class_conditional || fitted.classes() == log_p.size(1), "conformal",
          "expected as many classes as in the calibration");
  const int64_t items = log_p.size(0);
  at::Tensor out = at::empty({items, classes_}, at::kBool);
  const auto count = static_cast<size_t>(classes_);
  thread_local std::vector<double> p;
  thread_local std::vector<int64_t> order;
  p.resize(count), order.resize(count);
  for (int64_t i = 0; i < items; ++i) {
    const float* row = log_p.const_data_ptr<float>() + i * classes_;
    bool* in = out.mutable_data_ptr<bool>() + i * classes_;
    const double most = *std::max_element(row, row + classes_);
    double sum = 0;
    for (size_t k = 0; k < count; ++k) sum += p[k] = std::exp(row[k] - most);
    for (double& share : p) share /= sum;
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [](int64_t a, int64_t b) {
      const double left = p[static_cast<size_t>(a)], right = p[static_cast<size_t>(b)];
      return left > right || (left == right && a < b);
    });
    const double draw = models::ConformalSets::draw(row, classes_);
    double limit =
        class_conditional ? 0 : fitted.limit(groups.const_data_ptr<int64_t>()[i], coverage);
    double until = 0;
    for (int64_t k : order) {
      const double own = p[static_cast<size_t>(k)];
      until += own;
      if (class_conditional) limit = fitted.limit_of_class(k, coverage);
      in[k] = (until - own) + draw * own <= limit;
    }
    in[std::max_element(row, row + classes_) - row] = true;
  }
  return out;
}

}  // namespace plait::runtime
