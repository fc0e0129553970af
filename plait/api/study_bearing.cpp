// A simulated bearing, and another machine with the same bearing.
#include <ATen/ATen.h>

#include <algorithm>

#include "plait/api/bearing_features.h"
#include "plait/api/study_data.h"
#include "plait/api/study_parts.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/data/datasets/datasets.h"
#include "plait/models/quality/quality.h"

namespace plait::api {
namespace {

constexpr double kTestShare = 0.2;
constexpr size_t kBatch = 32;  // Vibrations whose spectra are made at once.
constexpr int64_t kCopies = 2;
constexpr int64_t kThermalComponents = 24, kNoteComponents = 64;
/// Multiply-adds of the features, by formula: three Fourier transforms (2.5 N log2 N / 2 each for N
/// real values) and what is read from them; sums over fields and words, and the projections.
const std::vector<double> kCosts{2e5 + 4e4, 9e3 + 192.0 * kThermalComponents,
                                 1e3 + 256.0 * kNoteComponents};
constexpr int64_t kJudgedEvery = 4;  // Values of the vibration; its quality is read from these.

at::Tensor encode_vibrations(const std::vector<Value>& values) {
  const data::BearingConfig config;
  const size_t parts = (values.size() + kBatch - 1) / kBatch;
  std::vector<at::Tensor> rows(parts);
  for_each_in_parallel(parts, [&](size_t p) {
    SerialScope serial;
    std::vector<at::Tensor> batch;
    for (size_t i = p * kBatch; i < std::min(values.size(), (p + 1) * kBatch); ++i)
      batch.push_back(std::get<at::Tensor>(values[i]).select(1, 0));
    rows[p] = vibration_features(at::stack(batch), config.sample_rate_hz, config.geometry);
  });
  return at::cat(rows);
}

/// Every part but noise: a vibration is a wide band of frequencies, which reads as noise.
at::Tensor judge_vibration(const std::vector<Value>& values) {
  return encode_each([](const Value& value) {
    const at::Tensor& x = std::get<at::Tensor>(value);
    double score = 1;
    for (const auto& [name, part] :
         models::series_quality(x.slice(0, 0, x.size(0), kJudgedEvery)).parts) {
      if (name != "noise") score *= part;
    }
    return at::scalar_tensor(score, at::kFloat);
  })(values);
}

/// The note is replaced by what is written when there is no time.
StudyDamage boilerplate() {
  StudyDamage out;
  out.name = "boilerplate";
  out.apply = [](const Value&, double, uint64_t seed) -> Value {
    static const std::vector<std::string> kNotes{"No entry.", "See last entry.", "Round done.",
                                                 "As before.", "Checked."};
    return kNotes[seed % kNotes.size()];
  };
  out.levels = {{"1", 1.0}};
  return out;
}

/// Letters are read in another character set: a share `severity` of them become others.
StudyDamage garbled() {
  StudyDamage out;
  out.name = "garbled";
  out.seen = false;
  out.apply = [](const Value& value, double severity, uint64_t seed) -> Value {
    std::string text = std::get<std::string>(value);
    for (size_t i = 0; i < text.size(); ++i) {
      char& c = text[i];
      if (c >= 'a' && c <= 'z' && unit_interval(mix_seed(seed, i)) < severity)
        c = static_cast<char>('a' + (c - 'a' + 13) % 26);
    }
    return text;
  };
  return out;
}

/// The usual damage but for kinds that leave these features as they are.
std::vector<StudyDamage> harmful_damage(Modality modality, const std::vector<std::string>& held_out,
                                        const std::vector<std::string>& harmless) {
  std::vector<StudyDamage> out = usual_damage(modality, held_out);
  std::erase_if(out, [&](const StudyDamage& damage) {
    return std::find(harmless.begin(), harmless.end(), damage.name) != harmless.end();
  });
  return out;
}

}  // namespace

StudyData bearing_study(uint64_t seed, const StudyProgress& progress) {
  data::DatasetSplits splits = data::load_dataset(
      "bearing", {.seed = static_cast<int64_t>(seed), .validation = 0, .test = kTestShare});
  data::DatasetSplits shifted =
      data::load_dataset("bearing_shifted", {.seed = 0, .validation = 0, .test = 0});
  StudyPlan plan;
  plan.dataset = "bearing";
  plan.licence = splits.info.licence;
  plan.note =
      "Synthetic: vibration, thermal picture and log of a simulated bearing; the damage is "
      "synthetic too. shifted_machine: the same bearing in a machine of another speed, load, "
      "resonance and ambient temperature, nothing is damaged.";
  plan.classes = static_cast<int64_t>(splits.classes.size());
  plan.copies = kCopies;
  plan.seed = seed;

  StudyStream vibration{"vibration", Modality::kSeries, {}, {}};
  vibration.damage = harmful_damage(Modality::kSeries, {"stuck", "noise"}, {"drift", "clock_skew"});
  vibration.encode = encode_vibrations;
  vibration.judge = judge_vibration;

  StudyStream thermal{"thermal", Modality::kImage, {}, {}};
  thermal.damage = harmful_damage(Modality::kImage, {"occlusion", "exposure"}, {"gaussian_blur"});
  thermal.encode =
      encode_each([](const Value& value) { return thermal_features(std::get<at::Tensor>(value)); });
  thermal.components = kThermalComponents;

  StudyStream log{"log", Modality::kText, {}, {}};
  log.damage = harmful_damage(Modality::kText, {"blank"}, {"shuffle"});
  log.damage.push_back(boilerplate());
  log.damage.push_back(garbled());
  log.encode =
      encode_each([](const Value& value) { return note_features(std::get<std::string>(value)); });
  log.components = kNoteComponents;

  plan.streams = {std::move(vibration), std::move(thermal), std::move(log)};
  plan.train = study_items(splits.train, splits);
  plan.test = study_items(splits.test, splits);
  plan.others = {{"shifted_machine", study_items(shifted.train, shifted)}};
  StudyData out = build_study(plan, progress);
  out.costs = kCosts;
  return out;
}

}  // namespace plait::api
