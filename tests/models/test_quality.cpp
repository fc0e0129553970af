// Basic behaviour of quality scores and of damage; figures on real data:
// benchmarks/quality/measure.py.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/data/augment/augment.h"
#include "plait/models/quality/quality.h"

namespace plait::models {
namespace {

const char* kSentence =
    "The old man walked slowly to the station because he wanted to see his friend before the train "
    "left.";

Value example(Modality modality) {
  at::Tensor t = at::arange(16000, at::kFloat) / 16000;
  switch (modality) {
    case Modality::kText: return std::string(kSentence);
    case Modality::kImage: {
      // Bars and a gradient: sharp edges beside calm areas.
      at::Tensor y = at::arange(160, at::kFloat).view({160, 1, 1}),
                 x = at::arange(160, at::kFloat).view({1, 160, 1});
      at::Tensor bars =
          at::floor(x / 23).remainder(2) * 120 + at::floor(y / 31).remainder(2) * 60 + y / 4;
      return bars.expand({160, 160, 3}).clamp(0, 255).to(at::kByte).contiguous();
    }
    case Modality::kAudio:
      // A tone with harmonics that comes in syllables.
      return Waveform{(at::sin(t * 2 * M_PI * 180) + 0.5 * at::sin(t * 2 * M_PI * 1340)) * 0.3 *
                          at::sin(t * 2 * M_PI * 2).clamp_min(0).square(),
                      16000};
    default:
      return at::sin(at::arange(400, at::kFloat) / 15).unsqueeze(1) +
             at::sin(at::arange(400, at::kFloat) / 41).unsqueeze(1);
  }
}

const std::pair<Modality, std::vector<const char*>> kMeasured[] = {
    {Modality::kText, {"typos", "shuffle", "blank"}},
    {Modality::kImage, {"gaussian_blur", "gaussian_noise", "salt_and_pepper", "occlusion", "jpeg"}},
    {Modality::kAudio, {"white_noise", "pink_noise", "reverb", "clipping", "dropouts", "silence"}},
    {Modality::kSeries, {"dropout", "stuck", "spikes", "drift", "noise"}},
};

TEST(Quality, FallsWithDamage) {
  for (const auto& [modality, kinds] : kMeasured) {
    Value value = example(modality);
    double clean = assess(value, modality).score;
    EXPECT_GT(clean, 0.3) << to_string(modality);
    EXPECT_LE(clean, 1.0);
    for (const char* kind : kinds) {
      double mild = assess(data::damage(value, modality, kind, 0.35, 3), modality).score;
      double severe = assess(data::damage(value, modality, kind, 1.0, 3), modality).score;
      EXPECT_LT(mild, clean) << to_string(modality) << " " << kind;
      EXPECT_LT(severe, mild) << to_string(modality) << " " << kind;
      EXPECT_GE(severe, 0);
    }
  }
}

TEST(Quality, EmptyAndHostileInputsScoreZeroOrFail) {
  EXPECT_EQ(text_quality("").score, 0);
  EXPECT_EQ(text_quality(" \n\t").score, 0);
  for (const char* odd : {"\xff\xfe\x80", "\xe4\xb8", "!!!", "12345"}) {
    double score = text_quality(odd).score;
    EXPECT_TRUE(score >= 0 && score <= 1) << odd;
  }
  EXPECT_EQ(image_quality(at::zeros({0, 0, 3}, at::kByte)).score, 0);
  EXPECT_LT(image_quality(at::full({64, 64, 3}, 200, at::kByte)).score, 0.3);
  EXPECT_THROW(image_quality(at::zeros({4})), Error);
  EXPECT_EQ(audio_quality(at::zeros({8000}), 16000).score, 0);
  EXPECT_EQ(audio_quality(at::zeros({0}), 16000).score, 0);
  EXPECT_THROW(audio_quality(at::zeros({2, 3, 4}), 16000), Error);
  double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(series_quality(at::full({50, 2}, nan)).score, 0);
  EXPECT_EQ(series_quality(at::ones({50, 2})).score, 0);
  EXPECT_EQ(series_quality(at::zeros({0, 2})).score, 0);
  EXPECT_THROW(assess(std::string("text"), Modality::kImage), Error);
  EXPECT_THROW(assess(std::string("text"), Modality::kGraph), Error);
}

void expect_within(const Quality& quality, const std::string& what) {
  EXPECT_TRUE(quality.score >= 0 && quality.score <= 1) << what << ": " << quality.score;
  for (const auto& [name, part] : quality.parts)
    EXPECT_TRUE(part >= 0 && part <= 1) << what << ", " << name << ": " << part;
}

TEST(Quality, ScoresStayInRangeForWhateverNumbersHold) {
  double nan = std::numeric_limits<double>::quiet_NaN();
  double infinity = std::numeric_limits<double>::infinity();
  for (double v : {nan, infinity, -infinity, 1e30, -1e30, 1e-30, 0.0, 1.0}) {
    std::string what = std::to_string(v);
    expect_within(image_quality(at::full({3, 40, 50}, v)), "image of " + what);
    expect_within(audio_quality(at::full({9000}, v), 16000), "audio of " + what);
    expect_within(audio_quality(at::randn({9000}) * v, 16000), "audio noise of " + what);
    expect_within(series_quality(at::full({50, 2}, v)), "series of " + what);
    expect_within(series_quality(at::randn({50, 2}) * v), "series noise of " + what);
  }
  EXPECT_EQ(audio_quality(at::full({9000}, nan), 16000).score, 0);
  EXPECT_EQ(audio_quality(at::full({2, 9000}, infinity), 16000).score, 0);
  Waveform voice = std::get<Waveform>(example(Modality::kAudio));
  at::Tensor gaps = voice.samples.clone();
  gaps.slice(0, 2000, 9000, 7).fill_(nan);
  EXPECT_LT(audio_quality(gaps, 16000).score, audio_quality(voice.samples, 16000).score);
}

TEST(Quality, ScoresStayInRangeForEverySize) {
  for (int64_t h : {1, 2, 3, 8, 15, 33, 3000}) {
    for (int64_t w : {1, 2, 9, 17, 40}) {
      at::Tensor image = at::randint(0, 256, {h, w, 3}).to(at::kByte);
      expect_within(image_quality(image), std::to_string(h) + " x " + std::to_string(w));
      expect_within(image_quality(image.select(2, 0)), "grey, " + std::to_string(h));
    }
  }
  for (int64_t n : {1, 2, 63, 64, 127, 128, 500, 1032, 4000}) {
    for (int64_t rate : {1, 8, 200, 8000, 16000, 192000}) {
      expect_within(audio_quality(at::randn({n}) * 0.1, rate),
                    std::to_string(n) + " samples at " + std::to_string(rate));
    }
  }
  for (int64_t n : {1, 2, 3, 7, 16, 60})
    expect_within(series_quality(at::randn({n, 1})), std::to_string(n) + " values");
  std::string book;
  for (int i = 0; i < 200000; ++i) book += std::string(kSentence) + (i % 3 ? " " : "\n");
  expect_within(text_quality(std::string(3000000, 'a')), "one long word");
  expect_within(text_quality(std::string(3000000, '.')), "full stops");
  expect_within(text_quality(std::string(3000000, '\xe4')), "broken UTF-8");
  EXPECT_GT(text_quality(book).score, 0.5);
}

TEST(Quality, LongRecordingsAndLargePicturesAreJudgedByAPart) {
  // An hour at 8 kHz and 24 million pixels: what is read is bounded, so the time is.
  Waveform voice = std::get<Waveform>(example(Modality::kAudio));
  at::Tensor hour = voice.samples.repeat({1800});
  EXPECT_NEAR(audio_quality(hour, 8000).score,
              audio_quality(hour.narrow(0, 0, 120 * 8000), 8000).score, 1e-6);
  at::Tensor picture = std::get<at::Tensor>(example(Modality::kImage));
  expect_within(image_quality(picture.repeat({25, 37, 1})), "large picture");
}

TEST(Quality, ShortTextsAndOtherSubjectsAreNotTakenForDamaged) {
  for (const char* text :
       {"A red apple.", "A house with a red roof.",
        "Patient reports chest pain since yesterday, radiating to the left arm.",
        "这部电影讲述了一个年轻人寻找自己的故事，非常感人。", "今天天气很好，我们去公园散步吧。"}) {
    EXPECT_GT(text_quality(text).score, 0.5) << text;
  }
  for (const char* text : {"red yesterday the arm to chest left radiating pain reports since",
                           "气好天公很步，今天散去园我吧们。", "Teh hosue wiht a rde rfoo"}) {
    EXPECT_LT(text_quality(text).score, 0.4) << text;
  }
}

TEST(Quality, VideosAreJudgedByFramesSpreadOverThem) {
  at::Tensor clean = std::get<at::Tensor>(example(Modality::kImage));
  at::Tensor noisy =
      std::get<at::Tensor>(data::damage(clean, Modality::kImage, "gaussian_noise", 1.0, 3));
  double best = image_quality(clean).score, worst = image_quality(noisy).score;
  auto of = [](const std::vector<at::Tensor>& frames) {
    return assess(at::stack(frames), Modality::kVideo).score;
  };
  EXPECT_NEAR(of({clean}), best, 1e-6);
  EXPECT_NEAR(of({clean, noisy, noisy, clean}), (best + worst) / 2, 1e-6);
  EXPECT_NEAR(of(std::vector<at::Tensor>(9, noisy)), worst, 1e-6);
  EXPECT_THROW(assess(std::string("missing.mp4"), Modality::kVideo), Error);
}

TEST(Quality, TableRowsAreJudgedByTheirPresentFields) {
  Json row = Json::object({{"age", 31}, {"name", ""}, {"city", nullptr}, {"height", 1.8}});
  EXPECT_EQ(assess(row, Modality::kTable).score, 0.5);
}

TEST(Damage, ClockSkewStretchesInTime) {
  at::Tensor time = at::arange(100, at::kFloat) * (2 * M_PI / 20);
  at::Tensor wave = at::stack({time.sin(), time.cos()}, 1);
  bool fast = false, slow = false;
  for (uint64_t seed = 0; seed < 16; ++seed) {
    at::Tensor got =
        std::get<at::Tensor>(data::damage(wave, Modality::kSeries, "clock_skew", 1.0, seed));
    ASSERT_EQ(got.sizes(), wave.sizes());
    for (double rate : {1.5, 1 / 1.5}) {
      // The first half, before anything is turned round.
      at::Tensor expected = at::stack({(time * rate).sin(), (time * rate).cos()}, 1);
      bool is = at::allclose(got.slice(0, 0, 50), expected.slice(0, 0, 50), 0.03, 0.03);
      (rate > 1 ? fast : slow) |= is;
    }
    at::Tensor one = std::get<at::Tensor>(
        data::damage(wave.select(1, 0).contiguous(), Modality::kSeries, "clock_skew", 1.0, seed));
    EXPECT_TRUE(one.equal(got.select(1, 0)));
  }
  EXPECT_TRUE(fast && slow);
  EXPECT_EQ(
      std::get<at::Tensor>(data::damage(at::ones({1, 3}), Modality::kSeries, "clock_skew", 1.0, 1))
          .sizes(),
      at::IntArrayRef({1, 3}));
}

TEST(Damage, IsSeededAndLeavesTheOriginalAlone) {
  for (const auto& [modality, measured] : kMeasured) {
    for (const std::string& kind : data::damage_kinds(modality)) {
      Value value = example(modality);
      double before = assess(value, modality).score;
      double a = assess(data::damage(value, modality, kind, 0.7, 5), modality).score;
      double b = assess(data::damage(value, modality, kind, 0.7, 5), modality).score;
      EXPECT_EQ(a, b) << kind;
      EXPECT_EQ(assess(value, modality).score, before) << kind;
      EXPECT_EQ(assess(data::damage(value, modality, kind, 0, 5), modality).score, before) << kind;
    }
  }
  EXPECT_THROW(data::damage(std::string("a"), Modality::kText, "no_such_kind", 0.5, 1), Error);
  EXPECT_THROW(data::damage(std::string("a"), Modality::kText, "typos", 1.5, 1), Error);
  EXPECT_THROW(data::damage(at::zeros({3}), Modality::kText, "typos", 0.5, 1), Error);
  EXPECT_THROW(data::damage(std::string("a"), Modality::kGraph, "typos", 0.5, 1), Error);
}

}  // namespace
}  // namespace plait::models
