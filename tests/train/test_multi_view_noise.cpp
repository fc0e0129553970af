#include "plait/train/multi_view_noise.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/error.h"

namespace plait::train {
namespace {

constexpr int64_t kItems = 400;
constexpr int64_t kClasses = 4;

at::Tensor target() { return at::arange(kItems).remainder(kClasses); }

/// Six views; a value tells the item and the view: 10 * item + view.
FeatureTables six_views() {
  FeatureTables out;
  for (int64_t v = 0; v < 6; ++v) {
    FeatureTable table;
    at::Tensor value = (at::arange(kItems, at::kFloat) * 10 + v).unsqueeze(1);
    table.pooled = value.repeat({1, 20 + v});
    table.tokens = table.pooled.unsqueeze(1).repeat({1, 2, 1});
    table.mask = at::ones({kItems, 2}, at::kBool);
    table.quality = at::arange(kItems, at::kFloat) / kItems;
    out["view" + std::to_string(v)] = table;
  }
  return out;
}

at::Tensor view_of(const DamagedViews& damaged, int64_t v) {
  return damaged.tables.at("view" + std::to_string(v)).pooled;
}

/// Rows of the copy that are not marked as hit equal the given ones in every part.
void expect_rest_untouched(const DamagedViews& damaged, const FeatureTables& given) {
  int64_t v = 0;
  for (const auto& [name, table] : given) {
    at::Tensor rest = damaged.hit.select(1, v++).logical_not().nonzero().squeeze(1);
    const FeatureTable& copy = damaged.tables.at(name);
    for (auto part : {&FeatureTable::tokens, &FeatureTable::mask, &FeatureTable::pooled,
                      &FeatureTable::quality}) {
      EXPECT_TRUE((copy.*part).index_select(0, rest).equal((table.*part).index_select(0, rest)))
          << name;
    }
    EXPECT_TRUE(copy.present.index_select(0, rest).all().item<bool>());
  }
}

void expect_same(const DamagedViews& a, const DamagedViews& b) {
  EXPECT_TRUE(a.hit.equal(b.hit));
  for (const auto& [name, table] : a.tables) {
    EXPECT_TRUE(table.pooled.equal(b.tables.at(name).pooled)) << name;
    EXPECT_TRUE(table.present.equal(b.tables.at(name).present)) << name;
  }
}

TEST(MultiViewNoise, HitsHalfOfTheViewsOfHalfOfTheItems) {
  FeatureTables given = six_views(), before = six_views();
  DamagedViews damaged = add_view_noise(given, 5, 1);
  at::Tensor per_item = damaged.hit.sum(1);
  EXPECT_EQ(per_item.eq(3).sum().item<int64_t>(), kItems / 2);
  EXPECT_EQ(per_item.eq(0).sum().item<int64_t>(), kItems / 2);
  // Every view gets its share, and pairs of views do not always fall together.
  for (int64_t v = 0; v < 6; ++v)
    EXPECT_NEAR(damaged.hit.select(1, v).sum().item<double>(), kItems / 4.0, 35);
  EXPECT_NEAR(
      at::logical_and(damaged.hit.select(1, 0), damaged.hit.select(1, 1)).sum().item<double>(),
      kItems * 0.5 * 0.2, 25);
  expect_rest_untouched(damaged, given);
  for (const auto& [name, table] : before) EXPECT_TRUE(table.pooled.equal(given.at(name).pooled));
}

TEST(MultiViewNoise, HasTheDeviationAskedForOnHitRowsOnly) {
  FeatureTables given = six_views();
  for (double deviation : {1.0, 5.0, 10.0}) {
    DamagedViews damaged = add_view_noise(given, deviation, 3);
    for (int64_t v = 0; v < 6; ++v) {
      at::Tensor rows = damaged.hit.select(1, v).nonzero().squeeze(1);
      at::Tensor noise =
          (view_of(damaged, v) - given.at("view" + std::to_string(v)).pooled).index_select(0, rows);
      EXPECT_NEAR(noise.std().item<double>(), deviation, 0.05 * deviation);
      EXPECT_NEAR(noise.mean().item<double>(), 0, 0.08 * deviation);
      EXPECT_FALSE(noise[0].equal(noise[1]));
      // Tokens of a row get the noise of the row.
      const FeatureTable& table = damaged.tables.at("view" + std::to_string(v));
      EXPECT_TRUE(table.tokens.select(1, 1).equal(table.pooled));
    }
  }
}

TEST(MultiViewNoise, IsTheSameForASeedAndOnlyStrongerWithTheDeviation) {
  FeatureTables given = six_views();
  expect_same(add_view_noise(given, 5, 7), add_view_noise(given, 5, 7));
  DamagedViews weak = add_view_noise(given, 1, 7), strong = add_view_noise(given, 10, 7);
  EXPECT_TRUE(weak.hit.equal(strong.hit));
  EXPECT_FALSE(weak.hit.equal(add_view_noise(given, 1, 8).hit));
  at::Tensor clean = given.at("view2").pooled;
  EXPECT_TRUE(
      at::allclose((view_of(weak, 2) - clean) * 10, view_of(strong, 2) - clean, 1e-3, 5e-3));
  DamagedViews none = add_view_noise(given, 0, 7);
  EXPECT_FALSE(none.hit.any().item<bool>());
  expect_rest_untouched(none, given);
  // Another view more changes nothing for the others but which of them an item loses.
  FeatureTables one = {{"view2", given.at("view2")}};
  ViewShare all{.items = 1, .views = 1};
  EXPECT_TRUE(view_of(add_view_noise(one, 5, 7, all), 2)
                  .equal(view_of(add_view_noise(given, 5, 7, all), 2)));
}

TEST(MultiViewNoise, SharesAndNumbersOfViews) {
  FeatureTables given = six_views();
  given.erase("view5");
  // Half of five views: two or three, as likely.
  at::Tensor odd = add_view_noise(given, 1, 1, {.items = 1}).hit.sum(1);
  EXPECT_TRUE(at::logical_or(odd.eq(2), odd.eq(3)).all().item<bool>());
  EXPECT_NEAR(odd.eq(2).sum().item<double>(), kItems / 2.0, 40);
  at::Tensor any = add_view_noise(given, 1, 1, {.items = 1, .any_number = true}).hit.sum(1);
  for (int64_t n = 0; n < 5; ++n) EXPECT_NEAR(any.eq(n).sum().item<double>(), kItems / 5.0, 32);
  EXPECT_EQ(any.max().item<int64_t>(), 4);
  EXPECT_TRUE(add_view_noise(given, 1, 1, {.items = 1, .views = 1}).hit.all().item<bool>());
  EXPECT_FALSE(add_view_noise(given, 1, 1, {.items = 0}).hit.any().item<bool>());
}

TEST(MultiViewNoise, SwappedRowsComeFromAnotherClass) {
  FeatureTables given = six_views();
  DamagedViews damaged = swap_views(given, target(), 5);
  EXPECT_EQ(damaged.hit.sum().item<int64_t>(), kItems / 2 * 3);
  expect_rest_untouched(damaged, given);
  std::set<int64_t> donors;
  for (int64_t v = 0; v < 6; ++v) {
    const FeatureTable& table = damaged.tables.at("view" + std::to_string(v));
    for (int64_t i = 0; i < kItems; ++i) {
      auto value = static_cast<int64_t>(table.pooled[i][0].item<float>());
      EXPECT_EQ(value % 10, v);
      int64_t donor = value / 10;
      EXPECT_FLOAT_EQ(table.quality[i].item<float>(), static_cast<float>(donor) / kItems);
      EXPECT_EQ(table.tokens[i][1][0].item<float>(), table.pooled[i][0].item<float>());
      if (!damaged.hit[i][v].item<bool>()) continue;
      EXPECT_NE(donor % kClasses, i % kClasses);
      donors.insert(donor);
    }
  }
  EXPECT_GT(donors.size(), 250u);
  expect_same(swap_views(given, target(), 5), damaged);
  // Noise with this seed falls on the same rows.
  EXPECT_TRUE(add_view_noise(given, 1, 5).hit.equal(damaged.hit));
  EXPECT_FALSE(swap_views(given, at::zeros({kItems}, at::kLong), 5).hit.any().item<bool>());
  EXPECT_THROW(swap_views(given, target().slice(0, 1), 5), Error);
  EXPECT_THROW(swap_views(given, target().to(at::kFloat), 5), Error);
}

TEST(MultiViewNoise, DropsHalfOfTheFeatures) {
  FeatureTables given = six_views();
  for (auto& [name, table] : given) {
    table.pooled.add_(1);
    table.tokens.add_(1);
  }
  DamagedViews damaged = drop_features(given, 0.5, 2);
  expect_rest_untouched(damaged, given);
  EXPECT_EQ(damaged.hit.sum().item<int64_t>(), kItems / 2 * 3);
  at::Tensor rows = damaged.hit.select(1, 0).nonzero().squeeze(1);
  at::Tensor lost = view_of(damaged, 0).index_select(0, rows).eq(0);
  EXPECT_TRUE(lost.sum(1).eq(10).all().item<bool>());
  // Each feature is as likely, another half per row.
  EXPECT_NEAR(lost.sum(0).min().item<double>(), rows.size(0) / 2.0, 22);
  EXPECT_FALSE(lost[0].equal(lost[1]) && lost[1].equal(lost[2]));
  at::Tensor kept = given.at("view0").pooled.index_select(0, rows);
  EXPECT_TRUE(
      view_of(damaged, 0).index_select(0, rows).equal(at::where(lost, at::zeros_like(kept), kept)));
  expect_same(drop_features(given, 0.5, 2), damaged);
  EXPECT_TRUE(
      view_of(drop_features(given, 1, 2, {.items = 1, .views = 1}), 3).eq(0).all().item<bool>());
}

TEST(MultiViewNoise, RemovesViewsButNeverTheLast) {
  FeatureTables given = six_views();
  for (int64_t count : {0, 1, 3, 5, 6, 60}) {
    DamagedViews damaged = remove_views(given, count, 4);
    EXPECT_TRUE(damaged.hit.sum(1).eq(std::min<int64_t>(count, 5)).all().item<bool>()) << count;
    expect_rest_untouched(damaged, given);
    int64_t v = 0;
    for (const auto& [name, table] : damaged.tables) {
      at::Tensor gone = damaged.hit.select(1, v++);
      EXPECT_TRUE(table.present.equal(gone.logical_not()));
      EXPECT_TRUE(table.quality.masked_select(gone).eq(0).all().item<bool>());
      EXPECT_TRUE(table.mask.index({gone}).logical_not().all().item<bool>());
      EXPECT_TRUE(table.pooled.index({gone}).eq(0).all().item<bool>());
      if (count == 3) {
        EXPECT_NEAR(gone.sum().item<double>(), kItems / 2.0, 45);
      }
    }
  }
  // What is gone with fewer is gone with more.
  at::Tensor one = remove_views(given, 1, 4).hit, three = remove_views(given, 3, 4).hit;
  EXPECT_TRUE(at::logical_and(one, three.logical_not()).logical_not().all().item<bool>());
}

TEST(MultiViewNoise, LeavesAbsentViewsAlone) {
  FeatureTables given = six_views();
  at::Tensor none = at::zeros({kItems}, at::kBool);
  given.at("view1").present = none;
  given.at("view2").present = at::arange(kItems).remainder(2).eq(0);
  given.at("view3").present = given.at("view4").present = given.at("view5").present = none;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    at::Tensor absent = at::arange(kItems).remainder(2).eq(1);
    for (const DamagedViews& damaged :
         {add_view_noise(given, 1, seed, {.items = 1}), swap_views(given, target(), seed),
          drop_features(given, 0.5, seed), remove_views(given, 4, seed)}) {
      EXPECT_FALSE(damaged.hit.select(1, 1).any().item<bool>());
      EXPECT_FALSE(at::logical_and(damaged.hit.select(1, 2), absent).any().item<bool>());
      EXPECT_TRUE(
          at::logical_or(damaged.tables.at("view0").present, damaged.tables.at("view2").present)
              .all()
              .item<bool>());
    }
    // Rows that others do not have are not given away.
    at::Tensor from = view_of(swap_views(given, target(), seed), 2).select(1, 0);
    at::Tensor hit = swap_views(given, target(), seed).hit.select(1, 2);
    EXPECT_TRUE(from.masked_select(hit).div(10, "floor").remainder(2).eq(0).all().item<bool>());
  }
}

TEST(MultiViewNoise, RefusesWhatItCannotDamage) {
  FeatureTables given = six_views();
  EXPECT_THROW(add_view_noise({}, 1, 0), Error);
  EXPECT_THROW(add_view_noise(given, -1, 0), Error);
  EXPECT_THROW(add_view_noise(given, std::numeric_limits<double>::quiet_NaN(), 0), Error);
  EXPECT_THROW(add_view_noise(given, 1, 0, {.items = 1.5}), Error);
  EXPECT_THROW(add_view_noise(given, 1, 0, {.views = -0.1}), Error);
  EXPECT_THROW(drop_features(given, 2, 0), Error);
  EXPECT_THROW(remove_views(given, -1, 0), Error);
  given.at("view3").pooled = given.at("view3").pooled.slice(0, 1);
  EXPECT_THROW(add_view_noise(given, 1, 0), Error);
  given = six_views();
  given.at("view3").tokens = at::zeros({kItems, 2, 3});
  EXPECT_THROW(add_view_noise(given, 1, 0), Error);
  given = six_views();
  given.at("view3").pooled = at::Tensor();
  given.at("view3").inputs["values"] = at::zeros({kItems, 3});
  EXPECT_THROW(add_view_noise(given, 1, 0), Error);
}

}  // namespace
}  // namespace plait::train
