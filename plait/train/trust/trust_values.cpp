#include "plait/train/trust/trust_values.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

#include "plait/core/error.h"

namespace plait::train {

TrustFit fit_trust_values(TrustData train, const at::Tensor& y,
                          const std::vector<std::string>& streams, TrustOptions options,
                          int64_t bins) {
  require(y.defined() && y.dim() == 2 && y.size(0) == train.size() && y.size(1) >= 1, "trust",
          "expected values [N, R] of every item");
  auto grid = std::make_shared<models::ValueGrid>(y.size(1), bins);
  grid->fit(y);
  train.target = grid->bins_of(y);
  options.grid = grid;
  return fit_trust(train, streams, bins, options);
}

void fit_intervals(models::TrustModel& model, const TrustItems& items, const at::Tensor& y) {
  at::NoGradGuard no_grad;
  const models::ValueGrid* grid = model.fusion().grid();
  require(grid && y.dim() == 2 && y.size(0) == items.item.size(0), "trust",
          "expected a trust fusion of values, and the values of every item");
  at::Tensor rows = answerable(model, items);
  models::TrustModel::Verdict verdict = decide(model, select(items, rows));
  model.set_intervals(models::ConformalIntervals::fit(*grid, verdict.log_probabilities,
                                                      y.index_select(0, rows), verdict.group));
}

}  // namespace plait::train
