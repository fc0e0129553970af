#include <sys/stat.h>

#include <algorithm>
#include <cstdio>

#include "plait/api/multimodal_model.h"
#include "plait/cli/commands.h"
#include "plait/cli/terminal.h"
#include "plait/core/error.h"

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
  if (modality == Modality::kTable && !value.empty() && value[0] == '{')
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

void print_explanation(const api::Explanation& e) {
  std::printf("\nWhy %s rather than %s (decided by %s)\n\n", e.label.c_str(), e.runner_up.c_str(),
              e.decided_by.c_str());
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, s] : e.streams) {
    if (!s.present) continue;
    rows.push_back(
        {name, format("%+.1f", s.contribution), signed_bar(s.contribution),
         format("%.0f %%", 100 * s.breakage), s.says + format(" (%.0f %%)", 100 * s.says_with),
         s.without.empty() ? "–" : s.without + format(" (%.0f %%)", 100 * s.without_confidence),
         s.otherwise + format(" (%.0f %%)", 100 * s.otherwise_confidence)});
  }
  print_table({"input", "nats", "", "misleads", "says", "without it",
               "had it said " + e.runner_up.substr(0, 20)},
              rows);
  for (const std::string& line : e.summary()) std::printf("\n%s", line.c_str());
  if (!e.summary().empty()) std::printf("\n");
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
  api::Prediction p = model->predict(streams, how);
  if (args.json) {
    std::printf("%s\n", p.to_json().dump().c_str());
    return 0;
  }
  if (!p.label.empty()) {
    std::printf("%s   (confidence %.1f %%%s)\n", p.label.c_str(), 100 * p.confidence,
                p.abstain ? ", abstains" : "");
    std::string set;
    for (const std::string& label : p.prediction_set) set += (set.empty() ? "" : ", ") + label;
    std::printf("%.0f %% set  {%s}\n", 100 * args.coverage, set.c_str());
  }
  if (p.labels) {
    std::string all;
    for (const std::string& label : *p.labels)
      all += (all.empty() ? "" : ", ") + label + format(" (%.0f %%)", 100 * p.scores.at(label));
    std::printf("%s   (all right with %.1f %%%s)\n", all.empty() ? "no label" : all.c_str(),
                100 * p.confidence, p.abstain ? ", abstains" : "");
  }
  for (size_t i = 0; i < p.value.size(); ++i) {
    std::printf("value      %.5g ± %.2g", p.value[i], p.value_std[i]);
    if (!p.value_low.empty())
      std::printf("   %.0f %% in [%.5g, %.5g]", 100 * args.coverage, p.value_low[i],
                  p.value_high[i]);
    std::printf("%s\n", p.abstain ? "   (abstains)" : "");
  }
  if (p.label.empty() && !p.embedding.empty())
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
