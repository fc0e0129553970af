#pragma once
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait::api {

/// One size of a stream's encoder: configs of the encoder and its processor, and how deep, wide and
/// fine (pixels to a side, frames or tokens) it is against the recipe's own, 1 each.
struct EncoderSize {
  Json encoder, processor;
  double depth = 1, width = 1, resolution = 1;
  double multiply_adds = 0;  ///< Of one item; 0 until it is counted
  std::string layers = {};   ///< The encoder's key for its number of equal layers; may be empty
};

/// Which sizes of an encoder there are.
struct SizeChoices {
  bool depth = true, width = true, resolution = true;
  /// Published weights are kept: the first n layers of a Transformer, nothing wider or deeper, and
  /// the input as the encoder was trained on it.
  bool pretrained = false;
};

/// The sizes of an encoder ({"type", ...} with every default written out) with its processor, the
/// given one first. Transformers (bert, xlm_roberta, vit, wav2vec2, whisper, temporal_audio,
/// patch_series, ft_transformer) by layers and heads of one size, picture_net and resnet by blocks
/// and channels; pictures by their size, log-mel frames by the hop, texts by max_length, series by
/// the patch. Others come in the given size alone, or at other resolutions.
std::vector<EncoderSize> encoder_sizes(const Json& encoder, const Json& processor,
                                       const SizeChoices& choices = {});

}  // namespace plait::api
