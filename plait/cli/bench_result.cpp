#include "plait/cli/bench_result.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "plait/core/file.h"

namespace plait::cli {

Spread spread_of(const std::vector<double>& values, bool high_is_good) {
  Spread s{.values = values};
  for (double v : values) s.mean += v / static_cast<double>(values.size());
  for (double v : values) s.sd += (v - s.mean) * (v - s.mean);
  s.sd = values.size() > 1 ? std::sqrt(s.sd / static_cast<double>(values.size() - 1)) : 0;
  s.worst = high_is_good ? *std::min_element(values.begin(), values.end())
                         : *std::max_element(values.begin(), values.end());
  return s;
}

Json to_json(const Spread& s) {
  // Five digits: the files are committed, and no figure here is known better.
  auto rounded = [](double x) { return std::round(x * 1e5) / 1e5; };
  Json::Array values;
  for (double v : s.values) values.emplace_back(rounded(v));
  return Json::object({{"mean", rounded(s.mean)},
                       {"sd", rounded(s.sd)},
                       {"worst", rounded(s.worst)},
                       {"values", Json(std::move(values))}});
}

std::string percent(const Json& spread) {
  char text[64];
  std::snprintf(text, sizeof text, "%.1f ± %.1f", 100 * spread.at("mean").as_double(),
                100 * spread.at("sd").as_double());
  return text;
}

void write_files(const Json& result, const std::string& markdown, const std::string& output,
                 const std::string& name) {
  std::filesystem::create_directories(output);
  result.write(output + "/" + name + ".json");
  write_file_atomic(output + "/" + name + ".md", markdown);
}

}  // namespace plait::cli
