#include "plait/cli/earlier_rivals.h"

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/train/trust/baselines.h"

namespace plait::cli {
namespace {

bool among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string short_text(const Json& value) {
  std::string text = value.dump();
  return text.size() > 200 ? text.substr(0, 200) + "…" : text;
}

}  // namespace

Json earlier_rivals(const Json& table, const Json& raw, const std::vector<std::string>& own) {
  std::string differs;
  for (const char* key :
       {"dataset", "seeds", "train_items", "test_items", "streams", "conditions", "splits"}) {
    const Json *then = table.find(key), *now = raw.find(key);
    // Tables of before do not say what their splits were.
    if (std::string(key) == "splits" && (!then || !now)) continue;
    if (then && now && *then == *now) continue;
    differs += (differs.empty() ? "" : "; ") + std::string(key) + ": " +
               (then ? short_text(*then) : "none") + " then, " + (now ? short_text(*now) : "none") +
               " now";
  }
  if (!differs.empty())
    fail(ErrorCode::kInvalidArgument, "bench",
         "expected an earlier run on the same splits, got one that differs in " + differs);
  Json out = Json::object({{"methods", Json::object({})}, {"overall", Json::object({})}});
  for (const auto& [method, rows] : table.at("methods").members()) {
    if (!among(train::baseline_names(), method) || among(own, method)) continue;
    for (const std::string& condition : raw.at("conditions").as_strings()) {
      if (rows.at("accuracy").at(condition).at("values").size() != raw.at("seeds").size())
        fail(ErrorCode::kInvalidArgument, "bench",
             "expected an accuracy of " + method + " of every seed under " + condition);
    }
    out["methods"][method] = rows;
    out["overall"][method] = table.at("overall").at(method);
  }
  return out;
}

std::vector<double> accuracies(const Json& raw, const std::string& method,
                               const std::string& condition) {
  std::vector<double> out;
  const Json* earlier = raw.find("earlier");
  if (!earlier || !earlier->at("methods").contains(method)) {
    for (const Json& study : raw.at("studies").items())
      out.push_back(study.at("methods").at(method).at(condition).at("accuracy").as_double());
    return out;
  }
  const Json& rows = earlier->at("methods").at(method).at("accuracy").at(condition).at("values");
  const double items = raw.at("test_items").as_double();
  for (double value : rows.as_doubles()) {
    // A condition may have items of its own, more or fewer; then the digits are all there is.
    const double exact = std::round(value * items) / items;
    out.push_back(std::abs(exact - value) <= 0.5001e-5 ? exact : value);
  }
  return out;
}

std::vector<std::string> all_methods(const Json& raw) {
  std::vector<std::string> out;
  for (const auto& [name, value] : raw.at("studies").items().front().at("methods").members())
    out.push_back(name);
  if (const Json* earlier = raw.find("earlier"))
    for (const auto& [name, value] : earlier->at("methods").members()) out.push_back(name);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace plait::cli
