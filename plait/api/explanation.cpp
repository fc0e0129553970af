#include "plait/api/explanation.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/api/stream_doubts.h"
#include "plait/core/error.h"

namespace plait::api {
namespace {

using models::Evidence;
using models::TrustModel;

constexpr double kSure = 0.5;  ///< Probability from which a stream's answer counts as one

/// The same item with the stream's probabilities of two classes exchanged.
Evidence with_exchanged(const Evidence& evidence, int64_t stream, int64_t a, int64_t b) {
  Evidence out = evidence;
  out.log_probabilities = evidence.log_probabilities.clone();
  at::Tensor row = out.log_probabilities[0][stream];
  const auto first = row[a].item<float>(), second = row[b].item<float>();
  row[a].fill_(second);
  row[b].fill_(first);
  return out;
}

/// What stream m says: its most probable class, and which others it contradicts.
Opinion opinion_of(const Evidence& e, int64_t m, const std::vector<std::string>& streams,
                   const std::vector<std::string>& labels) {
  Opinion out;
  const auto own = e.log_probabilities[0][m].argmax().item<int64_t>();
  out.says = labels[static_cast<size_t>(own)];
  out.unsure = e.log_probabilities[0][m][own].exp().item<double>() < kSure;
  for (int64_t other = 0; other < e.present.size(1) && !out.unsure; ++other) {
    if (other == m || !e.present[0][other].item<bool>()) continue;
    if (e.log_probabilities[0][other].argmax().item<int64_t>() != own)
      out.against.push_back(streams[static_cast<size_t>(other)]);
  }
  return out;
}

}  // namespace

Explanation explain(const TrustModel& trust, const Evidence& e, const at::Tensor& joint,
                    const std::vector<std::string>& labels,
                    const std::map<std::string, models::Quality>& quality) {
  require(e.present.size(0) == 1 &&
              static_cast<int64_t>(labels.size()) == e.log_probabilities.size(2) &&
              labels.size() >= 2,
          "explain", "expected one item and a name for each of at least two classes");
  const auto& streams = trust.fusion().config().streams;
  Explanation out;
  TrustModel::Verdict verdict = trust.decide(e, joint);
  auto [top, order] = verdict.log_probabilities[0].sort(0, /*descending=*/true);
  const auto answer = order[0].item<int64_t>(), runner_up = order[1].item<int64_t>();
  out.label = labels[static_cast<size_t>(answer)];
  out.runner_up = labels[static_cast<size_t>(runner_up)];
  out.confidence = top[0].exp().item<double>();
  out.decided_by = models::to_string(verdict.deciders[0]);
  auto best_of = [&](const TrustModel::Verdict& v, std::string& label, double& confidence) {
    auto [value, index] = v.log_probabilities[0].max(0);
    label = labels[static_cast<size_t>(index.item<int64_t>())];
    confidence = value.exp().item<double>();
  };
  for (size_t s = 0; s < streams.size(); ++s) {
    const auto m = static_cast<int64_t>(s);
    StreamExplanation& stream = out.streams[streams[s]];
    stream = describe_stream(
        e, verdict, m, streams, [&] { return opinion_of(e, m, streams, labels); }, quality);
    if (!stream.present) continue;
    at::Tensor support = verdict.support[0][m];
    stream.contribution = (support[answer] - support.mean()).item<double>();
    auto [own, said] = e.log_probabilities[0][m].max(0);
    stream.says = labels[static_cast<size_t>(said.item<int64_t>())];
    stream.says_with = own.exp().item<double>();
    if (const auto less = decide_without(trust, e, m))
      best_of(*less, stream.without, stream.without_confidence);
    best_of(trust.decide(with_exchanged(e, m, answer, runner_up)), stream.otherwise,
            stream.otherwise_confidence);
  }
  return out;
}

std::vector<std::string> Explanation::summary() const {
  std::vector<std::string> out;
  for (const auto& [name, stream] : streams) {
    if (!stream.reasons.empty()) {
      std::string line = name + ": ";
      for (size_t i = 0; i < stream.reasons.size(); ++i)
        line += (i == 0 ? "" : ", ") + stream.reasons[i];
      if (stream.breakage < kDoubtful) line += "; counts all the same";
      out.push_back(line);
    }
  }
  return out;
}

namespace {

Json or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }

/// One label or value of a stream's explanation.
Json write(const PartExplanation& part, TaskKind kind) {
  Json out = kind == TaskKind::kLabels
                 ? Json::object({{"label", part.label}, {"probability", part.says}})
                 : Json::object({{"mean", part.says}, {"low", part.low}, {"high", part.high}});
  out["contribution_nats"] = part.contribution;
  out["without"] = or_null(part.without);
  return out;
}

/// A counterfactual answer: the class by name, of labels those that it gives, of values the means.
Json counterfactual(const std::string& label, double confidence, const StreamExplanation& stream,
                    TaskKind kind) {
  if (kind == TaskKind::kClasses || kind == TaskKind::kOther)
    return Json::object({{"class", label}, {"confidence", confidence}});
  Json answer = Json::array();
  for (const PartExplanation& part : stream.parts) {
    if (kind == TaskKind::kValues) answer.push_back(part.without);
    if (kind == TaskKind::kLabels && part.without >= kLabelThreshold) answer.push_back(part.label);
  }
  return Json::object({{kind == TaskKind::kValues ? "value" : "labels", std::move(answer)},
                       {"confidence", confidence}});
}

}  // namespace

Json Explanation::to_json() const {
  auto text = [](const std::string& name) { return name.empty() ? Json() : Json(name); };
  Json out = Json::object({{"class", text(label)},
                           {"confidence", confidence},
                           {"runner_up", text(runner_up)},
                           {"decided_by", decided_by},
                           {"summary", Json(summary())},
                           {"streams", Json::object({})}});
  for (const auto& [name, s] : streams) {
    if (!s.present) {
      out["streams"][name] = Json();
      continue;
    }
    Json row = Json::object({{"weight", s.weight},
                             {"contribution_nats", s.contribution},
                             {"breakage", s.breakage},
                             {"quality", s.quality},
                             {"says", s.says},
                             {"says_with", s.says_with},
                             {"reasons", Json(s.reasons)}});
    row["without"] =
        s.without.empty() ? Json() : counterfactual(s.without, s.without_confidence, s, kind);
    row["otherwise"] =
        s.otherwise.empty()
            ? Json()
            : Json::object({{"class", s.otherwise}, {"confidence", s.otherwise_confidence}});
    if (!s.parts.empty()) {
      row["parts"] = Json::array();
      for (const PartExplanation& part : s.parts) row["parts"].push_back(write(part, kind));
    }
    out["streams"][name] = std::move(row);
  }
  return out;
}

}  // namespace plait::api
