#pragma once
#include <functional>
#include <memory>
#include <string>

#include "plait/api/experiment.h"
#include "plait/api/features.h"
#include "plait/api/multimodal_model.h"
#include "plait/core/config.h"
#include "plait/data/datasets/datasets.h"
#include "plait/train/trainer.h"

namespace plait::api {

/// What `plait train` does: a data set, a model whose encoders may be published ones, and how to
/// train it.
struct Recipe {
  std::string dataset;
  std::vector<std::string> streams;  ///< Of the data set; empty = its usual ones
  std::string task = "category";
  Json model = Json::object(
      {});  ///< FusedNetwork's config; {"encoder": {"pretrained": "minilm"}} fetches and loads,
            ///< {"encoder": {"pretrained": ["efficientnet-lite0", "plait-base:image"]}} joins
            ///< several
  Json training = Json::object({});  ///< TrainingArguments without output_dir
  int64_t seed = 0;
  int64_t split_seed = 0;
  int64_t damaged_copies = 2;  ///< Damaged variants of every training item
  double damage = 0.5;         ///< Probability that a stream of a training item is a damaged copy
  double wrong = 0.1;          ///< Share of damaged copies that are another item's
  double test_severity = 0.5;  ///< Least severity of the damage at test time (the most is 1)
  bool trust = true;           ///< Fit the trust fusion of every task of classes, labels or values
  Json compute = Json::object({});  ///< ComputeOptions: how much each encoder may cost

  std::string dir;  ///< Of the file; holds the tokenizer.json of text encoders trained from nothing

  void visit(ConfigVisitor& v);
  static Recipe tiny();
  void validate() const {}
  static Recipe read(const std::string& path);
};

/// recipes/stamps.json, from inside the library.
Recipe stamps_recipe();

/// Stages report here: "fetch", "features", "train", "evaluate".
using StageProgress = std::function<void(const std::string& stage, double done, double total,
                                         const std::string& note)>;

/// A model as the recipe describes it, published encoders loaded and the rest drawn from the seed;
/// classification tasks without labels get the data set's classes. With `compute` the encoders are
/// sized on the training items first; the plan is "compute" of the model's config. Shares that
/// follow importance need a first model, trained for a part of the epochs: `store` keeps its frozen
/// features.
std::shared_ptr<MultimodalModel> build_model(const Recipe& recipe,
                                             const data::DatasetSplits& splits,
                                             const StageProgress& progress = {},
                                             FeatureStore* store = nullptr);

/// Sets mean and deviation of the encoders of type "vector" from the training split, and from it
/// alone; those that have been set before (by this, or by loaded weights) stay as they are.
/// build_model does this when it is given training items, prepare_features in any case.
void fit_vector_encoders(MultimodalModel& model, const std::vector<Sample>& train);

/// Cached frozen features of the three splits: training with damaged copies, validation with one
/// per plan, test with one.
struct RecipeData {
  std::shared_ptr<train::FeatureDataset> train, validation, test;
  DamagePlan test_plan;
  std::vector<double> costs;  ///< Multiply-adds of each stream's encoder, for one item
};
RecipeData prepare_features(MultimodalModel& model, const Recipe& recipe,
                            const data::DatasetSplits& splits, FeatureStore* store,
                            const StageProgress& progress = {});

/// The same for calibration: without the training split where encoders were trained on it (its
/// features are then too good to calibrate with).
RecipeData prepare_calibration(MultimodalModel& model, const Recipe& recipe,
                               data::DatasetSplits splits, FeatureStore* store,
                               const StageProgress& progress = {});

/// Multiply-adds of each stream's encoder for the first item that has the stream; 0 where none has.
std::vector<double> encoder_costs(MultimodalModel& model, const std::vector<Sample>& samples);

/// The damage of the test split: every kind, from the recipe's test_severity up.
DamagePlan test_damage(const Recipe& recipe);

/// Features of one split, clean and damaged by `plan` (variant 1), with the targets of the
/// classification tasks.
std::shared_ptr<train::FeatureDataset> prepare_split(MultimodalModel& model,
                                                     const std::vector<Sample>& samples,
                                                     const DamagePlan& plan, FeatureStore* store,
                                                     const StageProgress& progress = {});

/// Trains what is not frozen on cached features, then calibrates and fits the trust fusion; the
/// model is marked as trained.
train::TrainResult train_model(MultimodalModel& model, const Recipe& recipe, const RecipeData& data,
                               const std::string& output_dir, const StageProgress& progress = {},
                               const std::string& resume = "none");

/// The end of train_model, for a model that is trained already: temperatures per subset of the
/// streams, and the trust fusion of every classification task.
void calibrate_model(MultimodalModel& model, const Recipe& recipe, const RecipeData& data,
                     const StageProgress& progress = {});

/// The recipe with another fusion layer ({"type": ...}) or with just one of its streams: baselines
/// that share everything else.
Recipe with_fusion(Recipe recipe, const Json& fusion);
Recipe with_only(Recipe recipe, const std::string& stream);

}  // namespace plait::api
