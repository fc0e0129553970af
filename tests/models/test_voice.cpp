// VITS and HiFi-GAN beyond their golden files: pieces, limits, and what is not supported.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "plait/models/decoders/published_voice.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

HifiGan::Config blocks_of(const std::string& kind) {
  HifiGan::Config c = HifiGan::Config::tiny();
  c.resblock = kind;
  return c;
}

TEST(HifiGanPieces, EqualTheWhole) {
  at::NoGradGuard no_grad;
  for (const char* kind : {"1", "2"}) {
    HifiGan model(blocks_of(kind));
    model.initialize(3);
    for (at::Tensor& p : model.parameters()) p.add_(0.05);
    at::Tensor frames = at::randn({1, 6, 60});
    at::Tensor whole = model.generate(frames);
    const int64_t reach = model.context(), hop = model.hop();
    EXPECT_EQ(hop, 8);
    at::Tensor piece = model.generate(frames.narrow(2, 20 - reach, 10 + 2 * reach));
    EXPECT_TRUE(tests::close(piece.narrow(1, reach * hop, 10 * hop),
                             whole.narrow(1, 20 * hop, 10 * hop), {1e-6, 1e-5}))
        << kind;
    // One frame less is not always enough: what the context says is needed.
    const int64_t half = reach / 2;
    at::Tensor short_piece = model.generate(frames.narrow(2, 20 - half, 10 + 2 * half));
    EXPECT_FALSE(tests::close(short_piece.narrow(1, half * hop, 10 * hop),
                              whole.narrow(1, 20 * hop, 10 * hop), {1e-6, 1e-5}));
  }
}

TEST(VitsLimits, AreKept) {
  at::NoGradGuard no_grad;
  Vits model(Vits::Config::tiny());
  model.initialize(1);
  at::Tensor ids = at::ones({1, 4}, at::kLong);
  EXPECT_THROW(model.forward({{"input_ids", ids + 1000}}), Error);
  EXPECT_THROW(model.forward({{"input_ids", ids.to(at::kInt)}}), Error);
  EXPECT_THROW(model.forward({{"input_ids", at::zeros({1, 0}, at::kLong)}}), Error);
  EXPECT_THROW(model.forward({{"input_ids", ids}, {"durations", at::full({1, 4}, 1e9)}}), Error);
  EXPECT_THROW(model.forward({{"input_ids", ids}, {"durations", at::full({1, 4}, -1)}}), Error);
  EXPECT_THROW(model.forward({{"input_ids", ids}, {"durations", at::full({1, 4}, std::nan(""))}}),
               Error);
  EXPECT_THROW(
      model.forward({{"input_ids", ids}, {"noise", at::zeros({1, 6, 1})}, {"durations", ids}}),
      Error);
  EXPECT_THROW(model.latents({{"input_ids", ids}}, {.length_scale = 0.001}), Error);
  EXPECT_THROW(model.latents({{"input_ids", ids}}, {.noise_scale = 1e9}), Error);
  VitsLatents calm = model.latents({{"input_ids", ids}, {"durations", 2 * ids}});
  EXPECT_EQ(calm.frames.size(2), 8);
}

TEST(PublishedVoice, SaysWhatIsWrong) {
  Json config = write_config(Vits::Config::tiny());
  config["wavenet_kernel_size"] = 4;
  EXPECT_THROW(translate_vits(config, {}, "test"), Error);
  config["wavenet_kernel_size"] = 5;
  EXPECT_THROW(translate_vits(config, {{"a.weight_g", at::ones({2, 1})}}, "test"), Error);
  EXPECT_THROW(
      translate_vits(config, {{"a.weight_g", at::ones({3, 1})}, {"a.weight_v", at::ones({2, 2})}},
                     "test"),
      Error);
  VoiceParts folded = translate_vits(config,
                                     {{"a.weight_g", at::full({2, 1}, 3.0)},
                                      {"a.weight_v", at::full({2, 4}, 7.0)},
                                      {"posterior_encoder.x", at::ones({1})}},
                                     "test");
  EXPECT_EQ(folded.weights.size(), 1u);
  EXPECT_TRUE(at::allclose(folded.weights.at("a.weight"), at::full({2, 4}, 1.5)));
  EXPECT_THROW(load_published_voice("no-such-folder"), Error);
}

}  // namespace
}  // namespace plait::models
