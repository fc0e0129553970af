#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/datasets/datasets.h"
#include "plait/data/datasets/manifest.h"
#include "plait/data/datasets/speech.h"

/// With the real packages, which the set-up step has put into the cache (else they are fetched
/// here).
namespace plait::data {
namespace {

namespace fs = std::filesystem;

std::vector<const Sample*> all(const DatasetSplits& splits) {
  std::vector<const Sample*> out;
  for (const auto* list : {&splits.train, &splits.validation, &splits.test}) {
    for (const Sample& sample : *list) out.push_back(&sample);
  }
  return out;
}

std::string text(const Sample& sample, const std::string& stream) {
  return std::get<std::string>(sample.streams.at(stream));
}
std::string file(const Sample& sample, const std::string& stream) {
  return std::get<Path>(sample.streams.at(stream)).path;
}
std::string head(const std::string& path, size_t n) { return read_file(path).substr(0, n); }

void expect_disjoint(const DatasetSplits& splits, const std::string& stream) {
  std::map<std::string, std::set<int>> sides;
  int side = 0;
  for (const auto* list : {&splits.train, &splits.validation, &splits.test}) {
    for (const Sample& sample : *list) sides[caption_group(text(sample, stream))].insert(side);
    ++side;
  }
  for (const auto& [caption, where] : sides) EXPECT_EQ(where.size(), 1u) << caption;
}

TEST(Stamps, NineClassesWithPictureCaptionAndSpeech) {
  DatasetSplits stamps = load_dataset("stamps");
  auto items = all(stamps);
  EXPECT_EQ(items.size(), 610u);
  EXPECT_LT(stamps.train.size(), 1000u);
  EXPECT_NEAR(static_cast<double>(stamps.train.size()), 0.6 * 610, 12);
  EXPECT_NEAR(static_cast<double>(stamps.test.size()), 0.2 * 610, 12);
  EXPECT_THAT(stamps.classes,
              ::testing::ElementsAre("animals", "clothes", "food", "household", "people", "plants",
                                     "seasonal", "town", "vehicles"));
  std::map<std::string, int> counts;
  for (const Sample* sample : items) {
    ++counts[sample->labels.at("category").as_string()];
    EXPECT_EQ(sample->streams.size(), 3u) << sample->id;
    EXPECT_FALSE(text(*sample, "text").empty()) << sample->id;
    EXPECT_EQ(head(file(*sample, "image"), 4), "\x89PNG") << sample->id;
    EXPECT_EQ(head(file(*sample, "speech"), 4), "OggS") << sample->id;
  }
  EXPECT_EQ(counts["animals"], 144);  // The majority class: 24 %.
  for (const auto& [name, count] : counts) EXPECT_GE(count, 27) << name;
  expect_disjoint(stamps, "text");
}

TEST(Stamps, MoreLanguagesOnRequestAndOtherSeeds) {
  DatasetSplits stamps = load_dataset("stamps", {.streams = {"text_fr", "speech_es"}, .seed = 3});
  size_t french = 0, spanish = 0;
  for (const Sample* sample : all(stamps)) {
    french += sample->streams.count("text_fr");
    spanish += sample->streams.count("speech_es");
    EXPECT_EQ(sample->streams.count("text"), 0u);
  }
  EXPECT_GT(french, 590u);
  EXPECT_GT(spanish, 550u);
  auto ids = [](const DatasetSplits& splits) {
    std::set<std::string> out;
    for (const Sample& sample : splits.test) out.insert(sample.id);
    return out;
  };
  EXPECT_NE(ids(stamps), ids(load_dataset("stamps")));
  EXPECT_EQ(ids(stamps), ids(load_dataset("stamps", {.seed = 3})));
  EXPECT_THROW(load_dataset("stamps", {.streams = {"smell"}}), Error);
}

TEST(Emoji, PicturesWithEnglishAndChineseNames) {
  DatasetSplits emoji = load_dataset("emoji");
  auto items = all(emoji);
  EXPECT_EQ(items.size(),
            1849u);  // Every emoji of CLDR 41 that is for general use, but for skin tones.
  EXPECT_EQ(emoji.classes.size(), 9u);
  bool apple = false, family = false, flag = false;
  for (const Sample* sample : items) {
    EXPECT_EQ(sample->streams.size(), 3u) << sample->id;
    std::string png = head(file(*sample, "image"), 24);
    EXPECT_EQ(png.substr(0, 4), "\x89PNG") << sample->id;
    EXPECT_EQ(png.substr(16, 8), std::string("\0\0\0\x88\0\0\0\x80", 8))
        << sample->id << ": not 136 x 128";
    EXPECT_EQ(text(*sample, "text").find("skin tone"), std::string::npos);
    apple = apple || (text(*sample, "text") == "red apple" && text(*sample, "text_zh") == "红苹果");
    family = family || sample->id == "1f468-200d-1f469-200d-1f467";
    flag = flag || text(*sample, "text") == "flag: France";
  }
  EXPECT_TRUE(apple);
  EXPECT_TRUE(family);
  EXPECT_TRUE(flag);
  EXPECT_NEAR(static_cast<double>(emoji.test.size()), 0.2 * 1849, 12);
  size_t keywords = 0;
  DatasetSplits more = load_dataset("emoji", {.streams = {"keywords", "keywords_zh"}});
  for (const Sample* sample : all(more)) keywords += sample->streams.size();
  EXPECT_GT(keywords, 3500u);
}

TEST(OpenClipart, TitlesWithoutSeriesAndGeneratedDrawings) {
  DatasetSplits clipart = load_dataset("openclipart");
  auto items = all(clipart);
  EXPECT_GT(items.size(), 4000u);
  EXPECT_LT(items.size(), 4800u);
  std::map<std::string, int> titles;
  for (const Sample* sample : items) {
    EXPECT_FALSE(sample->id.starts_with("shapes/stars/") ||
                 sample->id.starts_with("computer/icons/"))
        << sample->id;
    ++titles[text(*sample, "text")];
    EXPECT_EQ(head(file(*sample, "image"), 4), "\x89PNG") << sample->id;
  }
  EXPECT_EQ(titles.count("AIGA_Symbol_Signs"), 0u);
  EXPECT_GT(titles.size(), 2500u);
  for (const auto& [title, count] : titles) EXPECT_LT(count, 60) << title;
  expect_disjoint(clipart, "text");
}

at::Tensor row(const Sample& sample, const std::string& stream) {
  return std::get<at::Tensor>(sample.streams.at(stream));
}

TEST(Handwritten, DigitsInSixViews) {
  DatasetSplits digits = load_dataset("handwritten");
  EXPECT_EQ(digits.classes.size(), 10u);
  EXPECT_EQ(digits.classes.front() + digits.classes.back(), "09");
  const std::map<std::string, int64_t> widths{{"fac", 216}, {"fou", 76},  {"kar", 64},
                                              {"mor", 6},   {"pix", 240}, {"zer", 47}};
  std::map<std::string, const Sample*> by_id;
  for (const Sample* sample : all(digits)) {
    EXPECT_TRUE(by_id.emplace(sample->id, sample).second) << sample->id;
    ASSERT_EQ(sample->streams.size(), 6u);
    for (const auto& [view, width] : widths) {
      at::Tensor values = row(*sample, view);
      ASSERT_EQ(values.scalar_type(), at::kFloat);
      ASSERT_EQ(values.sizes(), at::IntArrayRef({width})) << view;
    }
  }
  EXPECT_EQ(by_id.size(), 2000u);
  EXPECT_EQ(digits.info.streams.size(), 6u);
  EXPECT_NE(digits.info.licence.find("CC BY 4.0"), std::string::npos);
  // Raw values, as the files have them: the first and the last line.
  EXPECT_TRUE(at::allclose(row(*by_id.at("0"), "mor"),
                           at::tensor({1.f, 0.f, 0.f, 133.15f, 1.3117f, 1620.2f})));
  EXPECT_FLOAT_EQ(row(*by_id.at("0"), "kar")[0].item<float>(), -10.297f);
  EXPECT_EQ(by_id.at("0")->labels.at("category").as_string(), "0");
  EXPECT_FLOAT_EQ(row(*by_id.at("1999"), "mor")[5].item<float>(), 3808.f);
  EXPECT_EQ(by_id.at("1999")->labels.at("category").as_string(), "9");
}

TEST(Handwritten, SplitsAreStratifiedAndKeepCopiesTogether) {
  std::set<std::string> first;
  for (int64_t seed : {0, 1, 2}) {
    DatasetSplits digits = load_dataset("handwritten", {.seed = seed});
    std::map<std::string, std::map<std::string, int>> counts;
    std::map<std::string, std::set<int>> sides;
    size_t copies = 0;
    int side = 0;
    for (const auto* list : {&digits.train, &digits.validation, &digits.test}) {
      for (const Sample& sample : *list) {
        ++counts[std::to_string(side)][sample.labels.at("category").as_string()];
        at::Tensor pixels = row(sample, "pix").contiguous(), rest = row(sample, "fac").contiguous();
        std::string content(static_cast<const char*>(pixels.const_data_ptr()), pixels.nbytes());
        content.append(static_cast<const char*>(rest.const_data_ptr()), rest.nbytes());
        copies += sides.count(content);
        sides[content].insert(side);
      }
      ++side;
    }
    EXPECT_EQ(copies, 6u);
    for (const auto& [content, where] : sides) EXPECT_EQ(where.size(), 1u);
    for (const auto& [digit, count] : counts["0"]) EXPECT_NEAR(count, 128, 2) << digit;
    for (const auto& [digit, count] : counts["1"]) EXPECT_NEAR(count, 32, 2) << digit;
    for (const auto& [digit, count] : counts["2"]) EXPECT_NEAR(count, 40, 2) << digit;
    std::set<std::string> ids;
    for (const Sample& sample : digits.test) ids.insert(sample.id);
    EXPECT_NE(ids, first);
    first = ids;
  }
  DatasetSplits shares =
      load_dataset("handwritten", {.streams = {"mor"}, .validation = 0.1, .test = 0.5});
  EXPECT_NEAR(static_cast<double>(shares.test.size()), 1000, 10);
  EXPECT_NEAR(static_cast<double>(shares.validation.size()), 200, 10);
  EXPECT_EQ(shares.train[0].streams.size(), 1u);
}

TEST(BearingData, SimulatedInThreeStreams) {
  for (auto [name, count] : {std::pair{"bearing", 1500u}, std::pair{"bearing_shifted", 400u}}) {
    DatasetSplits bearing = load_dataset(name);
    EXPECT_TRUE(bearing.info.packages.empty());
    EXPECT_NE(bearing.info.description.find("Synthetic"), std::string::npos);
    EXPECT_THAT(bearing.classes, ::testing::ElementsAre("ball", "healthy", "inner_race",
                                                        "lubrication", "outer_race"));
    auto items = all(bearing);
    EXPECT_EQ(items.size(), count);
    std::map<std::string, unsigned> states;
    for (const Sample* sample : items) {
      ++states[sample->labels.at("state").as_string()];
      EXPECT_FALSE(text(*sample, "log").empty());
    }
    for (const auto& [state, n] : states) EXPECT_EQ(n, count / 5) << state;
    EXPECT_EQ(row(*items[0], "vibration").sizes(), at::IntArrayRef({8192, 1}));
    EXPECT_EQ(row(*items[0], "thermal").sizes(), at::IntArrayRef({48, 64, 3}));
    EXPECT_EQ(row(*items[0], "thermal").scalar_type(), at::kByte);
    EXPECT_TRUE(is_prepared(name));
  }
}

std::string label(const Sample& sample, const std::string& name) {
  return sample.labels.at(name).as_string();
}

/// Values of a label that are on more than one side of the split.
std::set<std::string> shared(const DatasetSplits& splits, const std::string& name) {
  std::map<std::string, std::set<int>> sides;
  int side = 0;
  for (const auto* list : {&splits.train, &splits.validation, &splits.test}) {
    for (const Sample& sample : *list) sides[label(sample, name)].insert(side);
    ++side;
  }
  std::set<std::string> out;
  for (const auto& [value, where] : sides) {
    if (where.size() > 1) out.insert(value);
  }
  return out;
}

TEST(AudioVisualDigits, PicturesPairedWithTheSameDigitSpoken) {
  DatasetSplits digits = load_dataset("audio_visual_digits");
  auto items = all(digits);
  EXPECT_EQ(items.size(), 2000u);
  EXPECT_EQ(digits.classes.size(), 10u);
  std::map<std::string, int> counts, sources, languages;
  std::set<std::string> pictures, speakers, ids;
  for (const Sample* sample : items) {
    EXPECT_TRUE(ids.insert(sample->id).second) << sample->id;
    at::Tensor image = row(*sample, "image").contiguous();
    ASSERT_EQ(image.sizes(), at::IntArrayRef({28, 28, 3}));
    ASSERT_EQ(image.scalar_type(), at::kByte);
    pictures.insert({static_cast<const char*>(image.const_data_ptr()), image.nbytes()});
    std::string wav = head(file(*sample, "speech"), 12);
    EXPECT_EQ(wav.substr(0, 4) + wav.substr(8, 4), "RIFFWAVE") << sample->id;
    ++counts[label(*sample, "category")];
    ++sources[label(*sample, "source")];
    ++languages[label(*sample, "language")];
    speakers.insert(label(*sample, "speaker"));
    const std::string digit = label(*sample, "category");
    EXPECT_NE(sample->id.find("-" + digit), std::string::npos) << sample->id;
  }
  for (const auto& [digit, count] : counts) EXPECT_EQ(count, 200) << digit;
  EXPECT_EQ(pictures.size(), 2000u);
  EXPECT_EQ(sources, (std::map<std::string, int>{{"recorded", 80}, {"synthetic", 1920}}));
  EXPECT_EQ(languages, (std::map<std::string, int>{{"en", 1000}, {"fr", 1000}}));
  EXPECT_EQ(speakers.size(), 26u);
  // The first picture of the package is a nought: a hole in the middle, ink around it.
  at::Tensor nought = row(*items[0], "image").select(2, 0).to(at::kFloat);
  EXPECT_EQ(label(*items[0], "category"), "0");
  EXPECT_LT(nought.slice(0, 12, 16).slice(1, 12, 16).mean().item<float>(),
            nought.slice(0, 4, 24).slice(1, 4, 24).mean().item<float>());
  EXPECT_NE(digits.info.description.find("synthetic"), std::string::npos);
}

TEST(AudioVisualDigits, NoSpeakerIsOnBothSides) {
  std::set<std::string> first;
  for (int64_t seed : {0, 1, 2}) {
    DatasetSplits digits = load_dataset("audio_visual_digits", {.seed = seed});
    EXPECT_EQ(shared(digits, "speaker"), std::set<std::string>{});
    EXPECT_NEAR(static_cast<double>(digits.test.size()), 500, 80);
    std::map<std::string, int> counts;
    for (const Sample& sample : digits.test) ++counts[label(sample, "category")];
    for (const auto& [digit, count] : counts)
      EXPECT_EQ(static_cast<size_t>(count), digits.test.size() / 10) << digit;
    std::set<std::string> ids;
    for (const Sample& sample : digits.test) ids.insert(sample.id);
    EXPECT_NE(ids, first);
    first = ids;
  }
}

TEST(BasicMotions, TwoSensorsOfAWatch) {
  DatasetSplits motions = load_dataset("basic_motions");
  auto items = all(motions);
  EXPECT_EQ(items.size(), 80u);
  EXPECT_THAT(motions.classes,
              ::testing::ElementsAre("Badminton", "Running", "Standing", "Walking"));
  EXPECT_EQ(motions.test.size(), 32u);
  std::map<std::string, int> counts;
  for (const Sample* sample : items) {
    ++counts[label(*sample, "category")];
    for (const char* stream : {"accelerometer", "gyroscope"}) {
      at::Tensor values = row(*sample, stream);
      ASSERT_EQ(values.sizes(), at::IntArrayRef({100, 3}));
      EXPECT_TRUE(at::isfinite(values).all().item<bool>());
    }
    if (sample->id == "0") {
      // The first line of the training file.
      EXPECT_FLOAT_EQ(row(*sample, "accelerometer")[2][0].item<float>(), -0.903497f);
      EXPECT_FLOAT_EQ(row(*sample, "accelerometer")[3][1].item<float>(), -0.656101f);
      EXPECT_EQ(label(*sample, "category"), "Standing");
    }
  }
  for (const auto& [activity, count] : counts) EXPECT_EQ(count, 20) << activity;
}

TEST(Har, WindowsOfThirtyPeople) {
  DatasetSplits har = load_dataset("har");
  auto items = all(har);
  EXPECT_EQ(items.size(), 2880u);
  EXPECT_EQ(har.classes.size(), 6u);
  EXPECT_EQ(shared(har, "user"), std::set<std::string>{});
  EXPECT_NE(har.info.licence.find("states none"), std::string::npos);
  std::map<std::string, int> counts, users;
  std::map<std::string, double> movement;
  for (const Sample* sample : items) {
    ++counts[label(*sample, "category")];
    ++users[label(*sample, "user")];
    at::Tensor acceleration = row(*sample, "accelerometer");
    ASSERT_EQ(acceleration.sizes(), at::IntArrayRef({128, 3}));
    ASSERT_EQ(row(*sample, "gyroscope").sizes(), at::IntArrayRef({128, 3}));
    // In units of gravity, which is always there.
    EXPECT_NEAR(acceleration.norm(2, 1).mean().item<double>(), 1.0, 0.25) << sample->id;
    movement[label(*sample, "category")] += acceleration.std(0).mean().item<double>() / 480;
  }
  EXPECT_EQ(users.size(), 30u);
  for (const auto& [user, count] : users) EXPECT_EQ(count, 96) << user;
  for (const auto& [activity, count] : counts) EXPECT_EQ(count, 480) << activity;
  EXPECT_GT(movement["walking"], 5 * movement["laying"]);
}

TEST(SyntheticSpeech, SpeaksOnceAndKeeps) {
  std::vector<Utterance> lines{{.id = "1", .text = "red apple", .voice = "en-us"},
                               {.id = "2", .text = "红苹果", .voice = "cmn"},
                               {.id = "3", .text = "red apple", .voice = "en-us", .speed = 120}};
  std::vector<std::string> paths = synthesize_speech(lines);
  ASSERT_EQ(paths.size(), 3u);
  EXPECT_NE(paths[0], paths[2]);
  for (const std::string& path : paths) {
    std::string bytes = read_file(path);
    EXPECT_EQ(bytes.substr(0, 4) + bytes.substr(8, 4), "RIFFWAVE");
    EXPECT_GT(bytes.size(), 10'000u) << path;
  }
  auto written = fs::last_write_time(paths[0]);
  EXPECT_EQ(synthesize_speech(lines), paths);
  EXPECT_EQ(fs::last_write_time(paths[0]), written);
}

TEST(SyntheticSpeech, RefusesWhatCannotBeSpoken) {
  for (const char* voice : {"xqz-voice", "", "-w/etc/x", "en us", "../x"}) {
    EXPECT_THROW(synthesize_speech({{.id = "1", .text = "never spoken before", .voice = voice}}),
                 Error)
        << voice;
  }
  EXPECT_THROW(synthesize_speech({{.id = "1", .text = "", .voice = "en"}}), Error);
  EXPECT_THROW(synthesize_speech({{.id = "1", .text = std::string(2000, 'x'), .voice = "en"}}),
               Error);
  EXPECT_THROW(synthesize_speech({{.id = "1", .text = "x", .voice = "en", .speed = 10'000}}),
               Error);
}

}  // namespace
}  // namespace plait::data
