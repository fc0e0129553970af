#include "plait/data/speech/letter_to_sound.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "letter_to_sound";
constexpr size_t kMaxLetters = 64;
constexpr int kMaxSounds = 40;
constexpr int64_t kUnknown = 1, kEndLetter = 2, kBegin = 2, kEnd = 3;

/// Behind "<pad>", "<unk>", "<s>", "</s>".
constexpr std::array<const char*, 70> kSounds = {
    "AA0", "AA1", "AA2", "AE0", "AE1", "AE2", "AH0", "AH1", "AH2", "AO0", "AO1", "AO2",
    "AW0", "AW1", "AW2", "AY0", "AY1", "AY2", "B",   "CH",  "D",   "DH",  "EH0", "EH1",
    "EH2", "ER0", "ER1", "ER2", "EY0", "EY1", "EY2", "F",   "G",   "HH",  "IH0", "IH1",
    "IH2", "IY0", "IY1", "IY2", "JH",  "K",   "L",   "M",   "N",   "NG",  "OW0", "OW1",
    "OW2", "OY0", "OY1", "OY2", "P",   "R",   "S",   "SH",  "T",   "TH",  "UH0", "UH1",
    "UH2", "UW",  "UW0", "UW1", "UW2", "V",   "W",   "Y",   "Z",   "ZH"};

/// "<pad>", "<unk>", "</s>", a to z.
int64_t letter_id(char c) {
  if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return c >= 'a' && c <= 'z' ? c - 'a' + 3 : kUnknown;
}

}  // namespace

LetterToSound::LetterToSound(const TensorMap& weights) {
  auto take = [&](const std::string& name) {
    at::Tensor tensor = get(weights, name, kUnit).to(at::kFloat).contiguous();
    if (!tensor.isfinite().all().item<bool>())
      fail(ErrorCode::kCorruptData, kUnit, name + ": expected finite numbers");
    return tensor;
  };
  auto gru = [&](const std::string& name) {
    return Gru{take(name + "_w_ih"), take(name + "_w_hh"), take(name + "_b_ih"),
               take(name + "_b_hh")};
  };
  encoder_ = gru("enc");
  decoder_ = gru("dec");
  letters_ = take("enc_emb");
  sounds_ = take("dec_emb");
  fc_w_ = take("fc_w");
  fc_b_ = take("fc_b");
  const int64_t symbols = static_cast<int64_t>(kSounds.size()) + 4;
  bool fits = letters_.dim() == 2 && letters_.size(0) == 29 && sounds_.dim() == 2 &&
              sounds_.size(0) == symbols && fc_w_.dim() == 2 && fc_w_.size(0) == symbols &&
              fc_b_.numel() == symbols;
  for (const auto& [cell, table] :
       {std::pair(&encoder_, &letters_), std::pair(&decoder_, &sounds_)}) {
    if (!fits) break;
    const int64_t width = fc_w_.size(1);
    fits = cell->w_ih.sizes() == at::IntArrayRef({3 * width, table->size(1)}) &&
           cell->w_hh.sizes() == at::IntArrayRef({3 * width, width}) &&
           cell->b_ih.numel() == 3 * width && cell->b_hh.numel() == 3 * width;
  }
  if (!fits) fail(ErrorCode::kCorruptData, kUnit, "expected the shapes of g2p-en's network");
}

at::Tensor LetterToSound::Gru::step(const at::Tensor& x, const at::Tensor& h) const {
  return at::gru_cell(x, h, w_ih, w_hh, b_ih, b_hh);
}

std::string LetterToSound::operator()(std::string_view word) const {
  at::NoGradGuard no_grad;
  auto row = [](const at::Tensor& table, int64_t id) { return table.narrow(0, id, 1); };
  at::Tensor h = at::zeros({1, fc_w_.size(1)});
  for (char c : word.substr(0, kMaxLetters)) h = encoder_.step(row(letters_, letter_id(c)), h);
  h = encoder_.step(row(letters_, kEndLetter), h);
  std::string out;
  int64_t last = kBegin;
  for (int i = 0; i < kMaxSounds; ++i) {
    h = decoder_.step(row(sounds_, last), h);
    last = at::linear(h, fc_w_, fc_b_).argmax().item<int64_t>();
    if (last == kEnd) break;
    if (last < 4) continue;
    if (!out.empty()) out += ' ';
    out += kSounds[static_cast<size_t>(last - 4)];
  }
  return out;
}

TensorMap read_npy_folder(const std::string& dir) {
  namespace fs = std::filesystem;
  TensorMap out;
  for (const auto& entry : fs::directory_iterator(dir)) {
    if (entry.path().extension() != ".npy") continue;
    const std::string path = entry.path().string();
    const std::string bytes = read_file(path, size_t{256} << 20);
    auto wrong = [&](const char* what) {
      fail(ErrorCode::kCorruptData, kUnit, path + ": expected " + what);
    };
    if (bytes.size() < 10 || bytes.compare(0, 6, "\x93NUMPY") != 0 || bytes[6] != 1)
      wrong("a NumPy array of format 1");
    const size_t header =
        static_cast<unsigned char>(bytes[8]) + 256u * static_cast<unsigned char>(bytes[9]);
    if (10 + header > bytes.size()) wrong("a whole header");
    const std::string said = bytes.substr(10, header);
    if (said.find("'<f4'") == std::string::npos ||
        said.find("'fortran_order': False") == std::string::npos)
      wrong("float32 in C order");
    const size_t open = said.find('('), close = said.find(')');
    if (open == std::string::npos || close == std::string::npos || close < open) wrong("a shape");
    std::vector<int64_t> shape;
    int64_t count = 1;
    for (size_t at = open + 1; at < close;) {
      int64_t size = 0;
      auto [end, error] = std::from_chars(said.data() + at, said.data() + close, size);
      if (error == std::errc()) {
        if (size < 0 || size > (int64_t{1} << 24) || count > (int64_t{1} << 28))
          wrong("a smaller shape");
        shape.push_back(size);
        count *= size;
        at = static_cast<size_t>(end - said.data());
      } else {
        ++at;
      }
    }
    if (bytes.size() - 10 - header != static_cast<size_t>(count) * 4)
      wrong("as many bytes as its shape says");
    at::Tensor tensor = at::empty(shape, at::kFloat);
    std::memcpy(tensor.mutable_data_ptr<float>(), bytes.data() + 10 + header,
                bytes.size() - 10 - header);
    out[entry.path().stem().string()] = tensor;
  }
  return out;
}

}  // namespace plait::data
