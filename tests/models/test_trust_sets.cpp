// Prediction sets of labels and of candidates on drawn data, and what evidence refuses.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/models/trust/candidate_sets.h"
#include "plait/models/trust/evidence.h"
#include "plait/models/trust/label_sets.h"

namespace plait::models {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kLabels = 3;

at::Generator seeded(uint64_t seed) { return at::detail::createCPUGenerator(seed); }
double mean_of(const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); }

struct Answers {
  at::Tensor logs, target, group;
};

/// Answers of very different worth: items of group 1 are far less sure than they say, the second
/// label is rare.
Answers draw_labels(int64_t n, uint64_t seed) {
  auto generator = seeded(seed);
  Answers out;
  out.group = at::randint(2, {n}, generator, at::kLong);
  at::Tensor rate = at::tensor({0.0, -3.0, 1.0}, at::kDouble);
  at::Tensor truth = rate + 1.5 * at::randn({n, kLabels}, generator, at::kDouble);
  out.target = (at::rand({n, kLabels}, generator, at::kDouble) < truth.sigmoid()).to(at::kLong);
  at::Tensor noise = (0.3 + 2.5 * out.group.to(at::kDouble)).unsqueeze(1);
  at::Tensor said = 2 * (truth + noise * at::randn({n, kLabels}, generator, at::kDouble));
  out.logs = at::stack({(-said).sigmoid().log(), said.sigmoid().log()}, -1).flatten(1);
  return out;
}

/// [N, L] bool: the true option of each label is in its set.
at::Tensor holds(const at::Tensor& sets, const at::Tensor& target) {
  return sets.unflatten(1, {kLabels, 2}).gather(2, target.unsqueeze(2)).squeeze(2);
}

TEST(LabelSets, CoverEveryLabelInEveryGroup) {
  const Answers known = draw_labels(3000, 1), fresh = draw_labels(6000, 2);
  const LabelSets sets = LabelSets::fit(known.logs, known.target, known.group);
  double both_before = -1;
  for (double coverage : {0.6, 0.8, 0.9, 0.97}) {
    at::Tensor in = sets.sets(fresh.logs, fresh.group, coverage);
    at::Tensor right = holds(in, fresh.target);
    for (int64_t g = 0; g < 2; ++g) {
      at::Tensor rows = (fresh.group == g).nonzero().squeeze(1);
      for (int64_t k = 0; k < kLabels; ++k) {
        const double covered = mean_of(right.index_select(0, rows).select(1, k));
        EXPECT_GT(covered, coverage - 0.03) << g << " " << k;
        // No more than asked, but where the more probable option alone is right more often.
        at::Tensor likely = fresh.logs.unflatten(1, {kLabels, 2}).argmax(-1) == fresh.target;
        const double alone = mean_of(likely.index_select(0, rows).select(1, k));
        EXPECT_LT(covered, std::max(coverage, alone) + 0.03) << g << " " << k;
      }
    }
    const double both = mean_of(in.unflatten(1, {kLabels, 2}).all(-1));
    EXPECT_GT(both, both_before) << coverage;
    both_before = both;
  }
  // The unsure group needs both options far more often.
  at::Tensor both = sets.sets(fresh.logs, fresh.group, 0.9).unflatten(1, {kLabels, 2}).all(-1);
  EXPECT_GT(mean_of(both.masked_select((fresh.group == 1).unsqueeze(1))),
            2 * mean_of(both.masked_select((fresh.group == 0).unsqueeze(1))));
}

TEST(LabelSets, ARareLabelIsMissedNoMoreOftenThanAllowedWhenAsked) {
  const Answers known = draw_labels(6000, 3), fresh = draw_labels(12000, 4);
  const LabelSets sets = LabelSets::fit(known.logs, known.target, known.group);
  auto found = [&](double coverage, bool by_class, int64_t value) {
    at::Tensor in = holds(sets.sets(fresh.logs, fresh.group, coverage, by_class), fresh.target);
    at::Tensor rows = fresh.target.select(1, 1) == value;
    return mean_of(in.select(1, 1).masked_select(rows));
  };
  for (double coverage : {0.7, 0.8, 0.9}) {
    EXPECT_NEAR(found(coverage, true, 1), coverage, 0.05) << coverage;
    EXPECT_GT(found(coverage, true, 0), coverage - 0.03) << coverage;
  }
  // Without asking, the many items that lack it keep the promise alone.
  EXPECT_LT(found(0.8, false, 1), 0.7);
}

TEST(LabelSets, OneLabelTooFewItemsAndWhatIsRefused) {
  const Answers known = draw_labels(12, 5);
  at::Tensor one = known.logs.narrow(1, 0, 2), target = known.target.select(1, 0);
  const LabelSets sets = LabelSets::fit(one, target, known.group);
  EXPECT_EQ(sets.labels(), 1);
  EXPECT_TRUE(sets.sets(one, known.group, 0.95).all().item<bool>());  // 12 items cannot show it
  EXPECT_FALSE(sets.sets(one, known.group, 0.5).all().item<bool>());
  EXPECT_TRUE(sets.sets(one, known.group, 0.5).any(1).all().item<bool>());
  EXPECT_THROW(sets.sets(one, known.group, 1), Error);
  EXPECT_THROW(sets.sets(known.logs, known.group, 0.5), Error);
  EXPECT_THROW(LabelSets().sets(one, known.group, 0.5), Error);
  EXPECT_THROW(LabelSets::fit(known.logs, known.target + 1, known.group), Error);
  EXPECT_THROW(LabelSets::fit(known.logs, target, known.group), Error);
}

