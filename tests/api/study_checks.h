#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "plait/api/fusion_study.h"

/// What the data of every fusion study must hold.
namespace plait::api {

inline const StudyCondition& condition(const StudyData& data, const std::string& name) {
  for (const StudyCondition& c : data.conditions) {
    if (c.name == name) return c;
  }
  throw std::out_of_range("no condition " + name);
}

inline void expect_sound(const train::TrustData& data, int64_t classes, size_t streams,
                         const std::string& what) {
  ASSERT_EQ(data.features.size(), streams) << what;
  ASSERT_EQ(data.quality.size(), streams) << what;
  const int64_t count = data.target.size(0);
  EXPECT_EQ(data.present.sizes(), at::IntArrayRef({count, static_cast<int64_t>(streams)})) << what;
  EXPECT_GE(data.target.min().item<int64_t>(), 0) << what;
  EXPECT_LT(data.target.max().item<int64_t>(), classes) << what;
  for (size_t m = 0; m < streams; ++m) {
    ASSERT_EQ(data.features[m].size(), data.quality[m].size()) << what;
    for (size_t v = 0; v < data.features[m].size(); ++v) {
      const at::Tensor &x = data.features[m][v], &q = data.quality[m][v];
      EXPECT_EQ(x.scalar_type(), at::kFloat) << what;
      EXPECT_EQ(x.size(0), count) << what;
      EXPECT_EQ(x.size(1), data.features[m][0].size(1)) << what;
      EXPECT_TRUE(x.isfinite().all().item<bool>()) << what;
      EXPECT_EQ(q.sizes(), at::IntArrayRef({count})) << what;
      EXPECT_GE(q.min().item<float>(), 0) << what;
      EXPECT_LE(q.max().item<float>(), 1) << what;
    }
  }
}

/// Shapes, values and names; that "<stream>/..." changes that stream alone and is marked so; that
/// two kinds or more of every stream are held out of training. `usual` are conditions that no
/// oracle counts as damage.
inline void expect_sound(const StudyData& data, const std::set<std::string>& usual = {}) {
  const size_t streams = data.streams.size();
  expect_sound(data.train, data.classes, streams, "train");
  for (const auto& variants : data.train.features) EXPECT_GT(variants.size(), 1u);
  ASSERT_FALSE(data.conditions.empty());
  const StudyCondition& clean = data.conditions[0];
  EXPECT_EQ(clean.name, "clean");
  std::set<std::string> names;
  std::map<std::string, int> unseen;
  for (const StudyCondition& c : data.conditions) {
    EXPECT_TRUE(names.insert(c.name).second) << c.name;
    expect_sound(c.test, data.classes, streams, c.name);
    EXPECT_EQ(c.hit.sizes(), c.test.present.sizes()) << c.name;
    const size_t slash = c.name.find('/');
    auto of = std::find(data.streams.begin(), data.streams.end(), c.name.substr(0, slash));
    if (slash == std::string::npos || of == data.streams.end()) continue;
    const std::string kind = c.name.substr(slash + 1);
    const auto m = of - data.streams.begin();
    if (!c.seen) ++unseen[*of];
    EXPECT_EQ(c.test.present.select(1, m).all().item<bool>(), kind != "missing") << c.name;
    EXPECT_EQ(c.hit.select(1, m).all().item<bool>(), kind != "missing" && !usual.count(c.name))
        << c.name;
    for (int64_t other = 0; other < static_cast<int64_t>(streams); ++other) {
      const auto k = static_cast<size_t>(other);
      if (other != m) {
        EXPECT_FALSE(c.hit.select(1, other).any().item<bool>()) << c.name;
        EXPECT_TRUE(c.test.present.select(1, other).all().item<bool>()) << c.name;
      }
      EXPECT_EQ(c.test.features[k][0].equal(clean.test.features[k][0]),
                other != m || kind == "missing")
          << c.name << " of stream " << data.streams[k];
    }
  }
  EXPECT_FALSE(clean.hit.any().item<bool>());
  EXPECT_TRUE(clean.test.present.all().item<bool>());
  for (const std::string& stream : data.streams) EXPECT_GE(unseen[stream], 2) << stream;
}

inline void expect_same(const StudyData& a, const StudyData& b) {
  ASSERT_EQ(a.conditions.size(), b.conditions.size());
  auto same = [](const train::TrustData& x, const train::TrustData& y) {
    if (!x.target.equal(y.target) || !x.present.equal(y.present)) return false;
    for (size_t m = 0; m < x.features.size(); ++m) {
      for (size_t v = 0; v < x.features[m].size(); ++v) {
        if (!x.features[m][v].equal(y.features[m][v]) || !x.quality[m][v].equal(y.quality[m][v]))
          return false;
      }
    }
    return true;
  };
  EXPECT_TRUE(same(a.train, b.train));
  for (size_t i = 0; i < a.conditions.size(); ++i) {
    EXPECT_EQ(a.conditions[i].name, b.conditions[i].name);
    EXPECT_TRUE(same(a.conditions[i].test, b.conditions[i].test)) << a.conditions[i].name;
    EXPECT_TRUE(a.conditions[i].hit.equal(b.conditions[i].hit)) << a.conditions[i].name;
  }
}

}  // namespace plait::api
