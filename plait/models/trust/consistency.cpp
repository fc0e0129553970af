#include "plait/models/trust/consistency.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::models {
namespace {

constexpr double kRidge = 0.01;  ///< Share of a coordinate's variance
constexpr double kMostNats = 20;

/// W with W Wᵀ = Σ⁻¹, and log|Σ|.
std::pair<at::Tensor, double> whitening_of(const at::Tensor& rows, double lost_degrees) {
  const auto n = static_cast<double>(rows.size(0));
  at::Tensor covariance = at::matmul(rows.t(), rows) / std::max(n - lost_degrees, n / 2);
  at::Tensor floor = kRidge * at::eye(rows.size(1), rows.options());
  auto [values, axes] = at::linalg_eigh(covariance + floor);
  values = values.clamp_min(kRidge / 2);
  return {axes / values.sqrt(), values.log().sum().item<double>()};
}

}  // namespace

CrossConsistency::CrossConsistency(std::vector<int64_t> widths) : widths_(std::move(widths)) {
  pairs_.resize(widths_.size());
  for (size_t a = 0; a < widths_.size(); ++a) {
    const std::string own = std::to_string(a);
    mean_.push_back(add_buffer(own + ".mean", at::zeros({widths_[a]})));
    whitening_.push_back(add_buffer(own + ".whitening", at::eye(widths_[a])));
    for (size_t b = 0; b < widths_.size(); ++b) {
      Pair pair;
      if (a != b) {
        const std::string name = own + "." + std::to_string(b) + ".";
        pair.weight = add_buffer(name + "weight", at::zeros({widths_[a], widths_[b]}));
        pair.residual = add_buffer(name + "residual", at::eye(widths_[b]));
        pair.shift = add_buffer(name + "shift", at::zeros({}));
        pair.fitted = add_buffer(name + "fitted", at::zeros({}));
      }
      pairs_[a].push_back(pair);
    }
  }
}

void CrossConsistency::fit(const std::vector<at::Tensor>& x, const at::Tensor& present) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> centred;
  std::vector<double> volume;
  for (size_t m = 0; m < widths_.size(); ++m) {
    at::Tensor rows = present.select(1, static_cast<int64_t>(m)).nonzero().squeeze(1);
    at::Tensor own = x[m].index_select(0, rows).to(at::kDouble);
    require(own.size(0) > 0, "trust", "expected items with every stream");
    mean_[m].copy_(own.mean(0));
    auto [whitening, log_volume] = whitening_of(own - own.mean(0), 1);
    whitening_[m].copy_(whitening);
    volume.push_back(log_volume);
    centred.push_back(x[m].to(at::kDouble) - own.mean(0));
  }
  for (size_t a = 0; a < widths_.size(); ++a) {
    for (size_t b = 0; b < widths_.size(); ++b) {
      if (a == b) continue;
      at::Tensor both = at::logical_and(present.select(1, static_cast<int64_t>(a)),
                                        present.select(1, static_cast<int64_t>(b)));
      at::Tensor rows = both.nonzero().squeeze(1);
      if (rows.size(0) < 2 * std::max(widths_[a], widths_[b])) continue;
      at::Tensor from = centred[a].index_select(0, rows), to = centred[b].index_select(0, rows);
      at::Tensor gram = at::matmul(from.t(), from);
      at::Tensor ridge =
          kRidge * static_cast<double>(rows.size(0)) * at::eye(widths_[a], gram.options());
      at::Tensor weight = at::linalg_solve(gram + ridge, at::matmul(from.t(), to));
      auto [whitening, log_volume] =
          whitening_of(to - at::matmul(from, weight), static_cast<double>(widths_[a]));
      const Pair& pair = pairs_[a][b];
      pair.weight.copy_(weight);
      pair.residual.copy_(whitening);
      pair.shift.fill_(0.5 * (volume[b] - log_volume));
      pair.fitted.fill_(1);
    }
  }
}

at::Tensor CrossConsistency::ratio(const std::vector<at::Tensor>& x) const {
  std::vector<at::Tensor> centred, alone, rows;
  for (size_t m = 0; m < widths_.size(); ++m) {
    centred.push_back(x[m] - mean_[m]);
    alone.push_back(at::matmul(centred[m], whitening_[m]).square().sum(-1));
  }
  for (size_t b = 0; b < widths_.size(); ++b) {
    for (size_t a = 0; a < widths_.size(); ++a) {
      if (a == b) {
        rows.push_back(at::zeros_like(alone[b]));
        continue;
      }
      const Pair& pair = pairs_[a][b];
      at::Tensor left = centred[b] - at::matmul(centred[a], pair.weight);
      at::Tensor given = at::matmul(left, pair.residual).square().sum(-1);
      at::Tensor nats = pair.shift + 0.5 * (alone[b] - given);
      rows.push_back((nats * pair.fitted).clamp(-kMostNats, kMostNats));
    }
  }
  const auto m = static_cast<int64_t>(widths_.size());
  return at::stack(rows, -1).view({-1, m, m});
}

}  // namespace plait::models
