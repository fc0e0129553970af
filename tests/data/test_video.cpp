// Videos of fuzz/corpus/video: a square that moves to the right, 8 frames of 48 x 32, ten a second.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plait/data/decode.h"
#include "plait/data/processor.h"
#include "plait/data/video/video.h"
#include "plait/data/video/whole.h"
#include "tests/data/media_files.h"

namespace plait::data {
namespace {

const char* const kFiles[] = {"h264.mp4", "vp9.webm", "mpeg4.avi", "mjpeg.mov", "drawn.gif"};

std::string file(const std::string& name) { return PLAIT_SOURCE_DIR "/fuzz/corpus/video/" + name; }

std::vector<VideoFrame> all(VideoReader& reader) {
  std::vector<VideoFrame> frames;
  while (auto frame = reader.next()) frames.push_back(std::move(*frame));
  return frames;
}

/// Column of the square's middle.
double place(const at::Tensor& pixels) {
  at::Tensor bright = (pixels.select(2, 0) > 130).to(at::kDouble);
  at::Tensor columns = at::arange(pixels.size(1), at::kDouble);
  return ((bright.sum(0) * columns).sum() / bright.sum()).item<double>();
}

TEST(Video, ReadsEveryContainer) {
  for (const char* name : kFiles) {
    VideoReader reader = VideoReader::open(file(name));
    EXPECT_EQ(reader.info().width, 48) << name;
    EXPECT_EQ(reader.info().height, 32) << name;
    std::vector<VideoFrame> frames = all(reader);
    ASSERT_EQ(frames.size(), 8) << name;
    for (size_t t = 0; t < frames.size(); ++t) {
      EXPECT_EQ(frames[t].pixels.sizes(), at::IntArrayRef({32, 48, 3}));
      EXPECT_NEAR(frames[t].seconds, static_cast<double>(t) / 10, 1e-3) << name;
      EXPECT_NEAR(place(frames[t].pixels), 3.5 + 4 * static_cast<double>(t), 1) << name;
    }
    EXPECT_FALSE(reader.next()) << "the end stays the end";
  }
}

TEST(Video, BytesAreAsGoodAsFiles) {
  for (const char* name : kFiles) {
    VideoReader one = VideoReader::open(file(name));
    VideoReader other = VideoReader::from_bytes(read_file(file(name)), "bytes");
    VideoReader moved = std::move(other);
    std::vector<VideoFrame> a = all(one), b = all(moved);
    ASSERT_EQ(a.size(), b.size());
    for (size_t t = 0; t < a.size(); ++t) EXPECT_TRUE(a[t].pixels.equal(b[t].pixels)) << name;
  }
}

TEST(Video, FramesAreTheCallersOwn) {
  VideoReader reader = VideoReader::open(file("h264.mp4"));
  at::Tensor first = reader.next()->pixels;
  at::Tensor copy = first.clone();
  reader.next();
  EXPECT_TRUE(first.equal(copy));
}

TEST(Video, SkipsAndSeeks) {
  for (const char* name : kFiles) {
    VideoReader reader = VideoReader::open(file(name));
    std::vector<VideoFrame> frames = all(reader);
    reader.seek(0.45);
    EXPECT_TRUE(reader.next()->pixels.equal(frames[5].pixels)) << name;
    reader.seek(-1);
    EXPECT_NEAR(*reader.skip(), 0, 1e-3) << name;
    EXPECT_TRUE(reader.next()->pixels.equal(frames[1].pixels)) << name;
    reader.seek(99);
    EXPECT_FALSE(reader.next()) << name;
    EXPECT_THROW(reader.seek(NAN), Error);
  }
}

TEST(Video, LimitsHold) {
  auto code = [](const VideoOptions& options) {
    return error_of([&] {
             VideoReader reader = VideoReader::open(file("vp9.webm"), options);
             all(reader);
           })
        .code();
  };
  EXPECT_EQ(code({.max_pixels = 48 * 32 - 1}), ErrorCode::kResourceLimit);
  EXPECT_EQ(code({.max_frames = 7}), ErrorCode::kResourceLimit);
  EXPECT_EQ(code({.max_seconds = 0.5}), ErrorCode::kResourceLimit);
  EXPECT_EQ(code({.frames_per_second = -1}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({.threads = 0}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(error_of([] { VideoReader::open(file("missing.mp4")); }).code(), ErrorCode::kNotFound);
}

TEST(Video, DamageIsAnErrorThatNamesTheFile) {
  for (const char* name : kFiles) {
    attack(read_file(file(name)), "clip", [](const std::string& bytes) {
      VideoReader reader = VideoReader::from_view(
          bytes, "clip", {.max_pixels = 1 << 16, .max_frames = 100, .timeout_seconds = 3});
      all(reader);
    });
    std::string half = read_file(file(name));
    half.resize(half.size() * 3 / 5);
    EXPECT_EQ(error_of([&] {
                VideoReader reader = VideoReader::from_view(half, "half");
                all(reader);
              }).code(),
              ErrorCode::kCorruptData)
        << name;
  }
}

TEST(Video, KnowsWhetherAContainerIsWhole) {
  const std::pair<const char*, const char*> kFormats[] = {{"h264.mp4", "mov,mp4,m4a"},
                                                          {"vp9.webm", "matroska,webm"},
                                                          {"mpeg4.avi", "avi"},
                                                          {"drawn.gif", "gif"}};
  for (const auto& [name, format] : kFormats) {
    std::string bytes = read_file(file(name));
    auto whole = [&](size_t count) {
      return container_is_whole({reinterpret_cast<const uint8_t*>(bytes.data()), count}, format);
    };
    EXPECT_TRUE(whole(bytes.size())) << name;
    EXPECT_FALSE(whole(bytes.size() - 1)) << name;
    EXPECT_FALSE(whole(bytes.size() / 2)) << name;
  }
}

TensorMap process(const char* config, const std::vector<const Value*>& values) {
  return make_processor(Json::parse(config), ".", "test")->process(values, "clip");
}

TEST(VideoProcessor, SpreadsFramesOverTheVideo) {
  Value path = Path{file("h264.mp4")}, bytes = Bytes{read_file(file("h264.mp4"))};
  TensorMap out = process(R"({"type": "video", "num_frames": 4, "size": [32, 48], "mean": [0, 0, 0],
                              "std": [1, 1, 1]})",
                          {&path, nullptr, &bytes});
  const at::Tensor& pixels = out.at("pixel_values");
  ASSERT_EQ(pixels.sizes(), at::IntArrayRef({3, 4, 3, 32, 48}));
  VideoReader reader = VideoReader::open(file("h264.mp4"));
  std::vector<VideoFrame> frames = all(reader);
  for (int64_t i = 0; i < 4; ++i) {
    at::Tensor want = frames[static_cast<size_t>(2 * i + 1)].pixels.permute({2, 0, 1}) / 255.0;
    EXPECT_LE((pixels[0][i] - want).abs().max().item<double>(), 1e-6);
  }
  EXPECT_TRUE(pixels[2].equal(pixels[0]));
  EXPECT_EQ(pixels[1].abs().sum().item<double>(), 0);
  EXPECT_TRUE(out.at("attention_mask")
                  .equal(at::tensor({1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1}, at::kLong).view({3, 4})));
}

TEST(VideoProcessor, TakesFramesAtARateAndPads) {
  Value path = Path{file("drawn.gif")};
  Value frames = at::full({2, 32, 48, 3}, 255, at::kByte);
  TensorMap out =
      process(R"({"type": "video", "num_frames": 6, "frames_per_second": 5, "size": 16})",
              {&path, &frames});
  EXPECT_EQ(out.at("pixel_values").sizes(), at::IntArrayRef({2, 4, 3, 16, 16}));
  EXPECT_TRUE(out.at("attention_mask").sum(1).equal(at::tensor({4, 2}, at::kLong)));
  EXPECT_EQ(out.at("pixel_values")[1][1].mean().item<double>(), 1);
  EXPECT_EQ(process(R"({"type": "video", "num_frames": 3, "size": 16})", {nullptr})
                .at("pixel_values")
                .sizes(),
            at::IntArrayRef({1, 3, 3, 16, 16}));
}

TEST(VideoProcessor, TakesTensorsAndItsOwnConfig) {
  Value bytes = at::randint(0, 256, {5, 20, 30, 3}, at::kByte);
  Value floats = std::get<at::Tensor>(bytes).permute({0, 3, 1, 2}).to(at::kFloat) / 255;
  auto processor =
      make_processor(Json::parse(R"({"type": "video", "num_frames": 5, "size": 12})"), ".", "test");
  auto again = make_processor(processor->config(), ".", "again");
  TensorMap a = processor->process({&bytes}, "clip"), b = again->process({&floats}, "clip");
  EXPECT_TRUE(a.at("pixel_values").equal(b.at("pixel_values")));
  EXPECT_EQ(processor->modality(), Modality::kVideo);
  for (const at::Tensor& wrong : {at::zeros({2, 3}), at::zeros({0, 4, 4, 3}, at::kByte),
                                  at::full({2, 3, 4, 4}, 2.0), at::full({2, 3, 4, 4}, NAN)}) {
    Value value = wrong;
    EXPECT_THAT(error_of([&] { processor->process({&value}, "clip"); }).what(),
                testing::HasSubstr("clip"));
  }
  EXPECT_THROW(make_processor(Json::parse(R"({"type": "video", "num_frames": 0})"), ".", "test"),
               Error);
}

TEST(Video, DecodingChecksAndKeepsFiles) {
  at::Tensor frames = at::zeros({2, 4, 4, 3}, at::kByte);
  EXPECT_TRUE(std::get<at::Tensor>(decode(frames, Modality::kVideo, "clip")).equal(frames));
  Value kept = decode(Path{file("h264.mp4")}, Modality::kVideo, "clip");
  EXPECT_EQ(std::get<Path>(kept).path, file("h264.mp4"));
  EXPECT_NO_THROW(decode(Bytes{read_file(file("drawn.gif"))}, Modality::kVideo, "clip"));
  EXPECT_THROW(decode(Bytes{"GIF89a"}, Modality::kVideo, "clip"), Error);
  EXPECT_THROW(decode(Path{file("missing.mp4")}, Modality::kVideo, "clip"), Error);
  EXPECT_THROW(decode(Json(1), Modality::kVideo, "clip"), Error);
}

}  // namespace
}  // namespace plait::data
