#include "plait/api/model_card.h"

#include <sstream>

#include "plait/api/size_encoders.h"
#include "plait/api/task_targets.h"

namespace plait::api {
namespace {

const std::string kHeldOut = "Held-out items, seed ";

/// A table of a task of values or labels: what was measured, by condition.
std::string question_figures(const Recipe& recipe, const Json& figures) {
  const bool values = figures.contains("rmse");
  const std::vector<std::string> metrics =
      values ? std::vector<std::string>{"rmse", "r2", "coverage", "interval_width"}
      : figures.contains("undecided")
          ? std::vector<std::string>{"micro_f1", "exact_match", "brier", "coverage", "undecided"}
          : std::vector<std::string>{"micro_f1", "exact_match", "brier"};
  std::string head = "| condition |", line = "|---|", rows;
  for (const std::string& metric : metrics) head += " " + metric + " |", line += "---|";
  for (const auto& [condition, first] : figures.at(metrics.front()).members()) {
    rows += "| " + condition + " |";
    for (const std::string& metric : metrics) {
      const Json* found = figures.find(metric);
      const Json* value = found ? found->find(condition) : nullptr;
      char text[32] = " – |";
      if (value) std::snprintf(text, sizeof text, " %.4g |", value->as_double());
      rows += text;
    }
    rows += "\n";
  }
  return kHeldOut + std::to_string(recipe.seed) +
         (values ? " (intervals for 90 %, their width in deviations of the values)" : "") +
         ":\n\n" + head + "\n" + line + "\n" + rows;
}

/// What was measured on held-out items, or nothing.
std::string held_out_table(const Recipe& recipe, const Json& figures) {
  std::ostringstream out;
  if (figures.contains("accuracy") && figures.contains("ece")) {
    out << kHeldOut << recipe.seed << ":\n\n| condition | accuracy | ECE |\n|---|---|---|\n";
    for (const auto& [condition, accuracy] : figures.at("accuracy").members()) {
      char line[160];
      std::snprintf(line, sizeof line, "| %s | %.1f %% | %.1f %% |\n", condition.c_str(),
                    100 * accuracy.as_double(), 100 * figures.at("ece").at(condition).as_double());
      out << line;
    }
  }
  if (figures.contains("rmse") || figures.contains("micro_f1"))
    out << question_figures(recipe, figures);
  return out.str();
}

}  // namespace

std::string make_card(const MultimodalModel& model, const Recipe& recipe,
                      const data::DatasetInfo& info, const Json& figures) {
  std::ostringstream out;
  out << "# A Plait model\n\nStreams: ";
  for (const std::string& name : model.network().stream_names()) {
    const Json& encoder = model.config().at("streams").at(name).at("encoder");
    out << "`" << name << "` (" << to_string(model.network().modality(name)) << ", "
        << encoder.get("type", "") << ") ";
  }
  out << "\n\nFusion: " << model.config().at("fusion").get("type", "") << ". Data: " << info.name
      << " (" << info.description << "). Licence of the data: " << info.licence << ".\n\n";
  out << held_out_table(recipe, figures);
  if (const Json* retrieval = figures.find("retrieval")) {
    for (const auto& [task, pairs] : retrieval->members()) {
      out << "\nRetrieval in the shared space (`" << task
          << "`), held-out items:\n\n| from → to | recall@1 | recall@10 | items "
             "|\n|---|---|---|---|\n";
      for (const auto& [pair, m] : pairs.members()) {
        char line[160];
        std::snprintf(line, sizeof line, "| %s | %.1f %% | %.1f %% | %.0f |\n", pair.c_str(),
                      100 * m.at("recall@1").as_double(), 100 * m.at("recall@10").as_double(),
                      m.at("n").as_double());
        out << line;
      }
    }
  }
  const auto plan = plan_table(model.config());
  if (!plan.empty()) {
    out << "\n## Compute\n\nEncoders were sized so that each stream costs its share of the "
           "multiply-adds";
    if (model.config().at("compute").contains("importance"))
      out << ", which follows the errors that it removes";
    out << ".\n\n| stream | asked % | planned % | realised % | million multiply-adds | before | "
           "changed |\n|---|---|---|---|---|---|---|\n";
    for (const auto& row : plan) {
      for (const std::string& cell : row) out << "| " << cell << " ";
      out << "|\n";
    }
  }
  return with_trust_section(out.str(), model);
}

std::string with_figures(const std::string& card, const Recipe& recipe, const Json& figures) {
  const std::string table_now = held_out_table(recipe, figures);
  const size_t start = card.find(kHeldOut);
  if (start == std::string::npos || table_now.empty()) return card;
  // The heading, an empty line, the table.
  const size_t table = card.find("\n\n", start);
  size_t end = table == std::string::npos ? table : card.find("\n\n", table + 2);
  if (end == std::string::npos) end = card.size() - 1;
  return card.substr(0, start) + table_now + card.substr(end + 1);
}

std::string with_trust_section(const std::string& card, const MultimodalModel& model) {
  const std::string title = "\n## Trust\n";
  std::ostringstream out;
  out << card.substr(0, card.find(title));
  std::string section;
  for (const std::string& task : model.network().task_names()) {
    auto trust = model.trust(task);
    if (!trust) continue;
    const bool classes = kind_of(model.network().task_config(task)) == TaskKind::kClasses;
    section += "\nTask `" + task +
               "`: the trust fusion answers, but for the streams below. There its " +
               (classes ? "accuracy" : "ranked probability score") +
               ", on clean or damaged calibration items, was not shown to be as good as another's "
               "(the difference is in " +
               (classes ? "points of errors" : "hundredths of what the prior loses") +
               ", with its one-sided 95 % bound).\n\n"
               "| streams | answered by | compared with | clean | bank | copies "
               "|\n|---|---|---|---|---|---|\n";
    bool any = false;
    for (const auto& [group, choice] : trust->choices()) {
      if (choice.decider == models::Decider::kTrust) continue;
      any = true;
      for (const Json& c : choice.comparisons.items()) {
        auto cell = [&](const char* which) {
          const Json* found = c.find(which);
          if (!found) return std::string("–");
          char text[96];
          std::snprintf(
              text, sizeof text, "%+.1f (≤ %+.1f)%s", 100 * found->at("difference").as_double(),
              100 * found->at("upper").as_double(), found->at("holds").as_bool() ? "" : " **");
          return std::string(text);
        };
        section += "| " + trust->group_name(group) + " | " + models::to_string(choice.decider) +
                   " | " + c.at("with").as_string() + " | " + cell("clean") + " | " +
                   cell("damaged") + " | " + cell("copies") + " |\n";
      }
    }
    if (!any) section += "| (nowhere) | | | | | |\n";
    const models::Route& route = trust->route();
    std::string lines;
    for (const models::Route::Stop& stop : route.stops) {
      char text[128];
      if (stop.threshold > 1) continue;
      std::snprintf(text, sizeof text, "| %g | %.0f | %.1f |\n", 100 * stop.loss,
                    100 * stop.expected_cost, 100 * stop.expected_accuracy);
      lines += text;
    }
    if (!lines.empty()) {
      char text[256];
      std::snprintf(text, sizeof text,
                    "\nEarly exit, on clean calibration items (in full: %.1f %% right):\n\n"
                    "| may lose, points | multiply-adds of the encoders %% | right %% |\n"
                    "|---|---|---|\n",
                    100 * route.full_accuracy);
      section += text + lines;
    }
  }
  if (!section.empty()) out << title << section;
  return out.str();
}

}  // namespace plait::api
