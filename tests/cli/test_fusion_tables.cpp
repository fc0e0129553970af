#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/cli/earlier_rivals.h"
#include "plait/cli/fusion_bars.h"
#include "plait/cli/fusion_tables.h"
#include "plait/cli/size_tables.h"
#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace plait::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int kItems = 617;  // Its shares have no five digits
const std::vector<std::string> kConditions = {"clean", "mixed/seen"};

/// A study of one seed as run_fusion_study gives it, with figures drawn from the seed.
Json study(int seed, const std::vector<std::string>& methods) {
  Json out = Json::object({{"seconds", 1.5}});
  for (const std::string& condition : kConditions) {
    for (const std::string& method : methods) {
      const uint64_t drawn =
          mix_seed(static_cast<uint64_t>(seed),
                   std::stoull(content_hash(method).substr(0, 8), nullptr, 16), condition.size());
      const double right =
          std::floor(500 + 60 * unit_interval(drawn)) + (method == "trust" ? 30 : 0);
      out["methods"][method][condition] = Json::object({{"accuracy", right / kItems},
                                                        {"nll", 0.3},
                                                        {"brier", 0.2},
                                                        {"ece", 0.1},
                                                        {"aurc", 0.05}});
    }
    out["seen"][condition] = true;
    for (const char* other : {"best_single", "best_static"})
      out["never_worse"][condition][other] =
          Json::object({{"items", kItems}, {"lost", 1}, {"won", 4}});
    out["calibration"][condition] = Json::object({{"ece", 0.03}, {"ece_of_calibrated", 0.02}});
    for (const char* coverage : {"0.8", "0.9", "0.95"})
      out["sets"][condition][coverage] = Json::object({{"coverage", 0.97}, {"size", 1.2}});
    out["permuted"][condition] = 0.9;
  }
  return out;
}

Json run(const std::vector<std::string>& rivals, int seeds = 5) {
  std::vector<std::string> methods = {"best_single", "best_static", "mean",
                                      "oracle",      "trust",       "trust_bare"};
  methods.insert(methods.end(), rivals.begin(), rivals.end());
  Json out = Json::object({{"dataset", "toy"},
                           {"licence", "none"},
                           {"note", ""},
                           {"streams", std::vector<std::string>{"a", "b"}},
                           {"train_items", 100},
                           {"test_items", kItems},
                           {"conditions", kConditions},
                           {"splits", "abc"}});
  for (int seed = 0; seed < seeds; ++seed) {
    out["seeds"].push_back(seed);
    out["studies"].push_back(study(seed, methods));
  }
  return out;
}

/// As it is read from the file.
Json table_of(const Json& raw) { return Json::parse(summarise(raw).dump(2)); }

TEST(EarlierRivals, GiveTheTableAndTheBarsOfTheRunThatTrainedThem) {
  const Json whole = run({"bridge", "dynmm", "logit_mean", "qmf"});
  Json fresh = run({});
  fresh["earlier"] = earlier_rivals(table_of(whole), fresh, {});
  const Json bars = bars_of({whole}), again = bars_of({fresh});
  ASSERT_EQ(bars.size(), again.size());
  for (size_t i = 0; i < bars.size(); ++i) {
    EXPECT_EQ(bars.at(i).at("name").as_string(), again.at(i).at("name").as_string());
    EXPECT_NEAR(bars.at(i).at("value").as_double(), again.at(i).at("value").as_double(), 1e-12);
  }
  const Json table = summarise(whole), taken = summarise(fresh);
  EXPECT_EQ(table.at("methods").dump(), taken.at("methods").dump());
  EXPECT_EQ(table.at("overall").dump(), taken.at("overall").dump());
  EXPECT_EQ(taken.at("earlier").as_strings(),
            (std::vector<std::string>{"logit_mean", "bridge", "dynmm", "qmf"}));
  EXPECT_THAT(to_markdown(taken), HasSubstr("Rivals taken from an earlier run on the same splits"));
  EXPECT_THAT(to_markdown(table), Not(HasSubstr("earlier")));
}

TEST(EarlierRivals, GiveWayToThoseOfTheRunItself) {
  const Json table = table_of(run({"bridge", "qmf"}));
  Json fresh = run({"qmf"});
  const Json taken = earlier_rivals(table, fresh, {"qmf"});
  EXPECT_TRUE(taken.at("methods").contains("bridge"));
  EXPECT_FALSE(taken.at("methods").contains("qmf"));
  EXPECT_FALSE(taken.at("methods").contains("trust"));
  EXPECT_FALSE(taken.at("methods").contains("mean"));
}

