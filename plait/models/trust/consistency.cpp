#include "plait/models/trust/consistency.h"

#include <ATen/ATen.h>

#include <string>

#include "plait/core/error.h"

namespace plait::models {
namespace {

constexpr double kRidge = 0.01;  ///< Share of a coordinate's variance
constexpr double kMostNats = 20;

}  // namespace

CrossConsistency::CrossConsistency(std::vector<int64_t> widths) : widths_(std::move(widths)) {
  pairs_.resize(widths_.size());
  int64_t begin = 0;
  for (int64_t width : widths_) begin_.push_back(begin), begin += width;
  for (size_t a = 0; a < widths_.size(); ++a) {
    for (size_t b = 0; b < widths_.size(); ++b) {
      Pair pair;
      if (a != b) {
        const std::string name = std::to_string(a) + "." + std::to_string(b) + ".";
        pair.whitening = add_buffer(name + "whitening", at::eye(widths_[b]));
        pair.shift = add_buffer(name + "shift", at::zeros({}));
        pair.fitted = add_buffer(name + "fitted", at::zeros({}));
      }
      pairs_[a].push_back(pair);
    }
  }
}

void CrossConsistency::fit(const std::vector<at::Tensor>& told, const std::vector<at::Tensor>& x,
                           const at::Tensor& present) {
  at::NoGradGuard no_grad;
  for (size_t a = 0; a < widths_.size(); ++a) {
    for (size_t b = 0; b < widths_.size(); ++b) {
      if (a == b) continue;
      at::Tensor both = at::logical_and(present.select(1, static_cast<int64_t>(a)),
                                        present.select(1, static_cast<int64_t>(b)));
      at::Tensor rows = both.nonzero().squeeze(1);
      if (rows.size(0) < 2 * widths_[b]) continue;
      at::Tensor missed =
          (x[b] - told[a].narrow(1, begin_[b], widths_[b])).index_select(0, rows).to(at::kDouble);
      at::Tensor covariance = at::matmul(missed.t(), missed) / static_cast<double>(rows.size(0));
      covariance = covariance + kRidge * at::eye(widths_[b], covariance.options());
      auto [values, axes] = at::linalg_eigh(covariance);
      values = values.clamp_min(kRidge);
      const Pair& pair = pairs_[a][b];
      pair.whitening.copy_(axes / values.sqrt());
      pair.shift.fill_(-0.5 * values.log().sum().item<double>());
      pair.fitted.fill_(1);
    }
  }
}

at::Tensor CrossConsistency::ratio(const std::vector<at::Tensor>& told,
                                   const std::vector<at::Tensor>& x,
                                   const at::Tensor& alone) const {
  std::vector<at::Tensor> rows;
  for (size_t b = 0; b < widths_.size(); ++b) {
    for (size_t a = 0; a < widths_.size(); ++a) {
      at::Tensor without = alone.select(1, static_cast<int64_t>(b));
      if (a == b) {
        rows.push_back(at::zeros_like(without));
        continue;
      }
      const Pair& pair = pairs_[a][b];
      at::Tensor missed = x[b] - told[a].narrow(1, begin_[b], widths_[b]);
      at::Tensor given = pair.shift - 0.5 * at::matmul(missed, pair.whitening).square().sum(-1);
      rows.push_back(((given - without) * pair.fitted).clamp(-kMostNats, kMostNats));
    }
  }
  const auto m = static_cast<int64_t>(widths_.size());
  return at::stack(rows, -1).view({-1, m, m});
}

}  // namespace plait::models
