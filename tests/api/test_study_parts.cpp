#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "plait/api/study_parts.h"
#include "plait/core/error.h"
#include "plait/train/trust/trust_data.h"

namespace plait::api {
namespace {

/// Items of three classes: a series that holds its number in both of its values, and the same as a
/// table with noise added to a source without.
StudyItems items(int64_t count, float first) {
  StudyItems out;
  out.values.resize(2);
  out.sources.resize(2);
  std::vector<int64_t> target;
  for (int64_t i = 0; i < count; ++i) {
    const float number = first + static_cast<float>(i);
    for (size_t m = 0; m < 2; ++m) {
      out.values[m].emplace_back(at::full({4}, number));
      out.sources[m].emplace_back(at::full({4}, -number));
    }
    target.push_back(i % 3);
  }
  out.target = at::tensor(target);
  return out;
}

StudyDamage adds(const std::string& name, float what, bool seen) {
  StudyDamage out;
  out.name = name;
  out.apply = [what](const Value& value, double severity, uint64_t seed) -> Value {
    return std::get<at::Tensor>(value) + what * severity + 0.001 * static_cast<double>(seed % 7);
  };
  out.seen = seen;
  return out;
}

StudyPlan small_plan(uint64_t seed = 1) {
  StudyPlan plan;
  plan.dataset = "small";
  plan.classes = 3;
  plan.seed = seed;
  for (const char* name : {"a", "b"}) {
    StudyStream stream{name, Modality::kTable, {adds("more", 1000, true)}, {}};
    stream.encode =
        encode_each([](const Value& value) { return std::get<at::Tensor>(value).slice(0, 0, 2); });
    plan.streams.push_back(stream);
  }
  plan.streams[0].damage.push_back(adds("less", -1000, false));
  StudyDamage source = adds("source", 0, true);
  source.from_source = true;
  source.levels = {{"usual", 0.25, false}, {"far", 1.0}};
  plan.streams[1].damage.push_back(source);
  plan.train = items(30, 1);
  plan.test = items(60, 101);
  return plan;
}

const StudyCondition& named(const StudyData& data, const std::string& name) {
  for (const StudyCondition& condition : data.conditions) {
    if (condition.name == name) return condition;
  }
  throw std::runtime_error("no condition " + name);
}

TEST(StudyParts, ConditionsInOrderWithWhatIsHit) {
  StudyData data = build_study(small_plan());
  std::vector<std::string> names;
  for (const StudyCondition& condition : data.conditions) names.push_back(condition.name);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "clean", "a/more_0.5", "a/more_1", "a/less_0.5", "a/less_1", "a/wrong",
                       "a/missing", "b/more_0.5", "b/more_1", "b/source_usual", "b/source_far",
                       "b/wrong", "b/missing", "mild", "mixed/seen", "mixed/unseen"}));
  for (const StudyCondition& condition : data.conditions) {
    train::check(condition.test, data.classes, condition.name);
    EXPECT_EQ(condition.hit.sizes(), condition.test.present.sizes());
    // Of two streams nobody swaps items in training.
    const bool unseen = condition.name.find("less") != std::string::npos ||
                        condition.name.ends_with("wrong") || condition.name == "mixed/unseen";
    EXPECT_EQ(condition.seen, !unseen) << condition.name;
    for (int64_t m = 0; m < 2; ++m) {
      const std::string own = m == 0 ? "a/" : "b/";
      const bool hit = condition.name.starts_with(own) && !condition.name.ends_with("missing") &&
                       !condition.name.ends_with("usual");
      if (!condition.name.starts_with("mixed")) {
        EXPECT_EQ(condition.hit.select(1, m).all().item<bool>(), hit) << condition.name;
      }
      EXPECT_EQ(condition.test.present.select(1, m).any().item<bool>(),
                condition.name != own + "missing");
    }
  }
  at::Tensor clean = named(data, "clean").test.features[0][0].select(1, 0);
  EXPECT_TRUE(clean.equal(at::arange(101, 161, at::kFloat)));
  EXPECT_TRUE(at::allclose(named(data, "a/more_0.5").test.features[0][0].select(1, 0), clean + 500,
                           0, 0.01));
  EXPECT_TRUE(
      at::allclose(named(data, "b/source_far").test.features[1][0].select(1, 0), -clean, 0, 0.01));
  EXPECT_TRUE(named(data, "a/more_1").test.features[1][0].select(1, 0).equal(clean));
}

TEST(StudyParts, TrainingIsDamagedBySeenKindsAlone) {
  StudyData data = build_study(small_plan());
  train::check(data.train, 3, "train");
  ASSERT_EQ(data.train.features[0].size(), 4u);
  at::Tensor clean = data.train.features[0][0];
  EXPECT_TRUE(clean.select(1, 0).equal(at::arange(1, 31, at::kFloat)));
  std::set<float> severities;
  for (size_t copy = 1; copy < 4; ++copy) {
    at::Tensor change = (data.train.features[0][copy] - clean).select(1, 0);
    EXPECT_GE(change.min().item<float>(), 99.9f);  // Never less.
    EXPECT_LE(change.max().item<float>(), 1000.1f);
    for (int64_t i = 0; i < 30; ++i) severities.insert(std::round(change[i].item<float>()));
  }
  EXPECT_GT(severities.size(), 60u);
}

