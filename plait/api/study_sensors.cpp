// Activities of people, measured by an accelerometer and a gyroscope.
#include "plait/api/study_data.h"
#include "plait/api/study_parts.h"
#include "plait/data/series/series_features.h"

namespace plait::api {
namespace {

StudyData sensors_study(const std::string& dataset, const std::string& note, double test_share,
                        uint64_t seed, const StudyProgress& progress) {
  data::DatasetSplits splits = data::load_dataset(
      dataset, {.seed = static_cast<int64_t>(seed), .validation = 0, .test = test_share});
  StudyPlan plan;
  plan.dataset = dataset;
  plan.licence = splits.info.licence;
  plan.note = note;
  plan.classes = static_cast<int64_t>(splits.classes.size());
  plan.seed = seed;
  for (const auto& [name, modality] : splits.info.streams) {
    StudyStream stream{name, modality, usual_damage(modality, {"drift", "clock_skew"}), {}};
    stream.encode = encode_each(
        [](const Value& value) { return data::series_features(std::get<at::Tensor>(value)); });
    plan.streams.push_back(std::move(stream));
  }
  plan.train = study_items(splits.train, splits);
  plan.test = study_items(splits.test, splits);
  return build_study(plan, progress);
}

}  // namespace

StudyData basic_motions_study(uint64_t seed, const StudyProgress& progress) {
  return sensors_study("basic_motions",
                       "Real recordings of a watch, synthetic damage; of 80 recordings half are "
                       "for training",
                       0.5, seed, progress);
}

StudyData har_study(uint64_t seed, const StudyProgress& progress) {
  return sensors_study("har",
                       "Real recordings of a phone, synthetic damage; training and test by "
                       "different people",
                       0.25, seed, progress);
}

}  // namespace plait::api
