#include "plait/models/trust/trust_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <set>

#include "plait/core/error.h"
#include "plait/models/trust/answers.h"
#include "plait/models/trust/evidence.h"
#include "plait/models/trust/questions.h"

namespace plait::models {
namespace {

double number_of(const std::string& text) {
  char* end = nullptr;
  const double out = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != 0 || !std::isfinite(out))
    fail(ErrorCode::kCorruptData, "trust", "expected a number as a name in the calibration");
  return out;
}

void check_streams(const std::vector<int64_t>& order, size_t streams, bool all) {
  std::set<int64_t> seen(order.begin(), order.end());
  const bool inside =
      seen.empty() || (*seen.begin() >= 0 && *seen.rbegin() < static_cast<int64_t>(streams));
  if (!inside || seen.size() != order.size() || (all && seen.size() != streams))
    fail(ErrorCode::kCorruptData, "trust", "expected every stream once in the calibration");
}

Json write(const Route& route) {
  Json stops = Json::array();
  for (const Route::Stop& stop : route.stops) {
    stops.push_back(Json::object({{"loss", stop.loss},
                                  {"threshold", stop.threshold},
                                  {"expected_cost", stop.expected_cost},
                                  {"expected_accuracy", stop.expected_accuracy}}));
  }
  return Json::object({{"order", Json(route.order)},
                       {"cost", Json(route.cost)},
                       {"stops", std::move(stops)},
                       {"delta", route.delta},
                       {"full_accuracy", route.full_accuracy}});
}

Route read(const Json& json) {
  Route out;
  out.order = json.at("order").as_ints();
  out.cost = json.at("cost").as_doubles();
  for (const Json& stop : json.at("stops").items()) {
    out.stops.push_back({stop.at("loss").as_double(), stop.at("threshold").as_double(),
                         stop.at("expected_cost").as_double(),
                         stop.at("expected_accuracy").as_double()});
  }
  out.delta = json.at("delta").as_double();
  out.full_accuracy = json.at("full_accuracy").as_double();
  return out;
}

/// What probabilities [..., K] say beyond not knowing: 0 where all options are alike.
at::Tensor belief(const at::Tensor& p, int64_t questions) {
  at::Tensor each = each_question(p, questions);
  at::Tensor out = each - each.amin(-1, /*keepdim=*/true);
  return questions == 1 ? out : out.flatten(-2);
}

}  // namespace

Route::Stop Route::stop(double loss) const {
  Stop out;
  out.expected_accuracy = full_accuracy;
  for (const Stop& stop : stops) {
    if (stop.loss <= loss + 1e-12 && stop.threshold < out.threshold) out = stop;
  }
  return out;
}

TrustModel::TrustModel(std::shared_ptr<TrustFusion> fusion) : fusion_(std::move(fusion)) {
  std::vector<int64_t> ranking(fusion_->config().streams.size());
  std::iota(ranking.begin(), ranking.end(), 0);
  set_ranking(std::move(ranking));
}

void TrustModel::set_ranking(std::vector<int64_t> ranking) {
  check_streams(ranking, fusion_->config().streams.size(), /*all=*/true);
  statics_ = std::make_shared<StaticFusions>(fusion_->log_prior(), std::move(ranking),
                                             fusion_->config().questions);
}

at::Tensor TrustModel::group_of(const at::Tensor& present) {
  if (present.size(1) <= kMaxExactStreams) return TrustFusion::subset_of(present);
  return present.to(at::kLong).sum(1);
}

std::string TrustModel::group_name(int64_t group) const {
  const auto& streams = fusion_->config().streams;
  if (static_cast<int64_t>(streams.size()) > kMaxExactStreams)
    return std::to_string(group) + (group == 1 ? " stream" : " streams");
  std::string out;
  for (size_t m = 0; m < streams.size(); ++m) {
    if (group >> m & 1) out += (out.empty() ? "" : "+") + streams[m];
  }
  return out;
}

const TrustModel::Choice& TrustModel::choice(int64_t group) const {
  static const Choice kDefault;
  auto found = choices_.find(group);
  return found == choices_.end() ? kDefault : found->second;
}

at::Tensor TrustModel::mean_breakage(const at::Tensor& breakage, const at::Tensor& present) {
  at::Tensor here = present.to(at::kFloat);
  return (breakage * here).sum(1) / here.sum(1).clamp_min(1);
}

