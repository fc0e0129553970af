#include "plait/api/caption_scores.h"

#include <ATen/ATen.h>

#include <map>

#include "plait/core/error.h"
#include "plait/train/text_metrics.h"

namespace plait::api {
namespace {

/// One score for every item of `rows`: CIDEr-D, or right and wrong.
std::vector<double> scores_of(const CaptionExamples& test, const std::vector<size_t>& rows,
                              const std::vector<std::string>& texts) {
  if (test.examples[rows.front()].question.empty()) {
    std::vector<std::vector<std::string>> candidates;
    std::vector<std::vector<std::vector<std::string>>> references;
    for (size_t row : rows) {
      candidates.push_back(train::caption_words(texts[row]));
      references.push_back({train::caption_words(test.examples[row].answer)});
    }
    return train::cider(candidates, references);
  }
  std::vector<double> right;
  for (size_t row : rows) {
    const bool same =
        train::caption_words(texts[row]) == train::caption_words(test.examples[row].answer);
    right.push_back(same ? 1 : 0);
  }
  return right;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

}  // namespace

std::vector<std::string> retrieved_texts(const CaptionExamples& train,
                                         const at::Tensor& train_features,
                                         const CaptionExamples& test,
                                         const at::Tensor& test_features) {
  auto unit = [](const at::Tensor& features) {
    at::Tensor pooled = features.mean(1);
    return pooled / pooled.norm(2, -1, true).clamp_min(1e-12);
  };
  const at::Tensor alike = at::matmul(unit(test_features), unit(train_features).t());
  std::map<std::string, std::vector<const CaptionExample*>> by_kind;
  for (const CaptionExample& example : train.examples) by_kind[example.kind].push_back(&example);
  std::vector<std::string> out;
  const auto* likeness = alike.const_data_ptr<float>();
  for (const CaptionExample& asked : test.examples) {
    const float* row = likeness + asked.picture * alike.size(1);
    const CaptionExample* best = nullptr;
    bool best_same = false;
    for (const CaptionExample* candidate : by_kind[asked.kind]) {
      const bool same = candidate->question == asked.question;
      if (!best || (same && !best_same) ||
          (same == best_same && row[candidate->picture] > row[best->picture])) {
        best = candidate;
        best_same = same;
      }
    }
    out.push_back(best ? best->answer : "");
  }
  return out;
}

Json judge(const CaptionExamples& test,
           const std::vector<std::pair<std::string, std::vector<std::string>>>& systems,
           uint64_t seed) {
  std::map<std::string, std::vector<size_t>> groups;
  for (size_t i = 0; i < test.examples.size(); ++i) {
    const CaptionExample& example = test.examples[i];
    const std::string source = test.sources[static_cast<size_t>(example.picture)];
    groups[source + "/" + example.kind].push_back(i);
    if (!example.question.empty()) groups[source + "/questions"].push_back(i);
  }
  Json out = Json::object({});
  for (const auto& [name, rows] : groups) {
    Json row = Json::object({{"items", rows.size()}, {"scores", Json::object({})}});
    row["measure"] = test.examples[rows.front()].question.empty() ? "cider" : "accuracy";
    std::vector<double> first;
    for (const auto& [system, texts] : systems) {
      const std::vector<double> scores = scores_of(test, rows, texts);
      row["scores"][system] = mean(scores);
      if (first.empty()) {
        first = scores;
        continue;
      }
      const train::PairedDifference gap = train::paired_bootstrap(first, scores, seed);
      row["against"][system] = Json::object(
          {{"difference", gap.difference}, {"low", gap.low}, {"high", gap.high}, {"p", gap.p}});
    }
    out[name] = row;
  }
  return out;
}

}  // namespace plait::api
