#pragma once
#include <string>
#include <vector>

#include "plait/models/trust/trust_fusion.h"

/// Cutting and joining of what the streams say.
namespace plait::models {

/// Some of the items; rows [N] int64.
Evidence select_rows(const Evidence& evidence, const at::Tensor& rows);
/// The same items with only those streams that `present` [B, M] (or [1, M]) leaves.
Evidence restrict_to(const Evidence& evidence, const at::Tensor& present);
/// Each stream's share [B, M] of what moves the prior [K]: the divergence from it, in nats, of the
/// answer that the stream's support [B, M, K] alone would give (summed over the questions); 0 where
/// absent, sums to 1.
at::Tensor share_of_evidence(const at::Tensor& support, const at::Tensor& log_prior,
                             const at::Tensor& present, int64_t questions = 1);
/// Refuses features pooled[m] [B, D_m] (undefined: nobody has the stream) that are not finite where
/// the stream is present [B, M]: NaN would pass through to every answer.
/// @throws Error kInvalidArgument that names the stream.
void check_finite(const std::vector<at::Tensor>& pooled, const at::Tensor& present,
                  const std::vector<std::string>& streams);
/// Items below each other. @throws Error kInvalidArgument for an empty list.
Evidence stack(const std::vector<Evidence>& parts);

}  // namespace plait::models
