#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/core/weights/safetensors.h"
#include "plait/data/audio/audio_processors.h"
#include "plait/data/audio/features.h"
#include "plait/data/decode.h"
#include "tests/data/media_files.h"

namespace plait::data {
namespace {

TensorMap golden() {
  return load_safetensors(PLAIT_SOURCE_DIR "/tests/golden/preprocess/preprocess.safetensors");
}

float worst(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<float>();
}

at::Tensor run(const char* config, const std::vector<Value>& values, const char* name) {
  std::vector<const Value*> pointers;
  for (const Value& value : values) pointers.push_back(&value);
  return make_processor(Json::parse(config), ".", "test")->process(pointers, "speech").at(name);
}

TEST(Audio, DecodesEveryFormat) {
  at::Tensor samples = golden().at("samples");
  for (const char* name : {"sound.wav", "sound.flac"}) {
    Waveform wave = load_audio(media_file(name));
    EXPECT_EQ(wave.sample_rate, 16000);
    EXPECT_LE(worst(wave.samples, samples), 4e-5) << name;  // One step of 16 bits.
  }
  for (const char* name : {"sound.ogg", "sound.mp3"}) {
    Waveform wave = load_audio(media_file(name));
    EXPECT_NEAR(static_cast<double>(wave.samples.size(0)), static_cast<double>(samples.size(0)),
                2400)
        << name;
    double ratio = (wave.samples.norm() / samples.norm()).item<double>();
    EXPECT_NEAR(ratio, 1, 0.05) << name;
  }
}

TEST(Audio, MixesChannelsByTheirAverage) {
  at::Tensor both = load_audio(media_file("stereo.wav"), {.mono = false}).samples;
  ASSERT_EQ(both.size(0), 2);
  EXPECT_LE(worst(load_audio(media_file("stereo.wav")).samples, both.mean(0)), 1e-6);
}

TEST(Audio, ResamplesWhileDecoding) {
  at::Tensor slow = load_audio(media_file("sound.wav"), {.sample_rate = 8000}).samples;
  EXPECT_NEAR(static_cast<double>(slow.size(0)), 4800, 2);
  at::Tensor again = resample(golden().at("samples"), 16000, 8000);
  EXPECT_LE(worst(slow.slice(0, 0, 4700), again.slice(0, 0, 4700)), 1e-4);
  EXPECT_EQ(resample(at::zeros({2, 441}), 44100, 16000).sizes(), at::IntArrayRef({2, 160}));
}

TEST(Audio, WritesWav) {
  at::Tensor samples = golden().at("samples");
  Waveform wave = decode_audio(encode_wav({samples, 22050}), "x");
  EXPECT_EQ(wave.sample_rate, 22050);
  EXPECT_LE(worst(wave.samples, samples), 1e-4);
  Waveform loud = decode_audio(encode_wav({at::full({2, 10}, 3.0), 8000}), "x", {.mono = false});
  EXPECT_EQ(loud.samples.size(0), 2);
  EXPECT_LE(loud.samples.max().item<float>(), 1);
}

TEST(Audio, FeaturesAreWhispersAndWav2vecs) {
  Value file = Path{media_file("sound.wav")};
  EXPECT_LE(worst(run(R"({"type": "whisper", "seconds": 1})", {file}, "input_features"),
                  golden().at("whisper")),
            1e-4);
  EXPECT_LE(worst(run(R"({"type": "waveform"})", {file}, "input_values"), golden().at("wav2vec2")),
            1e-4);
}

TEST(Audio, RowsDoNotDependOnTheirBatch) {
  at::Tensor samples = golden().at("samples");
  Value one = Waveform{samples, 16000};
  Value other = Waveform{at::cat({samples, samples}), 16000};
  for (const char* config : {R"({"type": "whisper", "pad": "longest"})",
                             R"({"type": "log_mel", "normalise": "band"})"}) {
    at::Tensor alone = run(config, {one}, "input_features");
    at::Tensor both = run(config, {one, other}, "input_features");
    EXPECT_EQ(worst(both.slice(0, 0, 1).slice(2, 0, alone.size(2)), alone), 0);
  }
  at::Tensor mask = run(R"({"type": "waveform"})", {one, other}, "attention_mask");
  EXPECT_EQ(mask[0].sum().item<int64_t>(), samples.size(0));
  EXPECT_EQ(mask[1].sum().item<int64_t>(), 2 * samples.size(0));
}

TEST(Audio, MissingItemsAreAbsentRows) {
  auto processor =
      make_processor(Json::parse(R"({"type": "whisper", "seconds": 1, "mels": 16})"), ".", "test");
  TensorMap out = processor->process({nullptr, nullptr}, "speech");
  EXPECT_EQ(out.at("input_features").sizes(), at::IntArrayRef({2, 16, 100}));
  EXPECT_EQ(out.at("attention_mask").sum().item<int64_t>(), 0);
}

TEST(Audio, RefusesBadValues) {
  std::vector<Value> bad = {at::empty({0}),
                            at::full({10}, NAN),
                            Waveform{at::zeros({10}), 0},
                            at::zeros({2, 2, 2}),
                            at::ones({10}, at::kLong),
                            Json("x"),
                            Bytes{""},
                            Bytes{std::string(5000, 'a')},
                            Path{media_file("picture.png")}};
  for (const Value& value : bad) {
    Error e = error_of([&] { decode_audio_value(value, "speech"); });
    EXPECT_NE(std::string(e.what()).find("speech"), std::string::npos) << e.what();
  }
  EXPECT_EQ(error_of([&] { decode(Path{"/no/such.wav"}, Modality::kAudio, "speech"); }).code(),
            ErrorCode::kNotFound);
}

TEST(Audio, RefusesLongSound) {
  EXPECT_EQ(error_of([] { load_audio(media_file("sound.wav"), {.max_seconds = 0.5}); }).code(),
            ErrorCode::kResourceLimit);
  EXPECT_EQ(error_of([] { load_audio(media_file("sound.ogg"), {.max_seconds = 0.1}); }).code(),
            ErrorCode::kResourceLimit);
}

TEST(Audio, TruncatedFilesAreErrors) {
  for (const char* name : {"sound.wav", "sound.flac", "sound.ogg"}) {
    std::string bytes = read_file(media_file(name));
    for (size_t part = 0; part < 8; ++part) {
      EXPECT_THROW(decode_audio(bytes.substr(0, bytes.size() * part / 8), "x"), Error)
          << name << " " << part;
    }
  }
}

TEST(Audio, SurvivesDamage) {
  for (const char* name : {"sound.wav", "stereo.wav", "sound.flac", "sound.ogg", "sound.mp3"}) {
    attack(read_file(media_file(name)), "speech",
           [](const std::string& b) { decode_audio_value(Bytes{b}, "speech"); });
  }
}

}  // namespace
}  // namespace plait::data
