#include "plait/train/trust/trust_sets.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "plait/core/error.h"

namespace plait::train {

void fit_label_sets(models::TrustModel& model, const TrustItems& items) {
  at::NoGradGuard no_grad;
  const auto& config = model.fusion().config();
  require(!config.values && !config.candidates && config.classes == 2, "trust",
          "expected a trust fusion of labels");
  const TrustItems known = select(items, answerable(model, items));
  const models::TrustModel::Verdict verdict = decide(model, known);
  model.set_label_sets(
      models::LabelSets::fit(verdict.log_probabilities, known.target, verdict.group));
}

void fit_candidate_sets(models::TrustModel& model, const TrustItems& items) {
  at::NoGradGuard no_grad;
  require(model.fusion().config().candidates, "trust", "expected a trust fusion of candidates");
  const int64_t all = items.evidence.log_probabilities.size(2);
  require(all >= 2, "trust", "expected at least two candidates");
  models::CandidateSets out;
  auto add = [&](int64_t count) {
    TrustItems some = items;
    some.evidence.log_probabilities =
        at::log_softmax(items.evidence.log_probabilities.narrow(2, all - count, count), -1);
    some.target = at::full_like(items.target, count - 1);
    const models::TrustModel::Verdict verdict = decide(model, some);
    out.add(count,
            models::ConformalSets::fit(verdict.log_probabilities, some.target, verdict.group));
  };
  for (int64_t count = 2; count < all; count *= 2) add(count);
  add(all);
  model.set_candidate_sets(std::move(out));
}

}  // namespace plait::train
