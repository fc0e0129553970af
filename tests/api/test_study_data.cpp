#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "plait/api/digit_features.h"
#include "plait/api/study_data.h"
#include "plait/core/error.h"
#include "tests/api/study_checks.h"

/// With the real packages, which the set-up step has put into the cache (else they are fetched
/// here).
namespace plait::api {
namespace {

/// Share of items whose nearest training item (standardised, clean) in stream m has their class.
double nearest_accuracy(const StudyData& data, size_t m) {
  const at::Tensor& train = data.train.features[m][0];
  const at::Tensor& test = data.conditions[0].test.features[m][0];
  at::Tensor mean = train.mean(0), deviation = train.std(0) + 1e-6;
  at::Tensor nearest = at::cdist((test - mean) / deviation, (train - mean) / deviation).argmin(1);
  return data.train.target.index_select(0, nearest)
      .eq(data.conditions[0].test.target)
      .to(at::kDouble)
      .mean()
      .item<double>();
}

double quality(const StudyData& data, const std::string& name, size_t m) {
  return condition(data, name).test.quality[m][0].mean().item<double>();
}

TEST(BasicMotionsStudy, HalfForTrainingWithSixKindsOfDamage) {
  StudyData data = basic_motions_study(3);
  expect_sound(data);
  EXPECT_EQ(data.classes, 4);
  EXPECT_EQ(data.streams, (std::vector<std::string>{"accelerometer", "gyroscope"}));
  EXPECT_EQ(data.train.size(), 40);
  EXPECT_EQ(data.conditions[0].test.size(), 40);
  EXPECT_EQ(data.conditions.size(), 1u + 2 * (6 * 2 + 2) + 3);
  for (const char* kind : {"drift_1", "clock_skew_0.5"})
    EXPECT_FALSE(condition(data, std::string("gyroscope/") + kind).seen);
  for (const char* kind : {"dropout_1", "stuck_1", "spikes_0.5", "noise_1"})
    EXPECT_TRUE(condition(data, std::string("gyroscope/") + kind).seen);
  for (size_t m = 0; m < 2; ++m) EXPECT_GT(nearest_accuracy(data, m), 0.8);
  expect_same(data, basic_motions_study(3));
  EXPECT_FALSE(data.train.features[0][0].equal(basic_motions_study(4).train.features[0][0]));
}

TEST(HarStudy, OtherPeopleInTheTest) {
  StudyData data = har_study(0);
  expect_sound(data);
  EXPECT_EQ(data.classes, 6);
  EXPECT_EQ(data.train.size() + data.conditions[0].test.size(), 2880);
  // Whole people: 96 windows each.
  EXPECT_EQ(data.train.size() % 96, 0);
  EXPECT_NE(data.licence.find("states none"), std::string::npos);
  EXPECT_GT(nearest_accuracy(data, 0), 0.75);
  EXPECT_GT(nearest_accuracy(data, 1), 0.6);
  EXPECT_LT(quality(data, "gyroscope/dropout_1", 1), 0.3 * quality(data, "clean", 1));
}

TEST(DigitsStudy, PicturesAndVoicesInNoise) {
  StudyData data = audio_visual_digits_study(1);
  expect_sound(data, {"speech/snr_6", "speech/snr_-3"});
  EXPECT_EQ(data.classes, 10);
  EXPECT_EQ(data.streams, (std::vector<std::string>{"image", "speech"}));
  EXPECT_EQ(data.train.size() + data.conditions[0].test.size(), 2000);
  EXPECT_NE(data.note.find("synthetic (espeak-ng)"), std::string::npos);
  // Few components, but enough to tell most digits.
  EXPECT_GE(data.train.widths()[0], 5);
  EXPECT_LE(data.train.widths()[0], 9);
  EXPECT_EQ(data.train.widths()[1], 64);
  for (size_t m = 0; m < 2; ++m) {
    EXPECT_GT(nearest_accuracy(data, m), 0.5);
    EXPECT_LT(nearest_accuracy(data, m), 0.92);
  }
  for (const char* kind : {"image/salt_and_pepper_1", "image/exposure_0.5", "speech/reverb_1",
                           "speech/dropouts_0.5", "speech/babble_noise_1"})
    EXPECT_FALSE(condition(data, kind).seen) << kind;
  for (const char* kind : {"image/occlusion_1", "speech/snr_-25", "speech/clipping_1"})
    EXPECT_TRUE(condition(data, kind).seen) << kind;
  EXPECT_GT(quality(data, "speech/snr_6", 1), quality(data, "speech/snr_-10", 1) + 0.1);
  expect_same(data, audio_visual_digits_study(1));
}

at::Tensor tone(double seconds) {
  at::Tensor time = at::arange(static_cast<int64_t>(seconds * kDigitRate), at::kFloat);
  return 0.3 * (time * (2 * M_PI * 700 / kDigitRate)).sin();
}

TEST(DigitFeatures, SpeechIsCutAndLevelled) {
  at::Tensor sound = at::cat({at::zeros({9000}), tone(0.4), at::zeros({3000})});
  at::Tensor got = one_second(sound, 1);
  ASSERT_EQ(got.sizes(), at::IntArrayRef({kDigitRate}));
  at::Tensor where = at::nonzero(got).flatten();
  const double first = where[0].item<double>(), last = where[-1].item<double>();
  EXPECT_NEAR(last - first, 0.4 * kDigitRate, 160);
  EXPECT_NEAR((first + last) / 2, 0.5 * kDigitRate, 0.02 * kDigitRate + 160);
  EXPECT_NEAR(got.square().sum().item<double>() / (0.4 * kDigitRate), 0.01, 0.0005);
  EXPECT_FALSE(got.equal(one_second(sound, 2)));
  EXPECT_EQ(one_second(tone(3), 1).sizes(), at::IntArrayRef({kDigitRate}));
  EXPECT_TRUE(one_second(at::zeros({100}), 1).eq(0).all().item<bool>());
  EXPECT_TRUE(one_second(at::zeros({0}), 1).eq(0).all().item<bool>());
  EXPECT_THROW(one_second(at::zeros({2, 100}), 1), Error);
}

TEST(DigitFeatures, NoiseHasTheRatioThatItIsAskedFor) {
  Waveform speech{one_second(tone(0.99), 1), kDigitRate};
  at::Tensor x = speech.samples.to(at::kDouble);
  for (uint64_t seed = 0; seed < 12; ++seed) {
    at::Tensor y = add_noise(speech, 0, seed).samples.to(at::kDouble);
    // The share of the speech in the sum, by projection: half of the power at 0 dB.
    const double gain = ((x * y).sum() / x.square().sum()).item<double>();
    const double snr = ((gain * x).square().sum() / (y - gain * x).square().sum()).item<double>();
    EXPECT_NEAR(10 * std::log10(snr), 0, 1.0) << seed;
    EXPECT_NEAR(y.square().mean().item<double>(), 0.0025, 0.0004) << seed;
    EXPECT_TRUE(y.equal(add_noise(speech, 0, seed).samples.to(at::kDouble)));
  }
  EXPECT_THROW(add_noise({at::zeros({100}), kDigitRate}, 0, 1), Error);
  EXPECT_THROW(add_noise({at::zeros({16000}), 16000}, 0, 1), Error);
}

TEST(DigitFeatures, DoNotFollowTheLevel) {
  Waveform speech = add_noise({one_second(tone(0.5), 1), kDigitRate}, 20, 1);
  at::Tensor loud = digit_sound_features(speech);
  ASSERT_EQ(loud.sizes(), at::IntArrayRef({kDigitMels * kDigitFrames}));
  at::Tensor quiet = digit_sound_features({speech.samples / 10, kDigitRate});
  EXPECT_TRUE(at::allclose(loud, quiet, 0.01, 0.05));
  // The tone shows in its own band, in the middle of the second.
  at::Tensor map = loud.view({kDigitMels, kDigitFrames});
  EXPECT_EQ(map.slice(1, 15, 25).mean(1).argmax().item<int64_t>(),
            std::get<0>(map.max(1)).argmax().item<int64_t>());
  EXPECT_TRUE(
      digit_sound_features({at::zeros({kDigitRate}), kDigitRate}).isfinite().all().item<bool>());
  EXPECT_THROW(digit_sound_features({at::zeros({10}), kDigitRate}), Error);
}

}  // namespace
}  // namespace plait::api
