#include "plait/data/image/image_processor.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <optional>

#include "plait/core/error.h"
#include "plait/data/decode.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "image processor";
constexpr int64_t kMaxSide = 8192;

struct Size {
  int64_t height = 0;  ///< 0 when only the shorter edge is fixed.
  int64_t width = 0;
  int64_t shortest_edge = 0;
};

std::optional<Size> parse_size(const Json& json, const char* key) {
  auto wrong = [&]() {
    fail(ErrorCode::kInvalidArgument, kUnit,
         std::string("expected ") + key +
             " as n, [h, w], {\"height\", \"width\"}, {\"shortest_edge\"} or null with sides from "
             "1 to " +
             std::to_string(kMaxSide) + ", got " + json.dump().substr(0, 80));
  };
  auto side = [&](const Json* value) {
    if (!value || !value->is_int() || value->as_int() < 1 || value->as_int() > kMaxSide) wrong();
    return value->as_int();
  };
  if (json.is_null()) return std::nullopt;
  if (json.is_int()) return Size{side(&json), side(&json), 0};
  if (json.is_array() && json.size() == 2) return Size{side(&json.at(0)), side(&json.at(1)), 0};
  if (json.is_object() && json.contains("shortest_edge") && json.size() == 1) {
    return Size{0, 0, side(json.find("shortest_edge"))};
  }
  if (json.is_object() && json.size() == 2)
    return Size{side(json.find("height")), side(json.find("width")), 0};
  wrong();
  return std::nullopt;
}

/// Height and width of every output, when the config fixes them.
std::optional<Size> output_size(const ImageProcessorConfig& config) {
  if (auto crop = parse_size(config.crop, "crop")) return crop;
  auto size = parse_size(config.size, "size");
  return size && size->shortest_edge == 0 ? size : std::nullopt;
}

}  // namespace

void ImageProcessorConfig::validate() const {
  parse_size(size, "size");
  auto crop_size = parse_size(crop, "crop");
  require(!crop_size || crop_size->shortest_edge == 0, kUnit, "expected crop as n, [h, w] or null");
  require(mean.size() == 3 && std.size() == 3, kUnit, "expected three numbers in mean and in std");
  for (double s : std)
    require(std::isfinite(s) && s > 0, kUnit, "expected positive numbers in std");
  for (double m : mean) require(std::isfinite(m), kUnit, "expected finite numbers in mean");
  resample_from_string(resample);
}

ImageProcessor::ImageProcessor(const ImageProcessorConfig& config)
    : config_(config), resample_(resample_from_string(config.resample)) {
  config_.validate();
  for (size_t c = 0; c < 3; ++c) {
    auto mean = static_cast<float>(config_.mean[c]);
    auto std = static_cast<float>(config_.std[c]);
    for (int v = 0; v < 256; ++v) {
      // Rescaled in double and normalised in float32, as NumPy does it in the reference.
      table_[c][static_cast<size_t>(v)] =
          (static_cast<float>(v * config_.rescale_factor) - mean) / std;
    }
  }
}

ImageProcessorConfig ImageProcessor::from_published(const Json& json, const std::string& where) {
  for (const char* key :
       {"do_pad", "rescale_offset", "do_thumbnail", "do_align_long_axis", "do_image_splitting"}) {
    const Json* value = json.find(key);
    if (value && value->is_bool() && value->as_bool()) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           where + ": expected " + key + " to be false (not supported), got true");
    }
  }
  ImageProcessorConfig config;
  std::string type = json.get("image_processor_type", json.get("feature_extractor_type", ""));
  bool convnext = type.rfind("ConvNext", 0) == 0;
  bool cropping = type.rfind("CLIP", 0) == 0 || type.rfind("Bit", 0) == 0;
  const Json* size = json.find("size");
  config.size = size && !size->is_null() ? *size : Json(224);
  // Old files give CLIP's size as a number, which means the shorter edge there.
  if (config.size.is_int() && cropping)
    config.size = Json::object({{"shortest_edge", config.size}});
  bool crops = json.get("do_center_crop", cropping);
  const Json* crop = json.find("crop_size");
  if (crops) config.crop = crop && !crop->is_null() ? *crop : Json(224);
  const Json* resample = json.find("resample");
  int64_t filter = resample && resample->is_int() ? resample->as_int()
                   : cropping || convnext         ? 3
                                                  : 2;
  if (filter < 0 || filter > 3) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": expected resample from 0 to 3, got " + std::to_string(filter));
  }
  config.resample = to_string(static_cast<Resample>(filter));
  if (convnext && json.get("do_resize", true)) {
    const Json* shortest = config.size.find("shortest_edge");
    int64_t edge = shortest               ? shortest->as_int()
                   : config.size.is_int() ? config.size.as_int()
                                          : 384;
    if (edge < 384) {
      double fraction = json.get("crop_pct", 224.0 / 256.0);
      config.size = Json::object(
          {{"shortest_edge", static_cast<int64_t>(static_cast<double>(edge) / fraction)}});
      config.crop = edge;
    } else {
      config.size = edge;
    }
  }
  if (!json.get("do_resize", true)) config.size = Json();
  config.rescale_factor =
      json.get("do_rescale", true) ? json.get("rescale_factor", 1.0 / 255.0) : 1.0;
  bool normalises = json.get("do_normalize", true);
  auto numbers = [&](const char* key, double fallback) {
    const Json* value = json.find(key);
    if (!normalises || !value || value->is_null())
      return std::vector<double>(3, normalises ? fallback : 0.0);
    return value->as_doubles();
  };
  config.mean = numbers("image_mean", 0.5);
  config.std = normalises ? numbers("image_std", 0.5) : std::vector<double>(3, 1.0);
  config.validate();
  return config;
}

