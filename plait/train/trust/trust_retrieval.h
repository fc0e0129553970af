#pragma once
#include <functional>
#include <string>
#include <vector>

#include "plait/train/trust/fit_trust.h"

/// The trust fusion of a search: every stream of a query says which candidate it is like.
namespace plait::train {

/// Scores of candidates by cosines, before their temperatures.
constexpr double kCosineScale = 20;

/// kCosineScale · cosines [B, M, K] of embeddings [B, M, E] with a gallery [K, E], both of
/// length 1.
at::Tensor candidate_scores(const at::Tensor& embeddings, const at::Tensor& gallery);

struct RetrievalData {
  TrustData items;     ///< Of the queries; `target` is not looked at
  at::Tensor gallery;  ///< [N, E] of length 1: what each item should find
  /// Features [B, D_m] of stream m to embeddings [B, E] of length 1.
  std::function<at::Tensor(size_t stream, const at::Tensor& features)> embed;
};

/// As fit_trust: every item looks for its own among `candidates` (fewer when there are few items),
/// the others drawn anew each time from items of other groups. Densities, consistency and gates are
/// fitted, the embeddings are taken as they are: `data` must be new to whoever trained them.
/// @throws Error kInvalidArgument for shapes that do not match, or fewer than 8 items.
TrustFit fit_trust_retrieval(const RetrievalData& data, const std::vector<std::string>& streams,
                             TrustOptions options, int64_t candidates = 32);

}  // namespace plait::train
