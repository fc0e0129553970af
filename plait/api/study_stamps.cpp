// Tux Paint's stamps behind the frozen encoders of recipes/stamps.json.
#include <ATen/ATen.h>

#include <algorithm>

#include "plait/api/features.h"
#include "plait/api/frozen_stream.h"
#include "plait/api/recipe.h"
#include "plait/api/study_data.h"
#include "plait/api/study_parts.h"
#include "plait/core/disk_feature_store.h"
#include "plait/data/datasets/datasets.h"
#include "plait/data/datasets/manifest.h"
#include "plait/data/packages/cache.h"

namespace plait::api {
namespace {

constexpr double kTestShare = 0.2;
constexpr int64_t kCopies = 2;
/// One for all splits: what befalls an item is encoded once.
constexpr uint64_t kDamageSeed = 2022;
const std::vector<StudyLevel> kLevels{{"0.7", 0.7}};

struct Kinds {
  std::vector<std::string> seen, unseen;
};

const std::map<std::string, Kinds>& kinds() {
  static const std::map<std::string, Kinds> kKinds{
      {"text", {{"typos", "blank"}, {"shuffle"}}},
      {"image", {{"gaussian_blur", "gaussian_noise", "exposure"}, {"occlusion", "jpeg"}}},
      {"speech", {{"white_noise", "clipping", "silence"}, {"babble_noise", "reverb"}}}};
  return kKinds;
}

/// The first `items` of each class; 0: all.
std::vector<Sample> first_of(const std::vector<Sample>& samples, const std::string& label,
                             int64_t items) {
  std::map<std::string, int64_t> counts;
  std::vector<Sample> out;
  for (const Sample& sample : samples) {
    if (items == 0 || ++counts[sample.labels.at(label).as_string()] <= items) out.push_back(sample);
  }
  return out;
}

StudyItems named_items(const std::vector<Sample>& samples, const std::vector<std::string>& streams,
                       const data::DatasetSplits& splits) {
  StudyItems out;
  for (const Sample& sample : samples) {
    out.ids.push_back(sample.id);
    out.groups.push_back(data::caption_group(std::get<std::string>(sample.streams.at("text"))));
  }
  std::vector<Value> names;
  for (const std::string& id : out.ids) names.push_back(FrozenStream::clean(id));
  out.values.assign(streams.size(), names);
  out.target = class_targets(samples, splits.info.label, splits.classes);
  return out;
}

}  // namespace

StudyData stamps_study(uint64_t seed, const StudyProgress& progress) {
  return stamps_subset_study(0, seed, progress);
}

StudyData stamps_subset_study(int64_t items, uint64_t seed, const StudyProgress& progress) {
  const std::vector<std::string> streams{"text", "image", "speech"};
  data::DatasetSplits splits =
      data::load_dataset("stamps", {.streams = {"text", "image", "speech", "text_es"},
                                    .seed = static_cast<int64_t>(seed),
                                    .validation = 0,
                                    .test = kTestShare});
  const std::vector<Sample> train = first_of(splits.train, splits.info.label, items),
                            test = first_of(splits.test, splits.info.label, items);
  std::vector<Sample> all = train;
  all.insert(all.end(), test.begin(), test.end());
  if (progress) progress("load the encoders", 0);
  auto model = build_model(stamps_recipe(), splits);
  DiskFeatureStore store(data::cache_dir() + "/studies");

  StudyPlan plan;
  plan.dataset = "stamps";
  plan.licence = splits.info.licence;
  plan.note =
      "Real pictures, captions and French speech (people's voices), by frozen published encoders; "
      "the damage is synthetic. foreign: the caption in Spanish, which the text encoder was not "
      "made for.";
  plan.classes = static_cast<int64_t>(splits.classes.size());
  plan.copies = kCopies;
  plan.seed = seed;
  plan.damage_seed = kDamageSeed;
  for (const std::string& name : streams) {
    auto frozen = std::make_shared<FrozenStream>(model, name, all, &store);
    StudyStream stream{name, model->network().modality(name), {}, {}};
    for (const std::string& kind : kinds().at(name).seen)
      stream.damage.push_back(FrozenStream::damage(kind, true, kLevels));
    for (const std::string& kind : kinds().at(name).unseen)
      stream.damage.push_back(FrozenStream::damage(kind, false, kLevels));
    if (name == "text")
      stream.damage.push_back(frozen->replaced_by("foreign", "text_es", false, all));
    stream.encode = [frozen](const std::vector<Value>& values) { return frozen->encode(values); };
    stream.judge = [frozen](const std::vector<Value>& values) { return frozen->judge(values); };
    plan.streams.push_back(std::move(stream));
  }
  plan.train = named_items(train, streams, splits);
  plan.test = named_items(test, streams, splits);
  StudyData out = build_study(plan, progress);
  out.costs = encoder_costs(*model, all);
  for (const auto& [name, from] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"image+speech", {"image/gaussian_noise_0.7", "speech/white_noise_0.7"}},
           {"text+speech", {"text/wrong", "speech/reverb_0.7"}},
           {"text+image", {"text/foreign_1", "image/occlusion_0.7"}}})
    out.conditions.push_back(both(out, name, from));
  return out;
}

}  // namespace plait::api