at::Tensor ImageProcessor::resize(const at::Tensor& image) const {
  at::Tensor out = image;
  if (auto size = parse_size(config_.size, "size")) {
    int64_t height = size->height;
    int64_t width = size->width;
    if (size->shortest_edge > 0) {
      int64_t shorter = std::min(image.size(0), image.size(1));
      int64_t longer = std::max(image.size(0), image.size(1));
      int64_t scaled = size->shortest_edge * longer / shorter;
      // A strip of one pixel by thousands would grow without bound.
      if (scaled > 4 * kMaxSide) {
        fail(ErrorCode::kResourceLimit, kUnit,
             "expected an aspect ratio below " +
                 std::to_string(4 * kMaxSide / size->shortest_edge) + ", got a picture of " +
                 std::to_string(image.size(1)) + " x " + std::to_string(image.size(0)));
      }
      height = image.size(0) <= image.size(1) ? size->shortest_edge : scaled;
      width = image.size(0) <= image.size(1) ? scaled : size->shortest_edge;
    }
    out = resize_image(out, height, width, resample_);
  }
  if (auto crop = parse_size(config_.crop, "crop"))
    out = center_crop(out, crop->height, crop->width);
  return out;
}

at::Tensor ImageProcessor::normalise(const at::Tensor& image) const {
  int64_t pixels = image.size(0) * image.size(1);
  at::Tensor source = image.contiguous();
  at::Tensor out = at::empty({3, image.size(0), image.size(1)}, at::kFloat);
  const uint8_t* from = source.const_data_ptr<uint8_t>();
  float* to = out.mutable_data_ptr<float>();
  for (int64_t c = 0; c < 3; ++c) {
    const auto& table = table_[static_cast<size_t>(c)];
    for (int64_t i = 0; i < pixels; ++i) to[c * pixels + i] = table[from[3 * i + c]];
  }
  return out;
}

TensorMap ImageProcessor::process(const std::vector<const Value*>& values,
                                  const std::string& where) const {
  std::vector<at::Tensor> rows(values.size());
  std::optional<Size> size = output_size(config_);
  ImageOptions options;
  options.max_pixels = config_.max_pixels;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    std::string item = item_name(where, i, values.size());
    at::Tensor image = decode_image_value(*values[i], item, options);
    try {
      rows[i] = normalise(resize(image));
    } catch (const Error& e) {
      fail(e.code(), kUnit, item + ": " + e.what());
    }
    if (!size) size = Size{rows[i].size(1), rows[i].size(2), 0};
    if (rows[i].size(1) != size->height || rows[i].size(2) != size->width) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           item +
               ": expected all pictures of a batch to come out equal in size (set crop, or size as "
               "[h, w]), got " +
               describe(rows[i]) + " beside height " + std::to_string(size->height) +
               " and width " + std::to_string(size->width));
    }
  }
  if (!size) size = Size{32, 32, 0};
  at::Tensor out =
      at::zeros({static_cast<int64_t>(values.size()), 3, size->height, size->width}, at::kFloat);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].defined()) out[static_cast<int64_t>(i)].copy_(rows[i]);
  }
  return {{"pixel_values", out}};
}

Json ImageProcessor::config() const { return typed_config("image", write_config(config_)); }

}  // namespace plait::data