TEST(EarlierRivals, AreOfTheSameSplitsOnly) {
  const Json table = table_of(run({"qmf"}));
  auto refusal = [&](const char* key, const Json& value) {
    Json fresh = run({});
    fresh[key] = value;
    try {
      earlier_rivals(table, fresh, {});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("taken");
  };
  EXPECT_THAT(refusal("seeds", std::vector<int>{0, 1, 2, 3, 5}),
              HasSubstr("seeds: [0,1,2,3,4] then, [0,1,2,3,5] now"));
  EXPECT_THAT(refusal("train_items", 99), HasSubstr("train_items: 100 then, 99 now"));
  EXPECT_THAT(refusal("test_items", 99), HasSubstr("test_items"));
  EXPECT_THAT(refusal("dataset", "other"), HasSubstr("dataset"));
  EXPECT_THAT(refusal("streams", std::vector<std::string>{"a"}), HasSubstr("streams"));
  EXPECT_THAT(refusal("conditions", std::vector<std::string>{"clean"}), HasSubstr("conditions"));
  EXPECT_THAT(refusal("splits", "abd"), HasSubstr("splits: \"abc\" then, \"abd\" now"));
  EXPECT_EQ(refusal("note", "another"), "taken");
}

TEST(EarlierRivals, OfATableWithoutTheSplitsAreTaken) {
  Json table = table_of(run({"qmf"}));
  table.erase("splits");
  EXPECT_TRUE(earlier_rivals(table, run({}), {}).at("methods").contains("qmf"));
  table["methods"]["qmf"]["accuracy"]["clean"]["values"] = std::vector<double>{0.5};
  EXPECT_THROW(earlier_rivals(table, run({}), {}), Error);
}

TEST(FusionTables, ShowTheCurvesBesideEachOther) {
  Json raw = run({}, 3);
  for (const Json& s : raw.at("studies").items()) EXPECT_FALSE(s.contains("dynmm_curve"));
  EXPECT_THAT(to_markdown(summarise(raw)), Not(HasSubstr("multiply-adds")));
  double seed = 0;
  for (Json& s : raw["studies"].items()) {
    s["route_curve"].push_back(Json::object(
        {{"loss", 0.005}, {"cost", 0.3 + seed}, {"accuracy", 0.9}, {"full", 0.91}, {"lost", 0.0}}));
    for (double weight : {0.0, 0.1})
      s["dynmm_curve"].push_back(Json::object({{"gate", weight > 0 ? "all" : "first"},
                                               {"weight", weight},
                                               {"cost", 0.6},
                                               {"branch_cost", 0.25},
                                               {"accuracy", 0.8 + seed}}));
    seed += 0.1;
  }
  const Json table = summarise(raw);
  EXPECT_NEAR(table.at("route_curve").at(0).at("cost").at("mean").as_double(), 0.4, 1e-9);
  EXPECT_EQ(table.at("dynmm_curve").at(1).at("gate").as_string(), "all");
  const std::string page = to_markdown(table);
  EXPECT_THAT(page, HasSubstr("| route, 0.5 points may be lost | 40.0 ± 10.0 | 90.0 ± 0.0 |"));
  EXPECT_THAT(page, HasSubstr("| DynMM, gate on the first stream, weight 0 | 60.0 ± 0.0 | 90.0"));
  EXPECT_THAT(page, HasSubstr("gate on all streams, weight 0.1 | 60.0 ± 0.0 (25.0 ± 0.0) |"));
  raw["studies"].items()[1]["dynmm_curve"].items()[0]["weight"] = 0.5;
  EXPECT_THROW(summarise(raw), Error);
}

TEST(SizeTables, CountTheSeedsThatTrustWins) {
  Json raw = Json::object({{"dataset", "toy"}, {"licence", "none"}, {"test_items", 100}});
  for (int seed = 0; seed < 20; ++seed) {
    raw["seeds"].push_back(seed);
    Json rows = Json::array();
    for (int items : {50, 200})
      rows.push_back(Json::object({{"items", items},
                                   {"trust", 0.9},
                                   {"best_single", seed < 2 && items == 50 ? 0.91 : 0.9},
                                   {"best_static", seed < 1 ? 0.95 : 0.85}}));
    raw["sizes"].push_back(rows);
  }
  const Json table = summarise_sizes(raw);
  EXPECT_EQ(table.at("sizes").at(0).at("at_least_single").as_int(), 18);
  EXPECT_EQ(table.at("sizes").at(1).at("at_least_single").as_int(), 20);
  EXPECT_EQ(table.at("sizes").at(1).at("at_least_static").as_int(), 19);
  EXPECT_THAT(sizes_markdown(table), HasSubstr("| 18 of 20 | 19 of 20 |"));
  Json bars = size_bars({table});
  ASSERT_EQ(bars.size(), 1u);
  EXPECT_TRUE(bars.at(0).at("holds").as_bool());
  for (int seed : {3, 4}) raw["sizes"].items()[seed].items()[1]["trust"] = 0.1;
  bars = size_bars({summarise_sizes(raw)});
  EXPECT_FALSE(bars.at(0).at("holds").as_bool());
  EXPECT_NEAR(bars.at(0).at("value").as_double(), 0.9, 1e-12);
}

}  // namespace
}  // namespace plait::cli
