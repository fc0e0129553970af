#include <sys/stat.h>

#include <algorithm>
#include <cstdio>

#include "plait/api/multimodal_model.h"
#include "plait/cli/commands.h"
#include "plait/cli/gallery.h"
#include "plait/cli/terminal.h"
#include "plait/core/error.h"
#include "plait/core/join.h"

namespace plait::cli {
namespace {

bool is_file(const std::string& path) {
  struct stat info {};
  return path.size() < 4096 && ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

/// "name=value" → the value for its modality: a file when there is one of that name; text is taken
/// as it stands otherwise.
Value parse_value(const std::string& value, const std::string& stream, Modality modality) {
  if (is_file(value)) return Path{value};
  if (modality == Modality::kText) return value;
  if (modality == Modality::kTable && !value.empty() && (value[0] == '{' || value[0] == '['))
    return Json::parse(value, "--" + stream);
  fail(ErrorCode::kNotFound, "predict",
       "expected a file for the stream \"" + stream + "\", found none at " + value);
}

std::string bar(double share) {
  std::string out;
  for (int i = 0; i < 20; ++i) out += i < static_cast<int>(share * 20 + 0.5) ? "█" : "·";
  return out;
}

/// "+3.1 ▐███" to the right for the answer, to the left against it; one block is half a nat.
std::string signed_bar(double nats) {
  std::string left, right;
  for (int i = 5; i >= 1; --i) left += nats <= -0.5 * i ? "█" : " ";
  for (int i = 1; i <= 10; ++i) right += nats >= 0.5 * i ? "█" : " ";
  return left + "▏" + right;
}

std::string with_chance(const std::string& answer, double confidence) {
  return answer.empty() ? "–" : answer + format(" (%.0f %%)", 100 * confidence);
}

/// What a stream says of every label, and the nats that it adds for the answer.
void print_labels(const api::Explanation& e) {
  std::vector<std::string> header = {"label"};
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, s] : e.streams) {
    if (!s.present) continue;
    header.push_back(name);
    header.push_back("nats");
    rows.resize(s.parts.size());
    for (size_t k = 0; k < s.parts.size(); ++k) {
      if (rows[k].empty()) rows[k].push_back(s.parts[k].label);
      rows[k].push_back(format("%.0f %%", 100 * s.parts[k].says));
      rows[k].push_back(format("%+.1f", s.parts[k].contribution));
    }
  }
  std::printf("\n");
  print_table(header, rows);
}

/// "12.5 in [11.9, 13.2], …": the stream's own means and intervals.
std::string own_values(const api::StreamExplanation& s) {
  std::string out;
  for (const api::PartExplanation& part : s.parts) {
    out += (out.empty() ? "" : ", ") + format("%.5g in [", part.says) + format("%.5g, ", part.low) +
           format("%.5g]", part.high);
  }
  return out;
}

void print_explanation(const api::Explanation& e) {
  const bool choice = !e.runner_up.empty();
  if (choice) {
    std::printf("\nWhy %s rather than %s (decided by %s)\n\n", e.label.c_str(), e.runner_up.c_str(),
                e.decided_by.c_str());
  } else {
    std::printf("\nWhy this answer (decided by %s)\n\n", e.decided_by.c_str());
  }
  std::vector<std::string> header = {"input", "nats", "", "misleads", "says", "without it"};
  if (choice) header.push_back("had it said " + e.runner_up.substr(0, 20));
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, s] : e.streams) {
    if (!s.present) continue;
    rows.push_back(
        {name, format("%+.1f", s.contribution), signed_bar(s.contribution),
         format("%.0f %%", 100 * s.breakage),
         e.kind == api::TaskKind::kValues ? own_values(s) : with_chance(s.says, s.says_with),
         with_chance(s.without, s.without_confidence)});
    if (choice) rows.back().push_back(with_chance(s.otherwise, s.otherwise_confidence));
  }
  print_table(header, rows);
  if (e.kind == api::TaskKind::kLabels) print_labels(e);
  for (const std::string& line : e.summary()) std::printf("\n%s", line.c_str());
  if (!e.summary().empty()) std::printf("\n");
}

/// Labels of the prediction set that may be absent too.
std::vector<std::string> only_possible(const api::Prediction& p) {
  std::vector<std::string> out;
  for (const std::string& label : p.prediction_set) {
    if (std::count(p.sure_labels->begin(), p.sure_labels->end(), label) == 0) out.push_back(label);
  }
  return out;
}

