#include "plait/api/explanation.h"

#include <ATen/ATen.h>

#include <cstdio>

#include "plait/core/error.h"
#include "plait/models/trust/evidence.h"

namespace plait::api {
namespace {

using models::Evidence;
using models::TrustModel;

constexpr double kDoubtful = 0.3;    ///< Breakage from which reasons are looked for
constexpr double kPoorSignal = 0.2;  ///< Quality below which they are, whatever the gates say
constexpr double kPoorPart = 0.5;    ///< Quality parts below it are named
constexpr double kUnlikely = 0.02;   ///< p-values below it are named
constexpr double kTorn = -1;   ///< Nats of consistency below which two streams do not go together
constexpr double kSure = 0.5;  ///< Probability from which a stream's answer counts as one

std::string text(const char* format, double value) {
  char out[96];
  std::snprintf(out, sizeof out, format, value);
  return out;
}

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size(); ++i)
    out += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + names[i];
  return out;
}

/// A poor part of the signal's quality, in words.
std::string poor_part(const std::string& part, double value, const models::Quality& quality) {
  auto snr = quality.measures.find("snr_db");
  if (part == "noise" && snr != quality.measures.end())
    return text("noisy, %.0f dB over the floor", snr->second);
  static const std::map<std::string, const char*> kWords{{"noise", "noisy"},
                                                         {"sharpness", "blurred"},
                                                         {"exposure", "badly exposed"},
                                                         {"entropy", "little to see"},
                                                         {"compression", "strongly compressed"},
                                                         {"occlusion", "partly covered"},
                                                         {"reverberation", "reverberant"},
                                                         {"clipping", "clipped"},
                                                         {"dropout", "drops out"},
                                                         {"level", "very quiet"},
                                                         {"silence", "mostly silence"},
                                                         {"bandwidth", "narrow band"},
                                                         {"stuck", "stuck values"},
                                                         {"spikes", "spikes"},
                                                         {"drift", "drifts"},
                                                         {"order", "words out of order"},
                                                         {"words", "unknown words"},
                                                         {"completeness", "not a sentence"},
                                                         {"complexity", "hardly any words"}};
  auto word = kWords.find(part);
  return (word == kWords.end() ? part : word->second) + text(" (%.2f)", value);
}

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

std::vector<std::string> reasons_of(const Evidence& e, int64_t m,
                                    const std::vector<std::string>& streams,
                                    const std::vector<std::string>& labels,
                                    const models::Quality* quality) {
  std::vector<std::string> out;
  if (quality) {
    for (const auto& [part, value] : quality->parts) {
      if (value < kPoorPart) out.push_back(poor_part(part, value, *quality));
    }
  }
  const double p = e.p_value[0][m].item<double>();
  if (e.excess[0][m].item<double>() > 0) {
    out.push_back("unlike anything seen, clean or damaged");
  } else if (p < kUnlikely) {
    out.push_back(text("unusual features (p = %.3f)", p));
  }
  const auto own = e.log_probabilities[0][m].argmax().item<int64_t>();
  const double sure = e.log_probabilities[0][m][own].exp().item<double>();
  std::vector<std::string> against, torn;
  for (int64_t other = 0; other < e.present.size(1); ++other) {
    if (other == m || !e.present[0][other].item<bool>()) continue;
    const auto theirs = e.log_probabilities[0][other].argmax().item<int64_t>();
    if (theirs != own && sure >= kSure) against.push_back(streams[static_cast<size_t>(other)]);
    if (e.consistency[0][m][other].item<double>() < kTorn)
      torn.push_back(streams[static_cast<size_t>(other)]);
  }
  if (!against.empty())
    out.push_back("says " + labels[static_cast<size_t>(own)] + ", disagrees with " + join(against));
  if (!torn.empty()) out.push_back("does not go together with " + join(torn));
  if (sure < kSure) out.push_back("unsure by itself");
  return out;
}

}  // namespace

Explanation explain(const TrustModel& trust, const Evidence& e, const at::Tensor& joint,
                    const std::vector<std::string>& labels,
                    const std::map<std::string, models::Quality>& quality) {
  require(e.present.size(0) == 1, "explain", "expected one item");
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
    stream.present = e.present[0][m].item<bool>();
    if (!stream.present) continue;
    stream.weight = verdict.weights[0][m].item<double>();
    at::Tensor support = verdict.support[0][m];
    stream.contribution = (support[answer] - support.mean()).item<double>();
    stream.breakage = verdict.breakage[0][m].item<double>();
    auto [own, said] = e.log_probabilities[0][m].max(0);
    stream.says = labels[static_cast<size_t>(said.item<int64_t>())];
    stream.says_with = own.exp().item<double>();
    auto known = quality.find(streams[s]);
    if (stream.breakage >= kDoubtful || e.quality[0][m].item<double>() < kPoorSignal) {
      stream.reasons =
          reasons_of(e, m, streams, labels, known == quality.end() ? nullptr : &known->second);
    }
    at::Tensor others = e.present.clone();
    others[0][m].fill_(false);
    // The joint path is not run again: the trust fusion answers in its place.
    if (others.any().item<bool>())
      best_of(trust.decide(models::restrict_to(e, others)), stream.without,
              stream.without_confidence);
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

Json Explanation::to_json() const {
  Json out = Json::object({{"class", label},
                           {"confidence", confidence},
                           {"runner_up", runner_up},
                           {"decided_by", decided_by},
                           {"summary", Json(summary())},
                           {"streams", Json::object({})}});
  for (const auto& [name, s] : streams) {
    if (!s.present) {
      out["streams"][name] = Json();
      continue;
    }
    out["streams"][name] = Json::object(
        {{"weight", s.weight},
         {"contribution_nats", s.contribution},
         {"breakage", s.breakage},
         {"says", s.says},
         {"says_with", s.says_with},
         {"reasons", Json(s.reasons)},
         {"without", s.without.empty() ? Json()
                                       : Json::object({{"class", s.without},
                                                       {"confidence", s.without_confidence}})},
         {"otherwise",
          Json::object({{"class", s.otherwise}, {"confidence", s.otherwise_confidence}})}});
  }
  return out;
}

}  // namespace plait::api
