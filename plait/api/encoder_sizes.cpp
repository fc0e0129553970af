#include "plait/api/encoder_sizes.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

namespace plait::api {
namespace {

/// How a family of Transformers names its size.
struct TransformerKeys {
  const char *layers, *width, *heads, *inner;
};

std::optional<TransformerKeys> transformer_keys(const std::string& type) {
  if (type == "whisper")
    return {{"encoder_layers", "d_model", "encoder_attention_heads", "encoder_ffn_dim"}};
  for (const char* known : {"bert", "xlm_roberta", "vit", "wav2vec2", "temporal_audio",
                            "patch_series", "ft_transformer"}) {
    if (type == known)
      return {{"num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size"}};
  }
  return {};
}

int64_t rounded(double value, int64_t unit) {
  return std::max<int64_t>(unit, std::llround(value / static_cast<double>(unit)) * unit);
}

/// At most `count` of the whole numbers from 1 to `last`, evenly spread, `keep` among them.
std::set<int64_t> spread(int64_t last, int64_t count, int64_t keep) {
  std::set<int64_t> out = {keep};
  for (int64_t i = 0; i < count; ++i)
    out.insert(1 + (last - 1) * i / std::max<int64_t>(count - 1, 1));
  return out;
}

using Sizes = std::vector<EncoderSize>;

/// Every size of `sizes` in every form that `make` gives it.
template <class Make>
Sizes each(const Sizes& sizes, const Make& make) {
  Sizes out;
  for (const EncoderSize& size : sizes) {
    for (EncoderSize& made : make(size)) out.push_back(std::move(made));
  }
  return out;
}

Sizes deeper(const EncoderSize& size, const TransformerKeys& keys, bool pretrained) {
  const int64_t own = size.encoder.at(keys.layers).as_int();
  Sizes out;
  for (int64_t n : spread(pretrained ? own : 2 * own, 12, own)) {
    EncoderSize made = size;
    made.encoder[keys.layers] = n;
    made.layers = keys.layers;
    made.depth = static_cast<double>(n) / static_cast<double>(own);
    out.push_back(std::move(made));
  }
  return out;
}

Sizes wider(const EncoderSize& size, const TransformerKeys& keys) {
  const int64_t heads = size.encoder.at(keys.heads).as_int(),
                width = size.encoder.at(keys.width).as_int(), head = width / heads,
                inner = size.encoder.at(keys.inner).as_int();
  Sizes out;
  for (int64_t n : spread(2 * heads, 10, heads)) {
    EncoderSize made = size;
    made.width = static_cast<double>(n) / static_cast<double>(heads);
    // Whisper's positions need an even width.
    if (n * head % 2 != 0 && n != heads) continue;
    made.encoder[keys.width] = n * head;
    made.encoder[keys.heads] = n;
    made.encoder[keys.inner] = n == heads ? inner : rounded(made.width * double(inner), 8);
    out.push_back(std::move(made));
  }
  return out;
}

std::vector<int64_t> times(const std::vector<int64_t>& list, double factor, int64_t unit) {
  std::vector<int64_t> out;
  for (int64_t n : list) out.push_back(rounded(factor * static_cast<double>(n), unit));
  return out;
}

int64_t sum(const std::vector<int64_t>& list) {
  int64_t out = 0;
  for (int64_t n : list) out += n;
  return out;
}

Sizes deeper_stages(const EncoderSize& size) {
  const std::vector<int64_t> own = size.encoder.at("depths").as_ints();
  std::set<std::vector<int64_t>> lists;
  for (double factor : {0.34, 0.5, 0.67, 1.0, 1.5, 2.0}) lists.insert(times(own, factor, 1));
  Sizes out;
  for (const auto& list : lists) {
    EncoderSize made = size;
    made.encoder["depths"] = list;
    made.depth = static_cast<double>(sum(list)) / static_cast<double>(sum(own));
    out.push_back(std::move(made));
  }
  return out;
}

Sizes wider_stages(const EncoderSize& size) {
  const bool ours = size.encoder.at("type").as_string() == "picture_net";
  const char *stages = ours ? "channels" : "hidden_sizes",
             *stem = ours ? "stem_channels" : "embedding_size";
  const int64_t unit =
      std::max<int64_t>(4, ours ? size.encoder.at("num_attention_heads").as_int() : 4);
  const std::vector<int64_t> own = size.encoder.at(stages).as_ints();
  Sizes out;
  for (int eighths = 2; eighths <= 16; ++eighths) {
    EncoderSize made = size;
    made.width = eighths / 8.0;
    if (eighths != 8) {
      made.encoder[stages] = times(own, made.width, unit);
      made.encoder[stem] = rounded(made.width * double(size.encoder.at(stem).as_int()), 4);
    }
    out.push_back(std::move(made));
  }
  return out;
}

/// Pixels to a side that an encoder takes in whole steps; 0 when it takes one size alone.
int64_t step_of(const Json& encoder) {
  const std::string type = encoder.at("type").as_string();
  if (type == "picture_net") return int64_t{2} << encoder.at("channels").size();
  if (type == "vit") return encoder.at("patch_size").as_int();
  return type == "resnet" || type == "efficientnet_lite" ? 32 : 0;
}

Sizes finer_pictures(const EncoderSize& size) {
  const Json* own = size.processor.find("size");
  const int64_t step = step_of(size.encoder);
  if (step == 0 || !own || !own->is_int()) return {size};
  const int64_t pixels = own->as_int();
  const Json* crop = size.processor.find("crop");
  if (crop && !crop->is_null()) return {size};
  std::set<int64_t> sides = {pixels};
  for (double factor : {0.4, 0.5, 0.625, 0.75, 0.875, 1.25, 1.5}) {
    const int64_t side = rounded(factor * static_cast<double>(pixels), step);
    if (side >= 2 * step) sides.insert(side);
  }
  Sizes out;
  for (int64_t side : sides) {
    EncoderSize made = size;
    made.processor["size"] = side;
    made.resolution = static_cast<double>(side) / static_cast<double>(pixels);
    if (size.encoder.at("type").as_string() == "vit") made.encoder["image_size"] = side;
    out.push_back(std::move(made));
  }
  return out;
}

/// One whole number of the processor or the encoder, by factors within its bounds; `coarser` when a
/// larger one means fewer frames.
Sizes at_resolutions(const EncoderSize& size, bool of_encoder, const char* key, int64_t fallback,
                     const std::vector<double>& factors, int64_t least, int64_t most,
                     bool coarser) {
  const int64_t own = (of_encoder ? size.encoder : size.processor).get(key, fallback);
  std::set<int64_t> values = {own};
  for (double factor : factors) {
    const auto value = std::llround(factor * static_cast<double>(own));
    if (value >= least && value <= most) values.insert(value);
  }
  Sizes out;
  for (int64_t value : values) {
    EncoderSize made = size;
    (of_encoder ? made.encoder : made.processor)[key] = value;
    const double ratio = static_cast<double>(value) / static_cast<double>(own);
    made.resolution = coarser ? 1 / ratio : ratio;
    out.push_back(std::move(made));
  }
  return out;
}

Sizes finer(const EncoderSize& size) {
  const std::string kind = size.processor.get("type", "");
  if (kind == "image") return finer_pictures(size);
  if (kind == "log_mel")
    return at_resolutions(size, false, "hop", 160, {0.75, 1.25, 1.5, 2}, 1,
                          size.processor.get("n_fft", 400), true);
  if (kind == "text")
    return at_resolutions(size, false, "max_length", 128, {0.25, 0.5, 0.75}, 8, 1 << 20, false);
  if (size.encoder.at("type").as_string() == "patch_series")
    return at_resolutions(size, true, "patch_length", 16, {0.5, 0.75, 1.5, 2}, 2, 1 << 12, true);
  return {size};
}

}  // namespace

std::vector<EncoderSize> encoder_sizes(const Json& encoder, const Json& processor,
                                       const SizeChoices& choices) {
  const std::string type = encoder.at("type").as_string();
  EncoderSize given{encoder, processor};
  Sizes out = {given};
  const auto keys = transformer_keys(type);
  const bool stages = type == "picture_net" || type == "resnet";
  if (choices.resolution && !choices.pretrained) out = each(out, finer);
  if (keys && choices.depth)
    out = each(out, [&](const EncoderSize& s) { return deeper(s, *keys, choices.pretrained); });
  if (stages && choices.depth && !choices.pretrained) out = each(out, deeper_stages);
  if (keys && choices.width && !choices.pretrained)
    out = each(out, [&](const EncoderSize& s) { return wider(s, *keys); });
  if (stages && choices.width && !choices.pretrained) out = each(out, wider_stages);
  std::stable_partition(out.begin(), out.end(), [](const EncoderSize& s) {
    return s.depth == 1 && s.width == 1 && s.resolution == 1;
  });
  return out;
}

}  // namespace plait::api
