#include "plait/train/trust/trust_retrieval.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace plait::train {
namespace {

constexpr int64_t kLeastItems = 8;
constexpr int kRedraws = 8;  ///< Until what is left of an item's own group is passed over

/// [n, count] rows of items of other groups than the items `rows` [n] are.
at::Tensor draw_others(const at::Tensor& group, const at::Tensor& rows, int64_t count,
                       at::Generator& generator) {
  const int64_t items = group.size(0);
  at::Tensor own = group.index_select(0, rows).unsqueeze(1);
  at::Tensor out = at::randint(items, {rows.size(0), count}, generator, at::kLong);
  for (int i = 0; i < kRedraws; ++i) {
    at::Tensor same = group.index_select(0, out.flatten()).view_as(out) == own;
    out = at::where(same, at::randint(items, out.sizes(), generator, at::kLong), out);
  }
  return out;
}

}  // namespace

at::Tensor candidate_scores(const at::Tensor& embeddings, const at::Tensor& gallery) {
  require(embeddings.dim() == 3 && gallery.dim() == 2 && embeddings.size(2) == gallery.size(1),
          "trust", "expected embeddings [B, M, E] and a gallery [K, E]");
  at::Tensor scores = at::matmul(embeddings.to(at::kFloat), gallery.to(at::kFloat).t());
  return (kCosineScale * scores).nan_to_num(0, 0, 0);
}

TrustFit fit_trust_retrieval(const RetrievalData& data, const std::vector<std::string>& streams,
                             TrustOptions options, int64_t candidates) {
  const int64_t n = data.items.size();
  require(n >= kLeastItems && data.gallery.dim() == 2 && data.gallery.size(0) == n && data.embed,
          "trust", "expected at least 8 items, each with what it should find");
  const int64_t count = std::max<int64_t>(2, std::min(candidates, n / 2));
  TrustData items = data.items;
  // The right candidate is the last one: among equal scores it loses.
  items.target = at::full({n}, count - 1, at::kLong);
  at::Tensor group = items.group.defined() ? items.group : at::arange(n);
  auto generator = at::detail::createCPUGenerator(mix_seed(options.seed, 211));
  options.candidate_scores = [&, generator](const std::vector<at::Tensor>& features,
                                            const at::Tensor& rows) mutable {
    at::Tensor others = draw_others(group, rows, count - 1, generator);
    at::Tensor shown = at::cat({others, rows.unsqueeze(1)}, 1);
    at::Tensor gallery =
        data.gallery.index_select(0, shown.flatten()).view({shown.size(0), count, -1});
    std::vector<at::Tensor> scores;
    for (size_t m = 0; m < features.size(); ++m) {
      at::Tensor query = data.embed(m, features[m].to(at::kFloat).nan_to_num(0, 0, 0));
      scores.push_back(at::bmm(gallery, query.unsqueeze(2)).squeeze(2));
    }
    return (kCosineScale * at::stack(scores, 1)).nan_to_num(0, 0, 0);
  };
  return fit_trust(items, streams, count, options);
}

}  // namespace plait::train