TEST(LabelSets, AreSavedAndRefuseWhatTheyCannotRead) {
  const Answers known = draw_labels(800, 6);
  const LabelSets sets = LabelSets::fit(known.logs, known.target, known.group);
  const LabelSets back = LabelSets::from_json(Json::parse(sets.to_json().dump(), "test"));
  for (bool by_class : {false, true}) {
    EXPECT_TRUE(sets.sets(known.logs, known.group, 0.9, by_class)
                    .equal(back.sets(known.logs, known.group, 0.9, by_class)));
  }
  Json bad = sets.to_json();
  bad["present"] = Json::array();
  EXPECT_THROW(LabelSets::from_json(bad), Error);
  bad = sets.to_json();
  bad["groups"]["first"] = bad["all"];
  EXPECT_THROW(LabelSets::from_json(bad), Error);
}

/// The right candidate, the last of `count`, scores higher by `strength` in the mean; the scores
/// are likelihood ratios, so that probabilities are right for any number of candidates.
Answers draw_search(int64_t n, int64_t count, double strength, uint64_t seed) {
  auto generator = seeded(seed);
  at::Tensor scores = at::randn({n, count}, generator, at::kDouble);
  scores.select(1, count - 1).add_(strength);
  Answers out;
  out.logs = at::log_softmax(strength * scores, -1);
  out.target = at::full({n}, count - 1, at::kLong);
  out.group = at::zeros({n}, at::kLong);
  return out;
}

TEST(CandidateSets, CoverAtAnyNumberOfCandidates) {
  constexpr double kStrength = 2;
  CandidateSets sets;
  for (int64_t count : {2, 8, 32}) {
    const Answers known = draw_search(2000, count, kStrength, static_cast<uint64_t>(count));
    sets.add(count, ConformalSets::fit(known.logs, known.target, known.group));
  }
  EXPECT_EQ(sets.nearest(3), 2);
  EXPECT_EQ(sets.nearest(5), 8);
  EXPECT_EQ(sets.nearest(500), 32);
  for (int64_t count : {2, 5, 32, 300}) {
    const Answers fresh = draw_search(4000, count, kStrength, 100 + static_cast<uint64_t>(count));
    double size_before = 0;
    for (double coverage : {0.5, 0.8, 0.95}) {
      at::Tensor in = sets.sets(fresh.logs, fresh.group, coverage);
      const double covered = mean_of(in.select(1, count - 1));
      EXPECT_GT(covered, coverage - 0.03) << count;
      // The most probable one is always in, which adds some.
      const double alone = mean_of(fresh.logs.argmax(1) == count - 1);
      EXPECT_LT(covered, std::max(coverage, alone) + 0.1) << count;
      const double size = mean_of(in.sum(1));
      EXPECT_GE(size, size_before);
      size_before = size;
    }
  }
  // Each is a head of the ranking.
  const Answers fresh = draw_search(200, 20, kStrength, 9);
  at::Tensor in = sets.sets(fresh.logs, fresh.group, 0.8);
  at::Tensor least = at::where(in, fresh.logs, at::full({}, INFINITY, at::kDouble)).amin(1);
  at::Tensor most = at::where(in, at::full({}, -INFINITY, at::kDouble), fresh.logs).amax(1);
  EXPECT_TRUE((least >= most).all().item<bool>());
}

TEST(CandidateSets, AreSavedAndRefuseWhatTheyCannotRead) {
  CandidateSets sets;
  EXPECT_THROW(sets.nearest(4), Error);
  const Answers known = draw_search(100, 8, 2, 1);
  const ConformalSets fitted = ConformalSets::fit(known.logs, known.target, known.group);
  EXPECT_THROW(sets.add(1, fitted), Error);
  EXPECT_THROW(sets.add(8, ConformalSets()), Error);
  sets.add(8, fitted);
  const CandidateSets back = CandidateSets::from_json(Json::parse(sets.to_json().dump(), "test"));
  EXPECT_TRUE(
      sets.sets(known.logs, known.group, 0.9).equal(back.sets(known.logs, known.group, 0.9)));
  EXPECT_THROW(sets.sets(known.logs, known.group, 0), Error);
  Json bad = Json::object({{"1", sets.to_json().at("8")}});
  EXPECT_THROW(CandidateSets::from_json(bad), Error);
  bad = Json::object({{"many", sets.to_json().at("8")}});
  EXPECT_THROW(CandidateSets::from_json(bad), Error);
}

TEST(Evidence, RefusesFeaturesThatAreNotFiniteWhereTheyArePresent) {
  TrustFusion fusion(TrustFusion::Config::tiny());  // streams a [5] and b [7]
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<at::Tensor> x = {at::zeros({3, 5}), at::zeros({3, 7})};
    at::Tensor present = at::ones({3, 2}, at::kBool), quality = at::ones({3, 2});
    EXPECT_NO_THROW(fusion.gather(x, quality, present));
    x[1][2][4] = bad;
    try {
      fusion.gather(x, quality, present);
      FAIL() << bad;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(e.what(), HasSubstr("\"b\""));
      EXPECT_THAT(e.what(), HasSubstr("finite"));
    }
    present[2][1] = false;
    EXPECT_TRUE(fusion.gather(x, quality, present).log_probabilities.isfinite().all().item<bool>());
  }
}

}  // namespace
}  // namespace plait::models
