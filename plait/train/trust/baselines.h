#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/train/trust/baselines_dynamic.h"
#include "plait/train/trust/baselines_joint.h"

/// Published ways of fusing views that a claim about the trust fusion is measured against, written
/// from their papers, on the same inputs and with the same budget as its experts.
///
/// Every fit takes items as `fit_trust` does: variants beyond the first, if any, are damaged copies
/// that half of the draws come from. It is deterministic in the seed on one number of threads.
/// @throws Error kInvalidArgument for shapes or options that do not fit, no item, or features that
/// are not finite where present.
namespace plait::train {

/// "logit_mean", "concatenation", "concatenation_dropout" (with modality dropout),
/// "concatenation_augmented" (that and the damage bank), "ogm_ge", "mbt", "dma", "drg",
/// "modality_attention", "bridge", "progressive", "qmf", "pdf", "tmc", "fuml", "dynmm".
const std::vector<std::string>& baseline_names();

/// What the baseline of that name is trained with in studies: the common budget; the learning rate
/// of 5e-4, 1e-3, 2e-3 and 5e-3, then the bound of 100 and 3, that did best on validation items of
/// the handwritten digits, mean over clean and damaged (benchmarks/fusion/search.cpp has made
/// benchmarks/fusion/search.json); modality dropout of 0.3 where it belongs to the method or, as
/// for attention, nothing else prepares the network for a missing view.
/// @throws Error kInvalidArgument that lists the names.
BaselineOptions baseline_options(const std::string& name);

/// The baseline of that name, its own settings as in its paper, what all share from `options`.
std::shared_ptr<ViewClassifier> fit_baseline(const std::string& name, const TrustData& train,
                                             const TrustData& validation, int64_t classes,
                                             const BaselineOptions& options);

}  // namespace plait::train