TEST(StudyParts, WrongItemsAreOfAnotherClassAndMixedOnesAreMarked) {
  StudyData data = build_study(small_plan());
  const StudyCondition& wrong = named(data, "a/wrong");
  at::Tensor own = wrong.test.target;
  at::Tensor number = wrong.test.features[0][0].select(1, 0) - 101;
  at::Tensor others = at::remainder(number, 3).to(at::kLong);
  EXPECT_FALSE(others.eq(own).any().item<bool>());
  at::Tensor clean = named(data, "clean").test.features[0][0];
  for (const char* name : {"mixed/seen", "mixed/unseen"}) {
    const StudyCondition& mixed = named(data, name);
    at::Tensor hit = mixed.hit.to(at::kLong).sum(1);
    EXPECT_LE(hit.max().item<int64_t>(), 1);
    EXPECT_NEAR(hit.to(at::kFloat).mean().item<float>(), 0.5, 0.2);
    for (int64_t m = 0; m < 2; ++m) {
      at::Tensor differs = mixed.test.features[static_cast<size_t>(m)][0].ne(clean).any(1);
      EXPECT_TRUE(differs.equal(mixed.hit.select(1, m))) << name;
    }
  }
  // The second stream's only unseen damage is another item's.
  at::Tensor hit = named(data, "mixed/unseen").hit.select(1, 1).nonzero().squeeze(1);
  at::Tensor became = named(data, "mixed/unseen").test.features[1][0].index_select(0, hit);
  EXPECT_GT(hit.size(0), 0);
  EXPECT_TRUE(became.equal(named(data, "b/wrong").test.features[1][0].index_select(0, hit)));
}

TEST(StudyParts, FollowsFromTheSeed) {
  StudyData one = build_study(small_plan()), same = build_study(small_plan()),
            other = build_study(small_plan(2));
  bool differs = false;
  for (size_t c = 0; c < one.conditions.size(); ++c) {
    for (size_t m = 0; m < 2; ++m) {
      const at::Tensor& x = one.conditions[c].test.features[m][0];
      EXPECT_TRUE(x.equal(same.conditions[c].test.features[m][0])) << one.conditions[c].name;
      differs |= !x.equal(other.conditions[c].test.features[m][0]);
    }
  }
  EXPECT_TRUE(differs);
  EXPECT_TRUE(one.train.features[1][2].equal(same.train.features[1][2]));
  EXPECT_FALSE(one.train.features[1][2].equal(other.train.features[1][2]));
}

TEST(StudyParts, RefusesPlansThatDoNotFit) {
  auto refused = [](const std::function<void(StudyPlan&)>& change) {
    StudyPlan plan = small_plan();
    change(plan);
    EXPECT_THROW(build_study(plan), Error);
  };
  refused([](StudyPlan& plan) { plan.streams.clear(); });
  refused([](StudyPlan& plan) { plan.train.values[0].pop_back(); });
  refused([](StudyPlan& plan) { plan.streams[1].encode = nullptr; });
  refused([](StudyPlan& plan) {
    plan.streams[1].encode = [](const std::vector<Value>& values) {
      return at::full({static_cast<int64_t>(values.size()), 2},
                      std::numeric_limits<double>::quiet_NaN());
    };
  });
  EXPECT_THROW(usual_damage(Modality::kSeries, {"moths"}), Error);
  size_t seen = 0;
  for (const StudyDamage& damage : usual_damage(Modality::kSeries, {"drift"})) seen += damage.seen;
  EXPECT_EQ(seen, 5u);
}

TEST(StudyParts, ProjectionHoldsTheEnergyThatItIsAskedFor) {
  at::Generator generator = at::detail::createCPUGenerator(1);
  at::Tensor x = at::randn({500, 6}, generator) * at::tensor({10.0, 5.0, 3.0, 1.0, 0.5, 0.1}) + 7;
  Projection all = fit_projection(x, 6);
  EXPECT_TRUE(at::allclose(at::matmul(all.axes.t(), all.axes), at::eye(6), 0, 1e-4));
  at::Tensor y = all(x);
  EXPECT_TRUE(at::allclose(at::cov(y.t()), at::diag(y.var(0)), 1e-3, 0.05));
  EXPECT_EQ(fit_projection(x, 2).axes.size(1), 2);
  // Shares of variance about 74, 18, 7 %.
  EXPECT_EQ(fit_projection(x, 6, 0.6).axes.size(1), 1);
  EXPECT_EQ(fit_projection(x, 6, 0.85).axes.size(1), 2);
}

}  // namespace
}  // namespace plait::api
