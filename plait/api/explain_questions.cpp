// Explanations of answers that are not one class: labels and values.
#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <limits>

#include "plait/api/explanation.h"
#include "plait/api/stream_doubts.h"
#include "plait/core/error.h"
#include "plait/core/join.h"
#include "plait/models/trust/answers.h"
#include "plait/models/trust/questions.h"

namespace plait::api {
namespace {

using models::Evidence;
using models::TrustModel;

constexpr double kSureOfLabel = 0.8;  ///< Probability from which a stream is sure of one label
constexpr double kHardlyMore = 0.7;   ///< Mean probability below which it is unsure of them all
constexpr double kFarApart = 2;       ///< Deviations between means that contradict each other
constexpr double kWide = 0.9;         ///< Own deviation, in the targets', that tells nothing
constexpr size_t kMostNamed = 3;      ///< Labels in one sentence

std::string number(double value) {
  char out[32];
  std::snprintf(out, sizeof out, "%.5g", value);
  return out;
}

/// What a kind of answer needs beyond what is alike for all.
class Questions {
 public:
  virtual ~Questions() = default;
  /// Answers [Q] of log probabilities [K]: probabilities of labels, means of values.
  virtual std::vector<double> answers(const at::Tensor& logs) const = 0;
  virtual std::string in_words(const std::vector<double>& answers) const = 0;
  /// Nats [Q] of support [K] for the answer.
  virtual std::vector<double> contributions(const at::Tensor& support,
                                            const std::vector<double>& answers) const = 0;
  /// Label and interval of every part, of the stream's own log probabilities [K].
  virtual void describe(std::vector<PartExplanation>& parts, const at::Tensor& logs) const = 0;
  virtual Opinion opinion(const Evidence& e, int64_t m,
                          const std::vector<std::string>& streams) const = 0;
};

std::vector<double> numbers(const at::Tensor& x) {
  at::Tensor flat = x.to(at::kDouble).flatten().contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

class LabelQuestions : public Questions {
 public:
  explicit LabelQuestions(const std::vector<std::string>& labels) : labels_(labels) {}

  std::vector<double> answers(const at::Tensor& logs) const override {
    return numbers(at::softmax(logs.to(at::kDouble).view({-1, 2}), -1).select(1, 1));
  }

  std::string in_words(const std::vector<double>& answers) const override {
    std::vector<std::string> given;
    for (size_t k = 0; k < labels_.size(); ++k) {
      if (answers[k] >= kLabelThreshold) given.push_back(labels_[k]);
    }
    return given.empty() ? "no label" : join(given);
  }

  std::vector<double> contributions(const at::Tensor& support,
                                    const std::vector<double>& answers) const override {
    at::Tensor each = support.view({-1, 2});
    std::vector<double> out = numbers(each.select(1, 1) - each.select(1, 0));
    for (size_t k = 0; k < out.size(); ++k) {
      if (answers[k] < kLabelThreshold) out[k] = -out[k];
    }
    return out;
  }

  void describe(std::vector<PartExplanation>& parts, const at::Tensor&) const override {
    for (size_t k = 0; k < parts.size(); ++k) parts[k].label = labels_[k];
  }

  Opinion opinion(const Evidence& e, int64_t m,
                  const std::vector<std::string>& streams) const override {
    Opinion out;
    const std::vector<double> own = answers(e.log_probabilities[0][m]);
    double sure = 0;
    for (double p : own) sure += std::max(p, 1 - p) / static_cast<double>(own.size());
    out.unsure = sure < kHardlyMore;
    std::vector<bool> contested(own.size(), false);
    for (int64_t other = 0; other < e.present.size(1); ++other) {
      if (other == m || !e.present[0][other].item<bool>()) continue;
      const std::vector<double> theirs = answers(e.log_probabilities[0][other]);
      bool against = false;
      for (size_t k = 0; k < own.size(); ++k) {
        const bool torn = (own[k] >= kSureOfLabel && theirs[k] <= 1 - kSureOfLabel) ||
                          (own[k] <= 1 - kSureOfLabel && theirs[k] >= kSureOfLabel);
        contested[k] = contested[k] || torn;
        against = against || torn;
      }
      if (against) out.against.push_back(streams[static_cast<size_t>(other)]);
    }
    std::vector<std::string> said;
    for (size_t k = 0; k < own.size(); ++k) {
      if (contested[k]) said.push_back((own[k] >= kLabelThreshold ? "" : "not ") + labels_[k]);
    }
    if (said.size() > kMostNamed) {
      said.resize(kMostNamed);
      said.push_back("…");
    }
    out.says = join(said);
    return out;
  }

 private:
  const std::vector<std::string>& labels_;
};

class ValueQuestions : public Questions {
 public:
  ValueQuestions(const models::TrustFusion& fusion, double coverage)
      : fusion_(fusion), grid_(*fusion.grid()), coverage_(coverage) {}

  std::vector<double> answers(const at::Tensor& logs) const override {
    return numbers(grid_.mean(logs.unsqueeze(0)));
  }

  std::string in_words(const std::vector<double>& answers) const override {
    std::vector<std::string> parts;
    for (double value : answers) parts.push_back(number(value));
    return join(parts);
  }

  std::vector<double> contributions(const at::Tensor& support,
                                    const std::vector<double>& answers) const override {
    at::Tensor places = grid_.bins_of(at::tensor(answers, at::kDouble).unsqueeze(0)).view({-1, 1});
    at::Tensor each = support.to(at::kDouble).view({grid_.values(), grid_.bins()});
    at::Tensor prior = fusion_.log_prior().to(at::kDouble).exp().view_as(each);
    return numbers(each.gather(1, places).squeeze(1) - (each * prior).sum(1));
  }

  void describe(std::vector<PartExplanation>& parts, const at::Tensor& logs) const override {
    auto at_level = [&](double level) {
      return numbers(
          grid_.quantile(logs.unsqueeze(0), at::full({1, grid_.values()}, level, at::kDouble)));
    };
    const std::vector<double> low = at_level((1 - coverage_) / 2),
                              high = at_level((1 + coverage_) / 2);
    for (size_t r = 0; r < parts.size(); ++r) parts[r].low = low[r], parts[r].high = high[r];
  }

  Opinion opinion(const Evidence& e, int64_t m,
                  const std::vector<std::string>& streams) const override {
    auto look = [&](int64_t stream) {
      at::Tensor logs = e.log_probabilities[0][stream].unsqueeze(0);
      return std::pair(grid_.mean(logs), grid_.deviation(logs));
    };
    const auto [mean, deviation] = look(m);
    Opinion out;
    out.says = in_words(numbers(mean));
    out.unsure = (deviation > kWide * grid_.scale()).all().item<bool>();
    for (int64_t other = 0; other < e.present.size(1); ++other) {
      if (other == m || !e.present[0][other].item<bool>()) continue;
      const auto [theirs, width] = look(other);
      at::Tensor apart = (mean - theirs).abs() / (deviation.square() + width.square()).sqrt();
      if ((apart > kFarApart).any().item<bool>())
        out.against.push_back(streams[static_cast<size_t>(other)]);
    }
    return out;
  }

 private:
  const models::TrustFusion& fusion_;
  const models::ValueGrid& grid_;
  double coverage_;
};

double confidence_of(const TrustModel& trust, const at::Tensor& logs) {
  return models::confidence_of(trust.fusion(), logs).item<double>();
}

Explanation explain_each(const TrustModel& trust, const Evidence& e, const at::Tensor& joint,
                         const Questions& questions,
                         const std::map<std::string, models::Quality>& quality) {
  require(e.present.size(0) == 1, "explain", "expected one item");
  const auto& streams = trust.fusion().config().streams;
  Explanation out;
  const TrustModel::Verdict verdict = trust.decide(e, joint);
  const std::vector<double> answer = questions.answers(verdict.log_probabilities[0]);
  out.confidence = trust.confidence(verdict).item<double>();
  out.decided_by = models::to_string(verdict.deciders[0]);
  for (size_t s = 0; s < streams.size(); ++s) {
    const auto m = static_cast<int64_t>(s);
    StreamExplanation& stream = out.streams[streams[s]];
    stream = describe_stream(
        e, verdict, m, streams, [&] { return questions.opinion(e, m, streams); }, quality);
    if (!stream.present) continue;
    at::Tensor own = e.log_probabilities[0][m];
    const std::vector<double> says = questions.answers(own);
    stream.says = questions.in_words(says);
    stream.says_with = confidence_of(trust, own.unsqueeze(0));
    const std::vector<double> nats = questions.contributions(verdict.support[0][m], answer);
    std::vector<double> without(says.size(), std::numeric_limits<double>::quiet_NaN());
    if (const auto less = decide_without(trust, e, m)) {
      without = questions.answers(less->log_probabilities[0]);
      stream.without = questions.in_words(without);
      stream.without_confidence = trust.confidence(*less).item<double>();
    }
    for (size_t q = 0; q < says.size(); ++q) {
      PartExplanation part;
      part.says = says[q];
      part.contribution = nats[q];
      part.without = without[q];
      stream.contribution += nats[q];
      stream.parts.push_back(std::move(part));
    }
    questions.describe(stream.parts, own);
  }
  return out;
}

}  // namespace

Explanation explain_labels(const TrustModel& trust, const Evidence& e, const at::Tensor& joint,
                           const std::vector<std::string>& labels,
                           const std::map<std::string, models::Quality>& quality) {
  require(trust.fusion().grid() == nullptr &&
              trust.fusion().options() == 2 * static_cast<int64_t>(labels.size()),
          "explain", "expected a trust fusion of these labels");
  Explanation out = explain_each(trust, e, joint, LabelQuestions(labels), quality);
  out.kind = TaskKind::kLabels;
  return out;
}

Explanation explain_values(const TrustModel& trust, const Evidence& e, const at::Tensor& joint,
                           double coverage, const std::map<std::string, models::Quality>& quality) {
  require(trust.fusion().grid() != nullptr && coverage > 0 && coverage < 1, "explain",
          "expected a trust fusion of values, and a coverage between 0 and 1");
  Explanation out =
      explain_each(trust, e, joint, ValueQuestions(trust.fusion(), coverage), quality);
  out.kind = TaskKind::kValues;
  return out;
}

}  // namespace plait::api
