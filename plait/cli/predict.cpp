#include <sys/stat.h>

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
  for (size_t i = 0; i < p.value.size(); ++i)
    std::printf("value      %.4g ± %.2g\n", p.value[i], p.value_std[i]);
  if (p.label.empty() && !p.embedding.empty())
    std::printf("embedding  %zu numbers (--json prints them)\n", p.embedding.size());
  std::printf("\n");
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, weight] : p.modality_weights) {
    auto quality = p.quality.find(name);
    rows.push_back({name, bar(weight), format("%.0f %%", 100 * weight),
                    quality == p.quality.end() ? "missing" : format("%.2f", quality->second)});
  }
  print_table({"input", "weight", "", "quality"}, rows);
  std::printf("\n%.0f ms, model %s\n", p.latency_ms, p.model_version.c_str());
  return 0;
}

}  // namespace plait::cli
