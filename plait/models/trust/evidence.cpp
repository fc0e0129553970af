#include "plait/models/trust/evidence.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/trust/questions.h"

namespace plait::models {
namespace {

constexpr at::Tensor Evidence::*kMembers[] = {
    &Evidence::log_probabilities, &Evidence::p_value, &Evidence::unusual, &Evidence::excess,
    &Evidence::consistency,       &Evidence::quality, &Evidence::present};

}  // namespace

Evidence select_rows(const Evidence& evidence, const at::Tensor& rows) {
  Evidence out;
  for (auto member : kMembers) out.*member = (evidence.*member).index_select(0, rows);
  if (evidence.tokens.defined()) out.tokens = evidence.tokens.index_select(0, rows);
  if (evidence.reader.defined()) out.reader = evidence.reader.index_select(0, rows);
  out.readers = evidence.readers;
  return out;
}

Evidence restrict_to(const Evidence& evidence, const at::Tensor& present) {
  Evidence out = evidence;
  out.present = at::logical_and(evidence.present, present);
  return out;
}

at::Tensor share_of_evidence(const at::Tensor& support, const at::Tensor& log_prior,
                             const at::Tensor& present, int64_t questions) {
  at::Tensor alone = log_normalise(support + log_prior, questions);
  at::Tensor moved = (alone.exp() * (alone - log_prior)).sum(-1).clamp_min(0) + 1e-6;
  moved = at::where(present, moved, at::zeros_like(moved));
  return moved / moved.sum(1, /*keepdim=*/true);
}

void check_finite(const std::vector<at::Tensor>& pooled, const at::Tensor& present,
                  const std::vector<std::string>& streams) {
  for (size_t m = 0; m < pooled.size(); ++m) {
    const at::Tensor& x = pooled[m];
    if (!x.defined() || x.dim() != 2 || x.size(0) != present.size(0)) continue;
    at::Tensor here = present.select(1, static_cast<int64_t>(m)).unsqueeze(1);
    if (at::logical_and(here, x.isfinite().logical_not()).any().item<bool>()) {
      fail(ErrorCode::kInvalidArgument, "trust",
           "expected finite features of \"" + streams.at(m) + "\", got NaN or infinity");
    }
  }
}

Evidence stack(const std::vector<Evidence>& parts) {
  require(!parts.empty(), "trust", "expected items to stack");
  Evidence out;
  for (auto member : kMembers) {
    std::vector<at::Tensor> rows;
    for (const Evidence& part : parts) rows.push_back(part.*member);
    out.*member = at::cat(rows);
  }
  std::vector<at::Tensor> tokens, reader;
  for (const Evidence& part : parts) {
    if (part.tokens.defined()) tokens.push_back(part.tokens);
    reader.push_back(part.reader.defined() ? part.reader
                                           : at::full({part.present.size(0)}, -1, at::kLong));
    if (part.readers.empty()) continue;
    require(out.readers.empty() || out.readers == part.readers, "trust",
            "expected items with the same joint experts");
    out.readers = part.readers;
  }
  require(tokens.empty() || tokens.size() == parts.size(), "trust",
          "expected tokens of all items or of none");
  if (!tokens.empty()) out.tokens = at::cat(tokens);
  if (!out.readers.empty()) out.reader = at::cat(reader);
  return out;
}

}  // namespace plait::models
