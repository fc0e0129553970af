#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/decode.h"
#include "plait/data/volume/volume_processor.h"

namespace plait::data {
namespace {

std::string corpus(const std::string& name) {
  return PLAIT_SOURCE_DIR "/fuzz/corpus/dicom/" + name;
}

TEST(Dicom, KeepsIdentityApartFromTheTags) {
  DicomImage image = load_dicom(corpus("rle"));
  EXPECT_EQ(image.identity.patient_name, "Test^Made");
  EXPECT_EQ(image.tags.modality, "OT");
  EXPECT_EQ(image.tags.slope, 2);
  ASSERT_EQ(image.tags.windows.size(), 1u);
  EXPECT_EQ(image.tags.windows[0].width, 80);
  ASSERT_TRUE(image.tags.orientation.has_value());
}

TEST(Dicom, EveryEncodingHoldsTheSameValues) {
  at::Tensor plain = load_dicom(corpus("big_endian")).pixels;
  EXPECT_EQ(plain.sizes(), at::IntArrayRef({1, 7, 6}));
  EXPECT_TRUE(load_dicom(corpus("rle")).pixels.equal(plain));
  EXPECT_TRUE(load_dicom(corpus("deflated")).pixels.equal(plain));
}

TEST(Dicom, RefusesCutFilesAtEveryLength) {
  for (const char* name : {"rle", "big_endian", "deflated", "implicit"}) {
    std::string bytes = read_file(corpus(name));
    for (size_t n = 0; n + 12 < bytes.size(); n += 7)
      EXPECT_THROW(decode_dicom(std::string_view(bytes).substr(0, n), "cut"), Error) << name << n;
  }
}

TEST(Volume, SortsFramesByPosition) {
  Volume volume = load_volume(corpus("enhanced"));
  EXPECT_EQ(volume.values.sizes(), at::IntArrayRef({2, 7, 6}));
  EXPECT_DOUBLE_EQ(volume.spacing[0], 3);
  EXPECT_TRUE(volume.has_spacing);
}

TEST(Volume, DecodesEveryKindOfValue) {
  at::Tensor tensor = at::ones({2, 3, 4});
  EXPECT_TRUE(std::get<at::Tensor>(decode(tensor, Modality::kVolume, "ct")).equal(tensor));
  EXPECT_NO_THROW(decode(Path{corpus("rle")}, Modality::kVolume, "ct"));
  EXPECT_NO_THROW(decode(Bytes{read_file(corpus("rle"))}, Modality::kVolume, "ct"));
  EXPECT_THROW(decode(at::ones({2, 3}), Modality::kVolume, "ct"), Error);
  EXPECT_THROW(decode(Path{corpus("jpeg2000_rgb")}, Modality::kVolume, "ct"), Error);
  EXPECT_THROW(decode(at::full({2, 3, 4}, NAN), Modality::kVolume, "ct"), Error);
}

TEST(VolumeProcessor, WindowsResamplesAndPads) {
  Json json = Json::parse(
      R"({"type": "volume", "size": [4, 4, 4], "spacing": [2, 1, 1], "window": [0.5, 1], "mean": 0, "std": 1})");
  auto processor = make_processor(json, ".", "test");
  EXPECT_EQ(make_processor(processor->config(), ".", "again")->config().dump(),
            processor->config().dump());
  Value value = at::full({4, 6, 2}, 0.25);
  at::Tensor out = processor->process({&value, nullptr}, "ct").at("voxel_values");
  ASSERT_EQ(out.sizes(), at::IntArrayRef({2, 1, 4, 4, 4}));
  // Four slices a millimetre apart become two, in the middle of four; two columns likewise.
  at::Tensor middle = out[0][0].slice(0, 1, 3).slice(2, 1, 3);
  EXPECT_TRUE(middle.eq(0.25).all().item<bool>());
  EXPECT_FLOAT_EQ(out[0][0].sum().item<float>(), 0.25f * 2 * 4 * 2);
  EXPECT_EQ(out[1].abs().sum().item<float>(), 0);
}

}  // namespace
}  // namespace plait::data