at::Tensor TrustModel::conflict(const TrustFusion& fusion, const Evidence& e,
                                const TrustOutput& trust) {
  const int64_t questions = fusion.config().questions;
  const at::Tensor prior = fusion.prior_of(e);
  auto sum = [&](const at::Tensor& x) { return each_question(x, questions).sum(-1); };
  at::Tensor own = log_normalise(trust.support + prior, questions).exp();
  at::Tensor others =
      log_normalise(trust.support.sum(1, /*keepdim=*/true) - trust.support + prior, questions)
          .exp();
  at::Tensor torn;
  if (fusion.grid()) {
    torn = 1 - sum(own * others) / (sum(own.square()) * sum(others.square())).sqrt();
  } else {
    at::Tensor left = belief(own, questions), right = belief(others, questions);
    torn = sum(left) * sum(right) - sum(left * right);
  }
  torn = over_questions(torn, questions);
  return at::where(e.present.sum(1) > 1, mean_breakage(torn, e.present), at::zeros({}));
}

bool TrustModel::needs_joint(const at::Tensor& present) const {
  at::Tensor groups = std::get<0>(at::_unique(group_of(present)));
  for (int64_t i = 0; i < groups.size(0); ++i) {
    if (choice(groups[i].item<int64_t>()).decider == Decider::kJoint) return true;
  }
  return false;
}

at::Tensor TrustModel::decide_as(Decider decider, const Evidence& e,
                                 const at::Tensor& joint) const {
  switch (decider) {
    case Decider::kTrust: return fusion_->fuse(e).log_probabilities;
    case Decider::kJoint: {
      require(joint.defined() && joint.dim() == 2 && joint.size(0) == e.present.size(0) &&
                  joint.size(1) == fusion_->options(),
              "trust", "expected the network's own logits of every class");
      return fusion_->normalise(joint.to(at::kFloat));
    }
    default: return statics_->decide(decider, e);
  }
}

TrustModel::Verdict TrustModel::decide(const Evidence& e, const at::Tensor& joint) const {
  return decide(e, joint, fusion_->fuse(e));
}

TrustModel::Verdict TrustModel::decide(const Evidence& e, const at::Tensor& joint,
                                       const TrustOutput& trust) const {
  Verdict out;
  out.breakage = trust.breakage;
  out.support = trust.support;
  out.log_probabilities = trust.log_probabilities;
  at::Tensor groups = group_of(e.present);
  std::vector<double> temperatures, slopes, conflict_slopes;
  std::set<Decider> used;
  for (int64_t i = 0; i < groups.size(0); ++i) {
    const Choice& own = choice(groups[i].item<int64_t>());
    const bool absent = own.decider == Decider::kJoint && !joint.defined();
    out.deciders.push_back(absent ? Decider::kTrust : own.decider);
    temperatures.push_back(absent ? 1.0 : own.temperature);
    slopes.push_back(absent ? 0.0 : own.slope);
    conflict_slopes.push_back(absent ? 0.0 : own.conflict_slope);
    used.insert(out.deciders.back());
  }
  for (Decider decider : used) {
    if (decider == Decider::kTrust) continue;
    at::Tensor rows = at::empty({groups.size(0), 1}, at::kBool);
    for (size_t i = 0; i < out.deciders.size(); ++i)
      rows[static_cast<int64_t>(i)] = out.deciders[i] == decider;
    out.log_probabilities = at::where(rows, decide_as(decider, e, joint), out.log_probabilities);
    at::Tensor support =
        decider == Decider::kJoint ? at::zeros_like(out.support) : statics_->support(decider, e);
    out.support = at::where(rows.unsqueeze(-1), support, out.support);
  }
  out.weights =
      share_of_evidence(out.support, fusion_->prior_of(e), e.present, fusion_->config().questions);
  at::Tensor broken = mean_breakage(trust.breakage, e.present);
  at::Tensor torn = conflict(*fusion_, e, trust);
  at::Tensor temperature =
      at::tensor(temperatures, at::kFloat) *
      (at::tensor(slopes, at::kFloat) * broken + at::tensor(conflict_slopes, at::kFloat) * torn)
          .exp();
  out.log_probabilities = fusion_->temper(out.log_probabilities, temperature.unsqueeze(1));
  // Items whose streams look broken or contradict each other have sets of their own.
  at::Tensor suspicion = broken + torn;
  at::Tensor bin = at::zeros_like(groups);
  for (double edge : bins_) bin = bin + (suspicion > edge).to(at::kLong);
  out.group = groups * static_cast<int64_t>(bins_.size() + 1) + bin;
  return out;
}

at::Tensor TrustModel::confidence(const Verdict& verdict) const {
  return confidence_of(*fusion_, verdict.log_probabilities);
}