/// The best of a gallery; those of the prediction set are marked.
void print_ranking(const api::Prediction& p, double coverage) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < p.ranking.size(); ++i) {
    rows.push_back({std::to_string(i + 1), p.ranking_names[i].substr(0, 60),
                    format("%.1f %%", 100 * p.ranking_scores[i]),
                    i < p.prediction_set.size() ? "in set" : ""});
  }
  print_table({"rank", "found", "chance", ""}, rows);
  std::printf("\n%.0f %% set: the first %zu\n", 100 * coverage, p.prediction_set.size());
}

}  // namespace

int predict(const PredictArgs& args) {
  api::ModelOptions options;
  options.backend = args.backend;
  options.dtype = args.dtype;
  options.untrained = args.untrained;
  auto model = api::MultimodalModel::from_pretrained(args.model, options);
  std::map<std::string, Value> streams;
  for (const std::string& given : args.streams) {
    size_t equals = given.find('=');
    if (equals == std::string::npos || equals == 0) {
      fail(ErrorCode::kInvalidArgument, "predict",
           "expected --stream NAME=VALUE, got \"" + given.substr(0, 40) + "\"");
    }
    std::string name = given.substr(0, equals);
    model->processor(name);
    streams[name] = parse_value(given.substr(equals + 1), name, model->network().modality(name));
  }
  api::PredictOptions how;
  how.task = args.task;
  how.coverage = args.coverage;
  how.risk = args.risk;
  how.class_conditional = args.class_conditional;
  how.explain = args.explain;
  how.early_exit = args.early_exit;
  how.early_exit_loss = args.early_exit_loss;
  how.max_multiply_adds = args.max_multiply_adds;
  how.max_latency_ms = args.max_latency_ms;
  how.labels = args.labels;
  if (!args.gallery.empty()) {
    how.task = search_task(*model, args.task);
    Gallery gallery = read_gallery(*model, how.task, args.gallery);
    how.gallery = std::move(gallery.embeddings);
    how.gallery_names = std::move(gallery.names);
  }
  api::Prediction p = model->predict(streams, how);
  const size_t shown = std::min(p.ranking.size(), static_cast<size_t>(args.top));
  p.ranking.resize(shown);
  p.ranking_scores.resize(shown);
  p.ranking_names.resize(shown);
  if (args.json) {
    std::printf("%s\n", p.to_json().dump().c_str());
    return 0;
  }
  if (!p.label.empty()) {
    std::printf("%s   (confidence %.1f %%%s)\n", p.label.c_str(), 100 * p.confidence,
                p.abstain ? ", abstains" : "");
    std::printf("%.0f %% set  {%s}\n", 100 * args.coverage, join(p.prediction_set).c_str());
  }
  if (p.labels) {
    std::string all;
    for (const std::string& label : *p.labels)
      all += (all.empty() ? "" : ", ") + label + format(" (%.0f %%)", 100 * p.scores.at(label));
    std::printf("%s   (all right with %.1f %%%s)\n", all.empty() ? "no label" : all.c_str(),
                100 * p.confidence, p.abstain ? ", abstains" : "");
    if (p.sure_labels)
      std::printf("%.0f %% sets   present {%s}   may be {%s}\n", 100 * args.coverage,
                  join(*p.sure_labels).c_str(), join(only_possible(p)).c_str());
  }
  if (!p.ranking.empty()) print_ranking(p, args.coverage);
  for (size_t i = 0; i < p.value.size(); ++i) {
    std::printf("value      %.5g ± %.2g", p.value[i], p.value_std[i]);
    if (!p.value_low.empty())
      std::printf("   %.0f %% in [%.5g, %.5g]", 100 * args.coverage, p.value_low[i],
                  p.value_high[i]);
    std::printf("%s\n", p.abstain ? "   (abstains)" : "");
  }
  if (p.label.empty() && p.ranking.empty() && !p.embedding.empty())
    std::printf("embedding  %zu numbers (--json prints them)\n", p.embedding.size());
  std::printf("\n");
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, weight] : p.modality_weights) {
    auto quality = p.quality.find(name);
    const bool skipped = std::find(p.skipped.begin(), p.skipped.end(), name) != p.skipped.end();
    rows.push_back({name, bar(weight), format("%.0f %%", 100 * weight),
                    quality != p.quality.end() ? format("%.2f", quality->second)
                    : skipped                  ? "skipped"
                                               : "missing"});
  }
  print_table({"input", "weight", "", "quality"}, rows);
  if (p.explanation) print_explanation(p.explain());
  if (!p.skipped.empty())
    std::printf("\n%.0f %% of the encoders' multiply-adds were spent\n", 100 * p.compute_share);
  std::printf("\n%.0f ms, model %s\n", p.latency_ms, p.model_version.c_str());
  return 0;
}

}  // namespace plait::cli
