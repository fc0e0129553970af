#include "plait/api/recipe.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>

#include "plait/api/auto_model.h"
#include "plait/api/locate.h"
#include "plait/api/retrieval_trust.h"
#include "plait/api/size_encoders.h"
#include "plait/api/task_targets.h"
#include "plait/api/trust_fitting.h"
#include "plait/core/error.h"
#include "plait/models/encoders/vector.h"
#include "plait/runtime/multiply_adds.h"

namespace plait::api {
namespace {

/// A new folder for temporary files, gone at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "plait-XXXXXX").string();
    if (!::mkdtemp(name.data())) fail(ErrorCode::kIo, "recipe", "cannot make the folder " + name);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Replaces {"pretrained": ...} by the encoder's config; fills `weights` with the names of the
/// network.
void resolve_pretrained(const std::string& stream, Json& config, TensorMap& weights,
                        std::string& dir) {
  Json& encoder = config["encoder"];
  const Json* wanted = encoder.find("pretrained");
  if (!wanted) return;
  std::vector<std::string> names =
      wanted->is_array() ? wanted->as_strings() : std::vector<std::string>{wanted->as_string()};
  const std::string prefix = "streams." + stream + ".encoder.";
  Json given = encoder;
  given.erase("pretrained");
  std::vector<std::shared_ptr<AutoModel>> parts;
  for (const std::string& name : names) parts.push_back(AutoModel::from_pretrained(name));
  for (size_t i = 0; i < parts.size(); ++i) {
    std::string own = prefix + (parts.size() > 1 ? std::to_string(i) + "." : "");
    for (const auto& [key, tensor] : parts[i]->encoder()->state_dict())
      weights[own + key] = tensor.clone();
  }
  if (parts.size() == 1) {
    encoder = parts[0]->encoder_config();
  } else {
    Json list = Json::array();
    for (const auto& part : parts) list.push_back(part->encoder_config());
    encoder = Json::object({{"type", "parallel"}, {"encoders", list}});
  }
  for (const auto& [key, value] : given.members()) encoder[key] = value;
  dir = parts[0]->dir();
  Json processor = parts[0]->processor()->config();
  if (const Json* more = config.find("processor")) {
    for (const auto& [key, value] : more->members()) processor[key] = value;
  }
  config["processor"] = processor;
}

TensorMap label_targets(const std::vector<Sample>& samples, const MultimodalModel& model) {
  TensorMap out;
  for (const std::string& task : model.network().task_names()) {
    at::Tensor target = targets_of(samples, task, model.network().task_config(task));
    if (target.defined()) out[task] = target;
  }
  return out;
}

std::vector<std::string> groups_of(const std::vector<Sample>& samples) {
  std::vector<std::string> out;
  for (size_t i = 0; i < samples.size(); ++i)
    out.push_back(samples[i].group.empty() ? "item " + std::to_string(i) : samples[i].group);
  return out;
}

std::vector<std::string> ids_of(const std::vector<Sample>& samples) {
  std::vector<std::string> out;
  for (const Sample& sample : samples) out.push_back(sample.id);
  return out;
}

/// What each stream is worth to a model that is trained by the recipe for a part of its epochs.
std::map<std::string, double> measure_importance(Recipe recipe, const ComputeOptions& compute,
                                                 const data::DatasetSplits& splits,
                                                 const StageProgress& progress,
                                                 FeatureStore* store) {
  recipe.compute = Json::object({});
  const train::TrainingArguments defaults;
  recipe.training["num_train_epochs"] =
      compute.pilot * recipe.training.get("num_train_epochs", defaults.num_train_epochs);
  if (const auto steps = recipe.training.get("max_steps", defaults.max_steps); steps > 0)
    recipe.training["max_steps"] =
        std::max<int64_t>(1, std::llround(compute.pilot * double(steps)));
  data::DatasetSplits seen = splits;
  seen.test.clear();
  auto pilot = build_model(recipe, seen, progress, store);
  recipe.trust = recipe.trust && all_frozen(pilot->network());
  RecipeData data = prepare_features(*pilot, recipe, seen, store, progress);
  train_model(*pilot, recipe, data, "", progress);
  return stream_importance(*pilot, recipe.task, *data.validation);
}

}  // namespace

void Recipe::visit(ConfigVisitor& v) {
  v.field("dataset", dataset, "Name of a data set (plait data list)");
  v.field("streams", streams, "Streams of the data set; empty = its usual ones");
  v.field("task", task, "The task that is evaluated and calibrated");
  v.field("model", model, "Streams, fusion and tasks");
  v.field("training", training, "TrainingArguments");
  v.field("seed", seed, "Of initialisation and training", {.min = 0, .max = 1e15});
  v.field("split_seed", split_seed, "Of the splits", {.min = 0, .max = 1e15});
  v.field("damaged_copies", damaged_copies, "Damaged variants of every training item",
          {.min = 0, .max = 16});
  v.field("damage", damage, "Probability that a stream of a training item is a damaged copy",
          {.min = 0, .max = 1});
  v.field("wrong", wrong, "Share of damaged copies that are another item's", {.min = 0, .max = 1});
  v.field("test_severity", test_severity, "Least severity of the damage at test time",
          {.min = 0, .max = 1});
  v.field("trust", trust, "Fit the trust fusion of every classification task after training");
  v.field("compute", compute, "How much each stream's encoder may cost (ComputeOptions)");
}

Recipe Recipe::tiny() { return {}; }

Recipe Recipe::read(const std::string& path) {
  auto recipe = read_config<Recipe>(Json::read(path), path);
  const std::string dir = std::filesystem::path(path).parent_path().string();
  recipe.dir = dir.empty() ? "." : dir;
  return recipe;
}

std::shared_ptr<MultimodalModel> build_model(const Recipe& recipe,
                                             const data::DatasetSplits& splits,
                                             const StageProgress& progress, FeatureStore* store) {
  const auto compute = read_config<ComputeOptions>(recipe.compute, "compute");
  Json config = recipe.model;
  TensorMap weights;
  // Processors look their files up in streams/<name>/ of one folder, so the published ones are
  // gathered there.
  TemporaryFolder staging;
  std::set<std::string> published;
  const size_t count = config.at("streams").size();
  size_t done = 0;
  for (auto& [name, stream] : config["streams"].members()) {
    if (progress) progress("fetch", static_cast<double>(done++), static_cast<double>(count), name);
    std::string dir = recipe.dir;
    if (stream.at("encoder").contains("pretrained")) published.insert(name);
    resolve_pretrained(name, stream, weights, dir);
    std::filesystem::path folder = staging.path() / "streams" / name;
    std::filesystem::create_directories(folder);
    if (dir.empty()) continue;
    for (const char* file : {"tokenizer.json", "preprocessor_config.json"}) {
      if (std::filesystem::exists(std::filesystem::path(dir) / file)) {
        std::filesystem::copy_file(std::filesystem::path(dir) / file, folder / file,
                                   std::filesystem::copy_options::overwrite_existing);
      }
    }
  }
  for (auto& [name, task] : config["tasks"].members()) {
    complete_task(task, name, splits.train, splits.classes);
  }
  if (compute.asked()) {
    std::map<std::string, double> importance;
    if (compute.share.is_string())
      importance = measure_importance(recipe, compute, splits, progress, store);
    size_encoders(config, compute, importance, published, staging.path().string(), splits.train);
  }
  auto model = MultimodalModel::create(config, staging.path().string());
  model->network().initialize(static_cast<uint64_t>(recipe.seed));
  model->network().load_state_dict(weights, /*strict=*/false);
  model->network().train_mode(false);
  fit_vector_encoders(*model, splits.train);
  if (progress) progress("fetch", static_cast<double>(count), static_cast<double>(count), "");
  return model;
}

void fit_vector_encoders(MultimodalModel& model, const std::vector<Sample>& train) {
  for (const std::string& stream : model.network().stream_names()) {
    const auto* encoder = dynamic_cast<const models::Vector*>(&model.network().encoder(stream));
    if (!encoder || encoder->fitted()) continue;
    std::vector<const Value*> values;
    for (const Sample& sample : train) {
      auto it = sample.streams.find(stream);
      if (it != sample.streams.end()) values.push_back(&it->second);
    }
    if (values.empty()) continue;
    TensorMap rows = model.processor(stream).process(values, stream);
    TensorMap state;
    for (const auto& [name, tensor] : models::Vector::fit(get(rows, "values", "recipe")))
      state["streams." + stream + ".encoder." + name] = tensor;
    model.network().load_state_dict(state, /*strict=*/false);
  }
}

std::vector<double> encoder_costs(MultimodalModel& model, const std::vector<Sample>& samples) {
  at::NoGradGuard no_grad;
  std::vector<double> out;
  for (const std::string& stream : model.network().stream_names()) {
    auto has = [&](const Sample& sample) { return sample.streams.count(stream) > 0; };
    auto first = std::find_if(samples.begin(), samples.end(), has);
    if (first == samples.end()) {
      out.push_back(0);
      continue;
    }
    Sample one;
    one.streams[stream] = first->streams.at(stream);
    Batch batch = model.prepare({one});
    out.push_back(static_cast<double>(runtime::count_multiply_adds(
        [&] { model.network().encode(stream, batch.streams.at(stream)); })));
  }
  return out;
}

DamagePlan test_damage(const Recipe& recipe) {
  return {.seed = 7001,
          .min_severity = recipe.test_severity,
          .max_severity = 1.0,
          .wrong = recipe.wrong,
          .kinds = {}};
}

std::shared_ptr<train::FeatureDataset> prepare_split(MultimodalModel& model,
                                                     const std::vector<Sample>& samples,
                                                     const DamagePlan& plan, FeatureStore* store,
                                                     const StageProgress& progress) {
  ExtractOptions options;
  options.damaged = {plan};
  options.store = store;
  if (progress) {
    options.progress = [&](const std::string& stream, int64_t done, int64_t total) {
      progress("features", static_cast<double>(done), static_cast<double>(total), stream);
    };
  }
  return std::make_shared<train::FeatureDataset>(extract_features(model, samples, options),
                                                 label_targets(samples, model), ids_of(samples));
}

RecipeData prepare_features(MultimodalModel& model, const Recipe& recipe,
                            const data::DatasetSplits& splits, FeatureStore* store,
                            const StageProgress& progress) {
  fit_vector_encoders(model, splits.train);
  RecipeData out;
  out.test_plan = test_damage(recipe);
  std::vector<DamagePlan> copies;
  for (int64_t c = 0; c < recipe.damaged_copies; ++c) {
    copies.push_back({.seed = static_cast<uint64_t>(101 + c),
                      .min_severity = 0.1,
                      .max_severity = 1.0,
                      .wrong = recipe.wrong,
                      .kinds = {}});
  }
  const double total = static_cast<double>(splits.train.size() * (copies.size() + 1) +
                                           splits.validation.size() * 2 + splits.test.size() * 2) *
                       static_cast<double>(model.network().stream_names().size());
  double before = 0;
  auto extract = [&](const std::vector<Sample>& samples, std::vector<DamagePlan> plans) {
    ExtractOptions options;
    options.damaged = std::move(plans);
    options.store = store;
    const double size = static_cast<double>(samples.size() * (options.damaged.size() + 1));
    size_t stream_index = 0;
    std::string current;
    options.progress = [&](const std::string& stream, int64_t done, int64_t) {
      if (!current.empty() && stream != current) ++stream_index;
      current = stream;
      if (progress)
        progress("features",
                 before + size * static_cast<double>(stream_index) + static_cast<double>(done),
                 total, stream);
    };
    auto tables = extract_features(model, samples, options);
    before += size * static_cast<double>(tables.size());
    auto out = std::make_shared<train::FeatureDataset>(
        std::move(tables), label_targets(samples, model), ids_of(samples), recipe.damage);
    out->set_groups(groups_of(samples));
    return out;
  };
  DamagePlan validation_plan = out.test_plan;
  validation_plan.seed = 6001;
  out.train = extract(splits.train, copies);
  if (splits.validation.empty()) {
    fail(ErrorCode::kInvalidArgument, "train",
         "expected validation items: they calibrate the model");
  }
  out.validation = extract(splits.validation, {validation_plan});
  out.costs = encoder_costs(model, splits.train);
  if (!splits.test.empty()) out.test = extract(splits.test, {out.test_plan});
  return out;
}

RecipeData prepare_calibration(MultimodalModel& model, const Recipe& recipe,
                               data::DatasetSplits splits, FeatureStore* store,
                               const StageProgress& progress) {
  const bool frozen = all_frozen(model.network());
  // One item stays: the encoders' cost is counted with it.
  if (!frozen && splits.train.size() > 1) splits.train.resize(1);
  RecipeData out = prepare_features(model, recipe, splits, store, progress);
  if (!frozen) out.train = nullptr;
  return out;
}

train::TrainResult train_model(MultimodalModel& model, const Recipe& recipe, const RecipeData& data,
                               const std::string& output_dir, const StageProgress& progress,
                               const std::string& resume) {
  Json settings = recipe.training;
  settings["output_dir"] = output_dir;
  settings["seed"] = recipe.seed;
  settings["resume"] = resume;
  if (const Json* ratio = settings.find("modality_ratio");
      ratio && ratio->is_string() && ratio->as_string() == "default") {
    // Texts and pictures alike, sound half as often: 1 : 1 : 0.5.
    Json by_stream = Json::object({});
    for (const std::string& stream : model.network().stream_names())
      by_stream[stream] = model.network().modality(stream) == Modality::kAudio ? 0.5 : 1.0;
    settings["modality_ratio"] = by_stream;
  }
  auto args = read_config<train::TrainingArguments>(settings, "training");
  train::Trainer trainer(std::make_shared<FusedTrainable>(model.shared_network()), args, data.train,
                         data.validation);
  if (progress) {
    trainer.set_callback([&](const train::Progress& p) {
      std::ostringstream note;
      note.precision(3);
      note << "loss " << p.loss;
      progress("train", static_cast<double>(p.step), static_cast<double>(p.total_steps),
               note.str());
      return true;
    });
  }
  train::TrainResult result = trainer.train();
  model.network().train_mode(false);
  calibrate_model(model, recipe, data, progress);
  model.mark_trained();
  return result;
}

void calibrate_model(MultimodalModel& model, const Recipe& recipe, const RecipeData& data,
                     const StageProgress& progress) {
  Json calibration = Json::object({});
  for (const std::string& task : model.network().task_names()) {
    const TaskKind kind = kind_of(model.network().task_config(task));
    const bool retrieval = model.network().task_config(task).get("type", "") == "retrieval";
    if (kind == TaskKind::kOther && !retrieval) continue;
    if (kind == TaskKind::kClasses)
      calibration[task] = fit_calibration(model.network(), task, *data.validation);
    model.set_trust(task, nullptr);
    if (!recipe.trust) continue;
    TrustFitting options;
    options.fit.seed = options.calibration.seed = static_cast<uint64_t>(recipe.seed);
    options.calibration.costs = data.costs;
    const train::FeatureDataset& source = data.train ? *data.train : *data.validation;
    if (progress) {
      options.fit.progress = [&](const std::string& stage, double share) {
        progress("trust", share, 1, stage);
      };
    }
    model.set_trust(
        task, retrieval
                  ? fit_retrieval_trust(model.network(), task, *data.validation, options)
                  : fit_trust_model(model.network(), task, source, *data.validation, options));
  }
  model.set_calibration(calibration);
}

Recipe with_fusion(Recipe recipe, const Json& fusion) {
  recipe.model["fusion"] = fusion;
  return recipe;
}

Recipe with_only(Recipe recipe, const std::string& stream) {
  Json kept = recipe.model.at("streams").at(stream);
  recipe.model["streams"] = Json::object({{stream, kept}});
  return recipe;
}

}  // namespace plait::api
