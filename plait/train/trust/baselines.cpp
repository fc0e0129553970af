#include "plait/train/trust/baselines.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::train {
namespace {

using Fit = std::shared_ptr<ViewClassifier> (*)(const TrustData& train, const TrustData& validation,
                                                int64_t classes, const BaselineOptions& options);

struct Baseline {
  std::string name;
  Fit fit;
  double lr, bound;  ///< From benchmarks/fusion/search.json
  double modality_dropout = 0;
  Augmentation augmentation = Augmentation::kCopies;
};

/// The baseline's own options with its own defaults and what all share from `common`.
template <class Options>
Options with(const BaselineOptions& common) {
  Options out;
  static_cast<BaselineOptions&>(out) = common;
  return out;
}

template <class Options, auto fit>
std::shared_ptr<ViewClassifier> fit_as(const TrustData& train, const TrustData& validation,
                                       int64_t classes, const BaselineOptions& options) {
  return fit(train, validation, classes, with<Options>(options));
}

/// Baselines whose name is that of the fusion layer; `heads` where it attends.
template <const char* type, int heads = 0>
std::shared_ptr<ViewClassifier> fit_layer(const TrustData& train, const TrustData& validation,
                                          int64_t classes, const BaselineOptions& options) {
  Json fusion = Json::object({{"type", type}});
  if (heads > 0) fusion["heads"] = heads;
  return fit_fusion_layer(train, validation, classes, fusion, with<FusionLayerOptions>(options));
}

constexpr char kDma[] = "dma", kDrg[] = "drg", kModalityAttention[] = "modality_attention",
               kBridge[] = "bridge", kProgressive[] = "progressive";
constexpr int kHeads = 4;
constexpr double kHidden = 0.3;

const std::vector<Baseline>& baselines() {
  static const std::vector<Baseline> kAll{
      {"logit_mean", fit_logit_mean, 2e-3, 3},
      {"concatenation", fit_concatenation, 5e-4, 3},
      {"concatenation_dropout", fit_concatenation, 5e-4, 3, kHidden},
      {"concatenation_augmented", fit_concatenation, 5e-4, 3, kHidden, Augmentation::kBank},
      {"ogm_ge", fit_as<OgmGeOptions, fit_ogm_ge>, 2e-3, 3},
      {"mbt", fit_as<MbtOptions, fit_mbt>, 2e-3, 100, kHidden},
      {kDma, fit_layer<kDma>, 1e-3, 3, kHidden},
      {kDrg, fit_layer<kDrg>, 5e-4, 3, kHidden},
      {kModalityAttention, fit_layer<kModalityAttention, kHeads>, 5e-4, 3, kHidden},
      {kBridge, fit_layer<kBridge, kHeads>, 5e-4, 3, kHidden},
      {kProgressive, fit_layer<kProgressive, kHeads>, 5e-3, 100, kHidden},
      {"qmf", fit_as<QmfOptions, fit_qmf>, 1e-3, 3},
      {"pdf", fit_as<PdfOptions, fit_pdf>, 2e-3, 3},
      {"tmc", fit_as<TmcOptions, fit_tmc>, 5e-3, 3},
      {"fuml", fit_as<FumlOptions, fit_fuml>, 2e-3, 100},
      {"dynmm", fit_as<DynMmOptions, fit_dynmm>, 2e-3, 3},
  };
  return kAll;
}

const Baseline& baseline(const std::string& name) {
  std::string names;
  for (const Baseline& b : baselines()) {
    if (b.name == name) return b;
    names += (names.empty() ? "" : ", ") + b.name;
  }
  fail(ErrorCode::kInvalidArgument, "baselines",
       "expected one of " + names + ", got \"" + name + "\"");
}

}  // namespace

const std::vector<std::string>& baseline_names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> out;
    for (const Baseline& b : baselines()) out.push_back(b.name);
    return out;
  }();
  return kNames;
}

BaselineOptions baseline_options(const std::string& name) {
  const Baseline& b = baseline(name);
  BaselineOptions out;
  out.lr = b.lr;
  out.bound = b.bound;
  out.modality_dropout = b.modality_dropout;
  out.augmentation = b.augmentation;
  return out;
}

std::shared_ptr<ViewClassifier> fit_baseline(const std::string& name, const TrustData& train,
                                             const TrustData& validation, int64_t classes,
                                             const BaselineOptions& options) {
  return baseline(name).fit(train, validation, classes, options);
}

}  // namespace plait::train
