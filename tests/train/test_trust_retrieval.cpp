// The trust fusion of a search: candidates differ from item to item, and in number.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/trust/evidence.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/calibrate_trust.h"
#include "plait/train/trust/trust_retrieval.h"
#include "plait/train/trust/trust_sets.h"

namespace plait::train {
namespace {

using models::Decider;
using models::TrustModel;

constexpr int64_t kSpace = 6;

at::Generator seeded(uint64_t seed) { return at::detail::createCPUGenerator(seed); }
double mean_of(const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); }
at::Tensor unit(const at::Tensor& x) { return x / x.norm(2, -1, true).clamp_min(1e-6); }

/// Three views of points of a space, which are what is looked for; the first view is the clearest.
RetrievalData draw(int64_t n, uint64_t seed) {
  auto fixed = seeded(17), generator = seeded(seed);
  RetrievalData out;
  at::Tensor z = at::randn({n, kSpace}, generator);
  std::vector<at::Tensor> back;
  for (int64_t m = 0; m < 3; ++m) {
    at::Tensor mix = at::randn({kSpace, 10}, fixed);
    at::Tensor x =
        at::matmul(z, mix) + (0.6 + 0.4 * static_cast<double>(m)) * at::randn({n, 10}, generator);
    out.items.features.push_back({x});
    back.push_back(at::linalg_pinv(mix));
  }
  out.items.present = at::ones({n, 3}, at::kBool);
  out.gallery = unit(z);
  out.embed = [back](size_t m, const at::Tensor& x) { return unit(at::matmul(x, back[m])); };
  return out;
}

struct Fitted {
  std::shared_ptr<TrustModel> model;
  RetrievalData test;
};

const Fitted& fitted() {
  static const Fitted kFitted = [] {
    TrustOptions options;
    options.bank_passes = 6;
    options.min_bank = 2400;
    options.gate_epochs = 8;
    options.seed = 2;
    TrustFit fit = fit_trust_retrieval(draw(250, 1), {"a", "b", "c"}, options);
    Fitted out{std::make_shared<TrustModel>(fit.trust), draw(300, 3)};
    const TrustItems items = every_subset(out_of_fold_items(fit, 1), 1);
    calibrate_trust(*out.model, items);
    fit_candidate_sets(*out.model, items);
    return out;
  }();
  return kFitted;
}

/// The test items look for themselves among the first `gallery` of them; the first stream as it is
/// (0), drowned in noise (1) or another item's (2).
models::Evidence evidence(int damage, int64_t gallery = 300) {
  const auto& [model, test] = fitted();
  auto generator = seeded(9);
  std::vector<at::Tensor> x = test.items.clean(), embedded;
  if (damage == 1) x[0] = 20 * at::randn(x[0].sizes(), generator);
  if (damage == 2) x[0] = x[0].roll(1, 0);
  for (size_t m = 0; m < 3; ++m) {
    x[m] = x[m].narrow(0, 0, gallery);
    embedded.push_back(test.embed(m, x[m]));
  }
  at::Tensor scores = candidate_scores(at::stack(embedded, 1), test.gallery.narrow(0, 0, gallery));
  return model->fusion().gather_candidates(x, scores, at::ones({gallery, 3}),
                                           test.items.present.narrow(0, 0, gallery));
}

double rank_of(const at::Tensor& logs) {
  return mean_reciprocal_rank(logs, at::arange(logs.size(0), at::kLong));
}

TEST(TrustRetrieval, FindsMoreThanMeanAndProductWhenAStreamIsBroken) {
  const auto& [model, test] = fitted();
  auto found = [&](Decider decider, const models::Evidence& e) {
    return rank_of(decider == Decider::kTrust ? model->decide(e).log_probabilities
                                              : model->decide_as(decider, e, {}));
  };
  const models::Evidence clean = evidence(0);
  EXPECT_GT(found(Decider::kTrust, clean), found(Decider::kBestSingle, clean));
  EXPECT_GT(found(Decider::kTrust, clean), found(Decider::kProduct, clean) - 0.03);
  for (int damage : {1, 2}) {
    const models::Evidence broken = evidence(damage);
    for (Decider other : {Decider::kMean, Decider::kProduct, Decider::kBestSingle})
      EXPECT_GT(found(Decider::kTrust, broken), found(other, broken)) << damage << to_string(other);
    at::Tensor more = model->fusion().breakage(broken) - model->fusion().breakage(clean);
    EXPECT_GT(mean_of(more.select(1, 0)), 0.2) << damage;
  }
}

TEST(TrustRetrieval, TakesAnyNumberOfCandidates) {
  const auto& [model, test] = fitted();
  for (int64_t gallery : {2, 10, 300}) {
    auto verdict = model->decide(evidence(0, gallery));
    EXPECT_EQ(verdict.log_probabilities.size(1), gallery);
    EXPECT_TRUE(verdict.log_probabilities.exp().sum(1).allclose(at::ones({gallery}), 1e-4, 1e-4));
    EXPECT_TRUE(verdict.weights.sum(1).allclose(at::ones({gallery}), 1e-4, 1e-4));
  }
  // Breakages hardly depend on how many there are.
  at::Tensor few = model->fusion().breakage(evidence(0, 40));
  at::Tensor many = model->fusion().breakage(evidence(0, 300)).narrow(0, 0, 40);
  EXPECT_LT(mean_of((few - many).abs()), 0.2);
}

TEST(TrustRetrieval, OrderOfCandidatesDoesNotMatter) {
  const auto& [model, test] = fitted();
  models::Evidence e = evidence(2, 50), turned = e;
  at::Tensor order = at::randperm(50, seeded(3));
  turned.log_probabilities = e.log_probabilities.index_select(2, order);
  at::Tensor a = model->decide(e).log_probabilities.index_select(1, order);
  EXPECT_TRUE(a.allclose(model->decide(turned).log_probabilities, 1e-4, 1e-4));
}

TEST(TrustRetrieval, SetsHoldTheRightCandidateOfGalleriesOfAnySize) {
  const auto& [model, test] = fitted();
  // Galleries of `gallery` test items each, every item among its own block.
  auto look = [&](int damage, int64_t gallery, double coverage) {
    models::Evidence e = evidence(damage);
    double covered = 0, size = 0;
    const int64_t blocks = 300 / gallery;
    for (int64_t b = 0; b < blocks; ++b) {
      at::Tensor rows = at::arange(b * gallery, (b + 1) * gallery);
      models::Evidence own = models::select_rows(e, rows);
      own.log_probabilities =
          at::log_softmax(own.log_probabilities.narrow(2, b * gallery, gallery), -1);
      at::Tensor in = model->prediction_sets(model->decide(own), coverage);
      covered += mean_of(in.diagonal()) / static_cast<double>(blocks);
      size += mean_of(in.sum(1)) / static_cast<double>(blocks);
    }
    return std::pair(covered, size);
  };
  for (int64_t gallery : {2, 10, 30, 100, 300}) {
    double size_before = 0;
    for (double coverage : {0.7, 0.9, 0.95}) {
      const auto [covered, size] = look(0, gallery, coverage);
      EXPECT_GT(covered, coverage - 0.05) << gallery;
      EXPECT_GT(size, size_before - 1e-9) << gallery;
      EXPECT_LT(size, 0.7 * static_cast<double>(gallery)) << gallery;
      size_before = size;
    }
  }
  for (int damage : {1, 2}) {
    const auto [covered, size] = look(damage, 30, 0.9);
    EXPECT_GT(covered, 0.84) << damage;
    EXPECT_GT(size, look(0, 30, 0.9).second) << damage;
  }
}

TEST(TrustRetrieval, RefusesWhatDoesNotFit) {
  const auto& [model, test] = fitted();
  at::Tensor ones = at::ones({300, 3}), present = test.items.present;
  at::Tensor scores = at::zeros({300, 3, 5});
  EXPECT_THROW(
      model->fusion().gather_candidates(test.items.clean(), scores.narrow(1, 0, 2), ones, present),
      Error);
  scores[4][1][2] = std::nan("");
  EXPECT_THROW(model->fusion().gather_candidates(test.items.clean(), scores, ones, present), Error);
  EXPECT_THROW(fit_trust_retrieval(draw(6, 1), {"a", "b", "c"}, {}), Error);
  EXPECT_THROW(candidate_scores(at::zeros({2, 3, 4}), at::zeros({5, 3})), Error);
}

}  // namespace
}  // namespace plait::train
