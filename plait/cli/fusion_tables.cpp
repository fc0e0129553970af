#include "plait/cli/fusion_tables.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "plait/cli/bench_result.h"
#include "plait/cli/earlier_rivals.h"
#include "plait/cli/terminal.h"
#include "plait/core/error.h"

namespace plait::cli {
namespace {

/// Rows in the order in which they are read.
const std::vector<std::string> kFirst = {"trust",
                                         "oracle",
                                         "trust_bare",
                                         "best_single",
                                         "best_static",
                                         "mean",
                                         "product",
                                         "tempered_product",
                                         "robust_product",
                                         "logit_mean",
                                         "concatenation",
                                         "concatenation_dropout",
                                         "concatenation_augmented"};

std::vector<std::string> in_order(std::vector<std::string> names) {
  auto place = [](const std::string& name) {
    return std::find(kFirst.begin(), kFirst.end(), name) - kFirst.begin();
  };
  std::sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    return std::pair(place(a), a) < std::pair(place(b), b);
  });
  return names;
}

std::vector<std::string> method_names(const Json& methods) {
  std::vector<std::string> out;
  for (const auto& [name, value] : methods.members()) out.push_back(name);
  return in_order(std::move(out));
}

/// The same number of every seed: value(study).
template <class Value>
Spread over_seeds(const Json& raw, const Value& value, bool high_is_good = true) {
  std::vector<double> values;
  for (const Json& study : raw.at("studies").items()) values.push_back(value(study));
  return spread_of(values, high_is_good);
}

Json without_values(const Spread& spread) {
  Json out = to_json(spread);
  out.erase("values");
  return out;
}

void add_methods(Json& out, const Json& raw) {
  const auto conditions = raw.at("conditions").as_strings();
  const Json* earlier = raw.find("earlier");
  for (const std::string& method : in_order(all_methods(raw))) {
    if (earlier && earlier->at("methods").contains(method)) {
      out["methods"][method] = earlier->at("methods").at(method);
      out["overall"][method] = earlier->at("overall").at(method);
      out["earlier"].push_back(method);
      continue;
    }
    for (const std::string& condition : conditions) {
      for (const char* metric : {"accuracy", "nll", "brier", "ece", "aurc"}) {
        const bool accuracy = std::string(metric) == "accuracy";
        Spread spread = over_seeds(
            raw,
            [&](const Json& study) {
              return study.at("methods").at(method).at(condition).at(metric).as_double();
            },
            accuracy);
        out["methods"][method][metric][condition] =
            accuracy ? to_json(spread) : without_values(spread);
      }
    }
    out["overall"][method] = to_json(over_seeds(raw, [&](const Json& study) {
      double total = 0;
      for (const std::string& condition : conditions)
        total += study.at("methods").at(method).at(condition).at("accuracy").as_double();
      return total / static_cast<double>(conditions.size());
    }));
  }
}

void add_trust(Json& out, const Json& raw) {
  for (const std::string& condition : raw.at("conditions").as_strings()) {
    auto of = [&](std::initializer_list<const char*> path, bool high) {
      return without_values(over_seeds(
          raw,
          [&](const Json& study) {
            const Json* at = &study.at(*path.begin()).at(condition);
            for (auto key = path.begin() + 1; key != path.end(); ++key) at = &at->at(*key);
            return at->as_double();
          },
          high));
    };
    Json& own = out["trust"][condition];
    own["ece_excess"] = without_values(over_seeds(
        raw,
        [&](const Json& study) {
          const Json& c = study.at("calibration").at(condition);
          return c.at("ece").as_double() - c.at("ece_of_calibrated").as_double();
        },
        false));
    for (const char* coverage : {"0.8", "0.9", "0.95"}) {
      own["coverage"][coverage] = of({"sets", coverage, "coverage"}, true);
      own["set_size"][coverage] = of({"sets", coverage, "size"}, false);
    }
    own["permuted"] = of({"permuted"}, true);
    if (raw.at("studies").items().front().contains("route")) {
      own["route_cost"] = of({"route", "cost"}, false);
      own["route_accuracy"] = of({"route", "accuracy"}, true);
    }
    own["seen"] = raw.at("studies").items().front().at("seen").at(condition);
  }
  out["guard"] = Json::array();
  for (const Json& study : raw.at("studies").items())
    if (const Json* guard = study.find("guard")) out["guard"].push_back(*guard);
  out["fit_seconds"] = without_values(over_seeds(
      raw, [](const Json& study) { return study.at("seconds").as_double(); }, false));
}

/// Points of a curve over seeds: the same `labels` in all of them, spreads of `figures`.
void add_curve(Json& out, const Json& raw, const char* name, const std::vector<const char*>& labels,
               const std::vector<const char*>& figures) {
  const Json* first = raw.at("studies").items().front().find(name);
  for (size_t i = 0; first && i < first->size(); ++i) {
    Json point = Json::object({});
    for (const char* label : labels) point[label] = first->at(i).at(label);
    for (const char* figure : figures) {
      point[figure] = without_values(over_seeds(raw, [&](const Json& study) {
        const Json& own = study.at(name).at(i);
        for (const char* label : labels)
          require(own.at(label) == point.at(label), "bench",
                  "expected the same curve of all seeds");
        return own.at(figure).as_double();
      }));
    }
    out[name].push_back(std::move(point));
  }
}

