// Handwritten digits with the digit spoken, both as poor as cheap sensors have them.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "plait/api/digit_features.h"
#include "plait/api/study_data.h"
#include "plait/api/study_parts.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/data/audio/audio.h"

namespace plait::api {
namespace {

constexpr double kTestShare = 0.25;
/// Pictures keep the components that hold this share of their variance: seven of 784.
constexpr double kPictureEnergy = 0.4;
constexpr int64_t kSpeechComponents = 64;
/// Where the usual noise lies, and where the test's noise ends.
constexpr double kLeastSnr = -3, kMostSnr = 6, kWorstSnr = -25;

/// 0: the least of the usual noise, 1: nothing is left of the speech.
double severity_of(double snr_db) { return (kMostSnr - snr_db) / (kMostSnr - kWorstSnr); }

StudyDamage noise_damage() {
  StudyDamage out;
  out.name = "snr";
  out.apply = [](const Value& value, double severity, uint64_t seed) -> Value {
    const double snr_db = kMostSnr + severity * (kWorstSnr - kMostSnr);
    return add_noise(std::get<Waveform>(value), snr_db, seed);
  };
  out.from_source = true;
  // Of the first two training has plenty without damage.
  out.levels = {{"6", severity_of(6), false},
                {"-3", severity_of(-3), false},
                {"-10", severity_of(-10)},
                {"-25", severity_of(-25)}};
  out.min_severity = severity_of(kLeastSnr);
  return out;
}

/// Speech as it comes: one second with the usual noise; `sources` without.
StudyItems items_of(const std::vector<Sample>& samples, const data::DatasetSplits& splits,
                    uint64_t seed) {
  StudyItems out = study_items(samples, splits);
  out.sources = out.values;
  for_each_in_parallel(samples.size(), [&](size_t i) {
    const uint64_t own = study_seed(seed, "speech " + samples[i].id);
    data::AudioOptions options;
    options.sample_rate = kDigitRate;
    Waveform speech = data::load_audio(std::get<Path>(out.values[1][i]).path, options);
    speech.samples = one_second(speech.samples, mix_seed(own, 1));
    const double snr_db = kLeastSnr + (kMostSnr - kLeastSnr) * unit_interval(mix_seed(own, 2));
    out.values[1][i] = add_noise(speech, snr_db, mix_seed(own, 3));
    out.sources[1][i] = std::move(speech);
  });
  return out;
}

}  // namespace

StudyData audio_visual_digits_study(uint64_t seed, const StudyProgress& progress) {
  data::DatasetSplits splits =
      data::load_dataset("audio_visual_digits", {.streams = {"image", "speech"},
                                                 .seed = static_cast<int64_t>(seed),
                                                 .validation = 0,
                                                 .test = kTestShare});
  StudyPlan plan;
  plan.dataset = "audio_visual_digits";
  plan.licence = splits.info.licence;
  plan.note =
      "Real pictures with seven components left; 24 in 25 recordings synthetic (espeak-ng), the "
      "others real; noise and other damage synthetic; speakers and voices disjoint between "
      "training and test";
  plan.classes = static_cast<int64_t>(splits.classes.size());
  plan.copies = 2;
  plan.seed = seed;

  StudyStream image{"image",
                    Modality::kImage,
                    usual_damage(Modality::kImage, {"salt_and_pepper", "exposure"}),
                    {}};
  image.encode = [](const std::vector<Value>& values) {
    std::vector<at::Tensor> pictures;
    for (const Value& value : values) pictures.push_back(std::get<at::Tensor>(value).select(2, 0));
    return at::stack(pictures, 0).flatten(1).to(at::kFloat) / 255;
  };
  image.components = 784;
  image.energy = kPictureEnergy;

  StudyStream speech{"speech",
                     Modality::kAudio,
                     usual_damage(Modality::kAudio, {"babble_noise", "reverb", "dropouts"}),
                     {}};
  // Steady noise is there already, and stronger.
  std::erase_if(speech.damage, [](const StudyDamage& damage) {
    return damage.name == "white_noise" || damage.name == "pink_noise";
  });
  speech.damage.push_back(noise_damage());
  speech.encode = encode_each(
      [](const Value& value) { return digit_sound_features(std::get<Waveform>(value)); });
  speech.components = kSpeechComponents;

  plan.streams = {std::move(image), std::move(speech)};
  plan.train = items_of(splits.train, splits, seed);
  plan.test = items_of(splits.test, splits, seed);
  return build_study(plan, progress);
}

}  // namespace plait::api