std::pair<at::Tensor, at::Tensor> TrustModel::prediction_intervals(const Verdict& verdict,
                                                                   double coverage) const {
  require(fusion_->grid() != nullptr, "trust", "expected a trust fusion of values");
  return intervals_.intervals(*fusion_->grid(), verdict.log_probabilities, verdict.group, coverage);
}

at::Tensor TrustModel::prediction_sets(const Verdict& verdict, double coverage,
                                       bool class_conditional) const {
  if (candidates_.fitted())
    return candidates_.sets(verdict.log_probabilities, verdict.group, coverage);
  if (label_sets_.fitted()) {
    return label_sets_.sets(verdict.log_probabilities, verdict.group, coverage, class_conditional);
  }
  return sets_.sets(verdict.log_probabilities, verdict.group, coverage, class_conditional);
}

double TrustModel::abstain_below(double risk) const {
  if (!(risk >= 0.01 && risk < 1))
    fail(ErrorCode::kInvalidArgument, "trust", "expected a risk of at least 0.01 and below 1");
  // The strictest threshold that was shown to keep a risk up to the one asked for.
  double out = 2;
  for (const auto& [known, threshold] : abstention_) {
    if (known <= risk + 1e-12) out = std::min(out, threshold);
  }
  return out;
}

Json TrustModel::to_json() const {
  Json out = Json::object({{"ranking", Json(statics_->ranking())},
                           {"groups", Json::object({})},
                           {"suspicion_bins", Json(bins_)},
                           {"abstain", Json::object({})}});
  for (const auto& [group, own] : choices_) {
    out["groups"][std::to_string(group)] = Json::object({{"name", group_name(group)},
                                                         {"decider", to_string(own.decider)},
                                                         {"temperature", own.temperature},
                                                         {"slope", own.slope},
                                                         {"conflict_slope", own.conflict_slope},
                                                         {"comparisons", own.comparisons}});
  }
  for (const auto& [risk, threshold] : abstention_) {
    char name[32];
    std::snprintf(name, sizeof name, "%g", risk);
    out["abstain"][name] = threshold;
  }
  if (sets_.fitted()) out["sets"] = sets_.to_json();
  if (label_sets_.fitted()) out["label_sets"] = label_sets_.to_json();
  if (candidates_.fitted()) out["candidate_sets"] = candidates_.to_json();
  if (intervals_.fitted()) out["intervals"] = intervals_.to_json();
  if (!route_.order.empty()) out["route"] = write(route_);
  return out;
}

void TrustModel::load_json(const Json& json) {
  const size_t streams = fusion_->config().streams.size();
  set_ranking(json.at("ranking").as_ints());
  for (const auto& [group, own] : json.at("groups").members()) {
    Choice read{decider_from_string(own.at("decider").as_string()),
                own.at("temperature").as_double(), own.at("slope").as_double(),
                own.at("comparisons"), own.get("conflict_slope", 0.0)};
    if (!(read.temperature > 0) || !(std::abs(read.slope) < 10) ||
        !(std::abs(read.conflict_slope) < 10))
      fail(ErrorCode::kCorruptData, "trust",
           "expected a temperature above 0 and a slope between -10 and 10");
    choices_[static_cast<int64_t>(number_of(group))] = std::move(read);
  }
  bins_ = json.at("suspicion_bins").as_doubles();
  if (!std::is_sorted(bins_.begin(), bins_.end()) || bins_.size() > 16)
    fail(ErrorCode::kCorruptData, "trust", "expected rising edges of suspicion");
  for (const auto& [risk, threshold] : json.at("abstain").members())
    abstention_[number_of(risk)] = threshold.as_double();
  if (const Json* sets = json.find("sets")) sets_ = ConformalSets::from_json(*sets);
  if (const Json* sets = json.find("label_sets")) label_sets_ = LabelSets::from_json(*sets);
  if (const Json* sets = json.find("candidate_sets")) candidates_ = CandidateSets::from_json(*sets);
  if ((label_sets_.fitted() && 2 * label_sets_.labels() != fusion_->options()) ||
      (candidates_.fitted() && !fusion_->config().candidates))
    fail(ErrorCode::kCorruptData, "trust", "expected sets of this fusion's labels or candidates");
  if (const Json* intervals = json.find("intervals"))
    intervals_ = ConformalIntervals::from_json(*intervals);
  if (const Json* route = json.find("route")) {
    route_ = read(*route);
    check_streams(route_.order, streams, /*all=*/true);
    if (!route_.cost.empty() && route_.cost.size() != streams)
      fail(ErrorCode::kCorruptData, "trust", "expected a cost for every stream of the route");
  }
}

}  // namespace plait::models