std::string earlier_note(const Json& table) {
  const Json* earlier = table.find("earlier");
  if (!earlier) return "";
  std::string out;
  for (const std::string& name : earlier->as_strings()) out += (out.empty() ? "" : ", ") + name;
  return " Rivals taken from an earlier run on the same splits: " + out + ".";
}

std::string header(const std::vector<std::string>& names) {
  std::string out = "|";
  for (const std::string& name : names) out += " " + name + " |";
  out += "\n|";
  for (size_t i = 0; i < names.size(); ++i) out += "---|";
  return out + "\n";
}

std::string curves_markdown(const Json& table) {
  const Json *route = table.find("route_curve"), *dynmm = table.find("dynmm_curve");
  if (!route || !dynmm) return "";
  std::string out =
      "\n## Accuracy against multiply-adds\n\nOn clean test items, in %. Cost: share of the "
      "multiply-adds of all streams' encoders. Our route by what an early answer may lose; "
      "DynMM's gate by the weight of compute in its loss. A gate that looks at all streams has had "
      "them all encoded; in brackets what the branch that it chose would cost if looking were "
      "free.\n\n" +
      header({"method", "cost", "accuracy"});
  for (const Json& point : route->items()) {
    out += "| route, " + format("%g", 100 * point.at("loss").as_double()) +
           " points may be lost | " + percent(point.at("cost")) + " | " +
           percent(point.at("accuracy")) + " |\n";
  }
  for (const Json& point : dynmm->items()) {
    const bool all = point.get("gate", "") == "all";
    out += std::string("| DynMM, gate on ") + (all ? "all streams" : "the first stream") +
           ", weight " + format("%g", point.at("weight").as_double()) + " | " +
           percent(point.at("cost")) + (all ? " (" + percent(point.at("branch_cost")) + ")" : "") +
           " | " + percent(point.at("accuracy")) + " |\n";
  }
  return out;
}

}  // namespace

Json summarise(const Json& raw) {
  Json out = raw;
  out.erase("studies");
  out.erase("earlier");
  add_methods(out, raw);
  add_trust(out, raw);
  add_curve(out, raw, "route_curve", {"loss"}, {"cost", "accuracy", "full", "lost"});
  add_curve(out, raw, "dynmm_curve", {"gate", "weight"}, {"cost", "branch_cost", "accuracy"});
  return out;
}

std::string to_markdown(const Json& table) {
  std::ostringstream out;
  const Json& methods = table.at("methods");
  const auto conditions = table.at("conditions").as_strings();
  out << "# Fusion on " << table.get("dataset", "") << "\n\nMade by `plait bench fusion`. "
      << table.get("train_items", 0) << " training and " << table.get("test_items", 0)
      << " held-out items, another split per seed, " << table.at("seeds").size()
      << " seeds. Licence of the data: " << table.get("licence", "") << ". "
      << table.get("note", "")
      << "\n\n`trust` is the trust fusion with its guard, `trust_bare` without; `oracle` knows "
         "which streams are damaged; `best_single` and `best_static` are the stream and the static "
         "fusion of the same experts that did best on training items out of fold; the rest is "
         "trained on the same items with the same budget."
      << earlier_note(table)
      << "\n\n## Accuracy, all conditions in the mean, and each\n\nIn %, mean ± standard deviation "
         "over seeds. Kinds of damage that "
         "training never saw are marked with *.\n\n";
  std::vector<std::string> head = {"method", "mean"};
  for (const std::string& c : conditions)
    head.push_back(c + (table.at("trust").at(c).at("seen").as_bool() ? "" : " *"));
  out << header(head);
  for (const std::string& name : method_names(methods)) {
    out << "| " << name << " | " << percent(table.at("overall").at(name)) << " |";
    for (const std::string& c : conditions)
      out << " " << percent(methods.at(name).at("accuracy").at(c)) << " |";
    out << "\n";
  }
  out << "\n## Can it be believed?\n\nOf the trust fusion, in points: calibration error beyond "
         "that "
         "of a calibrated model with the same confidences; coverage and size of prediction sets "
         "for 90 %; accuracy when items exchange their breakages; share of the encoders' cost and "
         "accuracy of the route.\n\n"
      << header({"condition", "ECE beyond chance", "AURC", "AURC of the mean", "coverage 90 %",
                 "set size", "accuracy permuted", "route cost", "route accuracy"});
  for (const std::string& c : conditions) {
    const Json& own = table.at("trust").at(c);
    auto cell = [&](const char* name) {
      const Json* found = own.find(name);
      return found ? percent(*found) : std::string("–");
    };
    out << "| " << c << " | " << cell("ece_excess") << " | "
        << percent(methods.at("trust").at("aurc").at(c)) << " | "
        << percent(methods.at("mean").at("aurc").at(c)) << " | "
        << percent(own.at("coverage").at("0.9")) << " | "
        << format("%.2f", own.at("set_size").at("0.9").at("mean").as_double()) << " | "
        << cell("permuted") << " | " << cell("route_cost") << " | " << cell("route_accuracy")
        << " |\n";
  }
  out << curves_markdown(table);
  return out.str();
}

}  // namespace plait::cli
