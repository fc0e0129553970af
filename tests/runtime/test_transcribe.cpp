#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <numeric>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/decoders/published_speech.h"
#include "plait/models/registry.h"
#include "plait/runtime/transcribe/options.h"
#include "plait/runtime/transcribe/voice_activity.h"
#include "plait/runtime/transcribe/word_times.h"
#include "tests/golden.h"

namespace plait::runtime {
namespace {

/// Encoder and decoder of the golden file that transformers decoded greedily.
struct Greedy {
  Greedy() : golden(tests::load_golden("speech/whisper_greedy")) {
    Json encoder_config = golden.config.at("encoder"), decoder_config = golden.config.at("decoder");
    encoder_config["type"] = "whisper";
    decoder_config["type"] = "whisper_decoder";
    encoder = models::create_as<models::Whisper>(encoder_config, "encoder");
    decoder = models::create_as<models::WhisperDecoder>(decoder_config, "decoder");
    TensorMap parts[2];
    for (const auto& [name, tensor] : golden.weights)
      parts[name.starts_with("decoder.")][name.substr(8)] = tensor;
    encoder->load_state_dict(parts[0]);
    decoder->load_state_dict(parts[1]);
  }
  models::CrossKeys read(int64_t row, int64_t count = 1) const {
    at::Tensor features = golden.inputs.at("input_features").narrow(0, row, count);
    return decoder->read(encoder->encode({{"input_features", features}}).tokens);
  }
  tests::Golden golden;
  std::shared_ptr<models::Whisper> encoder;
  std::shared_ptr<models::WhisperDecoder> decoder;
};

TEST(WhisperDecoder, GreedyTokensEqualTransformers) {
  at::NoGradGuard no_grad;
  Greedy g;
  const at::Tensor expected = g.golden.outputs.at("tokens");
  for (int64_t row = 0; row < 2; ++row) {
    const models::CrossKeys sound = g.read(row);
    models::KvCache cache = g.decoder->make_cache(1, 4);
    at::Tensor next = expected.narrow(0, row, 1).narrow(1, 0, 1);
    for (int64_t i = 1; i < expected.size(1); ++i) {
      at::Tensor logits = g.decoder->word_logits(g.decoder->step(next, sound, cache).select(1, 0));
      next = logits.argmax(1, /*keepdim=*/true);
      ASSERT_EQ(next.item<int64_t>(), expected[row][i].item<int64_t>())
          << "row " << row << ", " << i;
    }
  }
}

TEST(WhisperDecoder, TextsOfOneSoundShareIt) {
  at::NoGradGuard no_grad;
  Greedy g;
  const models::CrossKeys one = g.read(0), two = g.read(0, 2);
  at::Tensor ids = at::tensor({5, 9, 3, 5, 60, 2, 5, 7, 7}, at::kLong).view({3, 3});
  models::KvCache together = g.decoder->make_cache(3, 3);
  at::Tensor shared = g.decoder->step(ids, one, together);
  for (int64_t row = 0; row < 3; ++row) {
    models::KvCache alone = g.decoder->make_cache(1, 3);
    at::Tensor expected = g.decoder->step(ids.narrow(0, row, 1), one, alone);
    EXPECT_TRUE(tests::close(shared.narrow(0, row, 1), expected, tests::batching(at::kFloat)));
  }
  // All tokens at once give what they give one by one, and what the typed interface gives.
  models::KvCache whole = g.decoder->make_cache(2, 3), steps = g.decoder->make_cache(2, 1);
  at::Tensor pair = ids.narrow(0, 0, 2);
  at::Tensor expected = g.decoder->step(pair, two, whole);
  for (int64_t i = 0; i < 3; ++i) {
    at::Tensor now = g.decoder->step(pair.narrow(1, i, 1), two, steps);
    EXPECT_TRUE(tests::close(now, expected.narrow(1, i, 1), tests::batching(at::kFloat))) << i;
  }
  at::Tensor tokens =
      g.encoder->encode({{"input_features", g.golden.inputs.at("input_features")}}).tokens;
  models::KvCache cache = g.decoder->make_cache(2, 3);
  at::Tensor first = g.decoder->hidden_states(
      {{"input_ids", pair.narrow(1, 0, 2)}, {"encoder_hidden_states", tokens}}, &cache);
  at::Tensor second = g.decoder->hidden_states({{"input_ids", pair.narrow(1, 2, 1)}}, &cache);
  EXPECT_TRUE(tests::close(at::cat({first, second}, 1), expected, tests::batching(at::kFloat)));
}

TEST(WhisperDecoder, SaysWhatIsWrong) {
  at::NoGradGuard no_grad;
  Greedy g;
  const models::CrossKeys sound = g.read(0);
  models::KvCache cache = g.decoder->make_cache(1, 4);
  EXPECT_THROW(g.decoder->step(at::zeros({1, 25}, at::kLong), sound, cache), Error);
  EXPECT_THROW(g.decoder->step(at::full({1, 1}, 67, at::kLong), sound, cache), Error);
  EXPECT_THROW(g.decoder->step(at::zeros({1, 1}, at::kLong), {}, cache), Error);
  EXPECT_THROW(g.decoder->step(at::zeros({3, 1}, at::kLong), g.read(0, 2), cache), Error);
  EXPECT_THROW(g.decoder->read(at::zeros({1, 4, 15})), Error);
  EXPECT_THROW(g.decoder->alignment(at::zeros({2}, at::kLong), sound, {{9, 0}}), Error);
  EXPECT_THROW(models::load_published_speech("/no/such/folder"), Error);
}

TEST(WordTimes, WarpFindsTheCheapestWay) {
  at::Tensor costs = at::full({3, 6}, 1.0, at::kDouble);
  const std::vector<std::pair<int64_t, int64_t>> way = {{0, 0}, {0, 1}, {1, 2},
                                                        {1, 3}, {1, 4}, {2, 5}};
  for (const auto& [row, column] : way) costs[row][column] = -1;
  EXPECT_EQ(warp(costs), way);
  EXPECT_EQ(warp(at::zeros({1, 1})).size(), 1u);
  EXPECT_THROW(warp(at::zeros({0, 3})), Error);
}

TEST(VoiceActivity, SegmentsEqualThePublishedHysteresis) {
  const TensorMap golden =
      load_safetensors(PLAIT_SOURCE_DIR "/tests/golden/speech/speech_segments.safetensors");
  VoiceActivityOptions settings[5];
  settings[1].threshold = 0.7, settings[1].min_silence = 0.3;
  settings[2].max_speech = 4;
  settings[3].min_speech = 0.6, settings[3].pad = 0.2;
  settings[4].threshold = 0.3, settings[4].exit_threshold = 0.1, settings[4].max_speech = 2;
  int64_t compared = 0;
  for (int i = 0; i < 12; ++i) {
    at::Tensor given = golden.at("inputs." + std::to_string(i)).to(at::kDouble).contiguous();
    const double* values = given.const_data_ptr<double>();
    const std::vector<double> probabilities(values, values + given.numel());
    for (int k = 0; k < 5; ++k) {
      at::Tensor expected = golden.at("outputs." + std::to_string(i) + "." + std::to_string(k));
      auto found = voice_segments(probabilities, 400 * 512 - 100, settings[k]);
      ASSERT_EQ(static_cast<int64_t>(found.size()), expected.size(0)) << i << "." << k;
      for (size_t s = 0; s < found.size(); ++s, ++compared) {
        const auto row = static_cast<int64_t>(s);
        EXPECT_EQ(found[s].start, expected[row][0].item<int64_t>()) << i << "." << k;
        EXPECT_EQ(found[s].end, expected[row][1].item<int64_t>()) << i << "." << k;
      }
    }
  }
  EXPECT_GT(compared, 200);
  EXPECT_TRUE(voice_segments({}, 0).empty());
}

TEST(TranscribeOptions, AreChecked) {
  auto read = [](const char* text) {
    return read_config<TranscribeOptions>(Json::parse(text, "test"), "options");
  };
  EXPECT_EQ(read("{}").temperatures.size(), 6u);
  EXPECT_EQ(read(R"({"beam_size": 5, "language": "zh"})").beam_size, 5);
  for (const char* bad :
       {R"({"beam_size": 0})", R"({"task": "sing"})", R"({"colour": 1})", R"({"temperatures": []})",
        R"({"temperatures": [-1]})", R"({"padding": "noise"})", R"({"patience": 0})"}) {
    EXPECT_THROW(read(bad), Error) << bad;
  }
}

}  // namespace
}  // namespace plait::runtime
