#include "plait/api/stream_doubts.h"

#include <ATen/ATen.h>

#include <cstdio>

#include "plait/models/trust/evidence.h"

namespace plait::api {
namespace {

constexpr double kPoorSignal = 0.2;  ///< Quality below which they are, whatever the gates say
constexpr double kPoorPart = 0.5;    ///< Quality parts below it are named
constexpr double kUnlikely = 0.02;   ///< p-values below it are named
constexpr double kTorn = -1;  ///< Nats of consistency below which two streams do not go together

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

/// Whether to look for reasons at all: the stream may mislead, or its signal is poor.
bool is_doubted(const models::Evidence& e, int64_t m, double breakage) {
  return breakage >= kDoubtful || e.quality[0][m].item<double>() < kPoorSignal;
}

/// Reasons to trust stream m less; empty: nothing was found. `quality` null: not known in detail.
std::vector<std::string> doubts_of(const models::Evidence& e, int64_t m,
                                   const std::vector<std::string>& streams, const Opinion& opinion,
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
  if (!opinion.against.empty())
    out.push_back("says " + opinion.says + ", disagrees with " + join(opinion.against));
  std::vector<std::string> torn;
  for (int64_t other = 0; other < e.present.size(1); ++other) {
    if (other == m || !e.present[0][other].item<bool>()) continue;
    if (e.consistency[0][m][other].item<double>() < kTorn)
      torn.push_back(streams[static_cast<size_t>(other)]);
  }
  if (!torn.empty()) out.push_back("does not go together with " + join(torn));
  if (opinion.unsure) out.push_back("unsure by itself");
  return out;
}

}  // namespace

StreamExplanation describe_stream(const models::Evidence& e,
                                  const models::TrustModel::Verdict& verdict, int64_t m,
                                  const std::vector<std::string>& streams,
                                  const std::function<Opinion()>& opinion,
                                  const std::map<std::string, models::Quality>& quality) {
  StreamExplanation out;
  out.present = e.present[0][m].item<bool>();
  if (!out.present) return out;
  out.quality = e.quality[0][m].item<double>();
  out.weight = verdict.weights[0][m].item<double>();
  out.breakage = verdict.breakage[0][m].item<double>();
  if (!is_doubted(e, m, out.breakage)) return out;
  auto known = quality.find(streams[static_cast<size_t>(m)]);
  out.reasons =
      doubts_of(e, m, streams, opinion(), known == quality.end() ? nullptr : &known->second);
  return out;
}

std::optional<models::TrustModel::Verdict> decide_without(const models::TrustModel& trust,
                                                          const models::Evidence& e, int64_t m) {
  at::Tensor others = e.present.clone();
  others[0][m].fill_(false);
  if (!others.any().item<bool>()) return std::nullopt;
  return trust.decide(models::restrict_to(e, others));
}

}  // namespace plait::api
