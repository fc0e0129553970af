#include "plait/cli/size_tables.h"

#include "plait/cli/bench_result.h"
#include "plait/cli/fusion_bars.h"
#include "plait/cli/terminal.h"

namespace plait::cli {

Json summarise_sizes(const Json& raw) {
  Json out = raw;
  out["sizes"] = Json::array();
  const auto& seeds = raw.at("sizes").items();
  for (size_t i = 0; i < seeds.front().size(); ++i) {
    Json row = Json::object({{"items", seeds.front().at(i).at("items")}});
    auto of = [&](const char* method) {
      std::vector<double> values;
      for (const Json& seed : seeds) values.push_back(seed.at(i).at(method).as_double());
      return values;
    };
    for (const char* method : {"trust", "best_single", "best_static"})
      row[method] = to_json(spread_of(of(method)));
    auto at_least = [&](const char* method) {
      const std::vector<double> own = of("trust"), other = of(method);
      int count = 0;
      for (size_t s = 0; s < own.size(); ++s) count += own[s] >= other[s];
      return count;
    };
    row["at_least_single"] = at_least("best_single");
    row["at_least_static"] = at_least("best_static");
    out["sizes"].push_back(std::move(row));
  }
  return out;
}

std::string sizes_markdown(const Json& table) {
  const auto seeds = std::to_string(table.at("seeds").size());
  std::string out =
      "# Few training items of " + table.get("dataset", "") +
      "\n\nMade by `plait bench fusion --sizes`. Accuracy on " +
      std::to_string(table.at("test_items").as_int()) +
      " clean held-out items, in %, mean ± standard deviation over " + seeds +
      " seeds, each another split. The best single stream and the best static fusion "
      "are chosen on the same training items, out of fold. Licence of the data: " +
      table.get("licence", "") +
      ".\n\n| training items | trust | best single | best static | seeds with trust "
      "at least the best single | at least the best static |\n|---|---|---|---|---|---|\n";
  for (const Json& row : table.at("sizes").items()) {
    out += "| " + std::to_string(row.at("items").as_int()) + " | " + percent(row.at("trust")) +
           " | " + percent(row.at("best_single")) + " | " + percent(row.at("best_static")) + " | " +
           std::to_string(row.at("at_least_single").as_int()) + " of " + seeds + " | " +
           std::to_string(row.at("at_least_static").as_int()) + " of " + seeds + " |\n";
  }
  return out;
}

Json size_bars(const std::vector<Json>& tables) {
  Json out = Json::array();
  for (const Json& table : tables) {
    for (const Json& row : table.at("sizes").items()) {
      if (row.at("items").as_int() != 200) continue;
      out.push_back(
          bar(table.get("dataset", "") + ": 200 training items, share of seeds at least "
                                         "the best single stream's",
              row.at("at_least_single").as_double() / static_cast<double>(table.at("seeds").size()),
              0.95, true));
    }
  }
  return out;
}

}  // namespace plait::cli
