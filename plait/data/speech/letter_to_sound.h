#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>

#include "plait/core/tensor_map.h"

namespace plait::data {

/// What an English word that no lexicon has sounds like: a recurrent network reads its letters and
/// writes ARPAbet sounds, the most probable one at a time. Weights and alphabet of the package
/// g2p-en (checkpoint20.npz; https://github.com/Kyubyong/g2p). Immutable, thread-safe.
class LetterToSound {
 public:
  /// `weights`: enc_emb, enc_w_ih, enc_w_hh, enc_b_ih, enc_b_hh, dec_..., fc_w, fc_b.
  /// @throws Error kCorruptData for shapes that do not fit together.
  explicit LetterToSound(const TensorMap& weights);

  /// ARPAbet by spaces ("HH AH0 L OW1") for a word of letters and apostrophes; at most 64 letters
  /// are read.
  std::string operator()(std::string_view word) const;

 private:
  struct Gru {
    at::Tensor w_ih, w_hh, b_ih, b_hh;
    at::Tensor step(const at::Tensor& x, const at::Tensor& h) const;
  };
  Gru encoder_, decoder_;
  at::Tensor letters_, sounds_, fc_w_, fc_b_;
};

/// The arrays of a NumPy .npz archive whose files lie unpacked in `dir` ("<name>.npy",
/// little-endian float32 in C order). @throws Error kCorruptData naming the file.
TensorMap read_npy_folder(const std::string& dir);

}  // namespace plait::data
