#include "plait/api/ocr_reader.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/data/decode.h"
#include "plait/models/catalogue.h"

namespace plait::api {
namespace {

using data::Quad;
using data::RawImage;

constexpr const char* kUnit = "ocr";
constexpr int64_t kMaxSide = 2000, kMinSide = 30, kLimitSide = 736;
constexpr int64_t kLineHeight = 48, kLineWidth = 320, kDirectionWidth = 192;
constexpr int64_t kMaxPixels = int64_t{1} << 24;
constexpr size_t kBatch = 6;
constexpr double kWidthToHeight = 8, kTurnScore = 0.9;

RawImage to_raw(const at::Tensor& rgb) {
  at::Tensor image = rgb.contiguous();
  const auto* bytes = image.const_data_ptr<uint8_t>();
  return {image.size(1), image.size(0), 3, {bytes, bytes + image.numel()}};
}

/// float32 [3, H, W] in [-1, 1]; the networks were trained on blue, green, red.
at::Tensor to_input(const RawImage& image) {
  at::Tensor bytes = at::from_blob(const_cast<uint8_t*>(image.pixels.data()),
                                   {image.height, image.width, 3}, at::kByte);
  return bytes.permute({2, 0, 1}).flip(0).to(at::kFloat).div_(255).sub_(0.5).div_(0.5);
}

/// Whole multiples of 32, halves to the even one.
int64_t to_multiple(double side) {
  return static_cast<int64_t>(std::nearbyint(std::trunc(side) / 32)) * 32;
}

struct Scaled {
  RawImage image;
  double ratio_y = 1, ratio_x = 1;  ///< From its pixels to those before
};

/// With sides of multiples of 32 near `ratio` times its own.
Scaled rescale(const RawImage& image, double ratio) {
  int64_t height = to_multiple(static_cast<double>(image.height) * ratio);
  int64_t width = to_multiple(static_cast<double>(image.width) * ratio);
  if (height <= 0 || width <= 0)
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected a picture that is not narrower than a line of text, got " +
             std::to_string(image.width) + " x " + std::to_string(image.height));
  if (height * width > kMaxPixels)
    fail(ErrorCode::kResourceLimit, kUnit,
         "expected a picture that reading enlarges to at most 16 million pixels, got " +
             std::to_string(image.width) + " x " + std::to_string(image.height));
  return {data::resize_pixels(image, height, width),
          static_cast<double>(image.height) / static_cast<double>(height),
          static_cast<double>(image.width) / static_cast<double>(width)};
}

double ratio_of(const RawImage& image) {
  return static_cast<double>(image.width) / static_cast<double>(image.height);
}

/// A line at 48 pixels' height, zeros to its right.
at::Tensor line_input(const RawImage& crop, int64_t width) {
  auto wanted = static_cast<int64_t>(std::ceil(kLineHeight * ratio_of(crop)));
  int64_t used = std::min(std::max<int64_t>(wanted, 1), width);
  at::Tensor out = at::zeros({3, kLineHeight, width});
  out.slice(2, 0, used).copy_(to_input(data::resize_pixels(crop, kLineHeight, used)));
  return out;
}

}  // namespace

Json OcrLine::to_json() const {
  Json corners = Json::array();
  for (const auto& [x, y] : box)
    corners.push_back(Json::array({static_cast<double>(x), static_cast<double>(y)}));
  return Json::object({{"text", text}, {"score", score}, {"box", corners}});
}

std::shared_ptr<OcrReader> OcrReader::from_pretrained(const std::string& name_or_path,
                                                      const ModelOptions& options,
                                                      const data::Progress& progress) {
  const c10::Device device = device_from_string(options.backend);
  const std::string dir = models::resolve_model(name_or_path, progress);
  Json config = Json::read(dir + "/config.json", size_t{16} << 20);
  if (config.get("model_type", "") != "plait-ocr")
    fail(ErrorCode::kInvalidArgument, kUnit,
         dir + ": expected a model that reads text (model_type plait-ocr), got \"" +
             config.get("model_type", "") + "\"");
  auto reader = std::make_shared<OcrReader>();
  reader->characters_ = config.at("characters").as_strings();
  reader->backend_ = options.backend;
  auto load = [&](const char* name) {
    auto graph = std::make_unique<models::OnnxGraph>(
        models::OnnxGraph::load(dir + "/" + name + ".safetensors"));
    if (graph->inputs().size() != 1 || graph->outputs().size() != 1)
      fail(ErrorCode::kCorruptData, kUnit, dir + ": expected one input and output of " + name);
    graph->to(device);
    return graph;
  };
  reader->detector_ = load("detector");
  reader->direction_ = load("direction");
  reader->recognizer_ = load("recognizer");
  return reader;
}

at::Tensor OcrReader::run(const models::OnnxGraph& graph, const at::Tensor& input) const {
  TensorMap out = graph.run({{graph.inputs()[0], input.to(device_from_string(backend_))}});
  return out.begin()->second.to(at::kCPU).contiguous();
}

std::vector<Quad> OcrReader::detect(const RawImage& image, const OcrOptions& options) const {
  int64_t shorter = std::min(image.height, image.width);
  double ratio =
      shorter < kLimitSide ? static_cast<double>(kLimitSide) / static_cast<double>(shorter) : 1.0;
  at::Tensor map = run(*detector_, to_input(rescale(image, ratio).image).unsqueeze(0));
  if (map.dim() != 4 || map.size(1) != 1)
    fail(ErrorCode::kCorruptData, kUnit, "expected a map of text, got " + describe(map));
  return data::find_text_boxes(
      map.const_data_ptr<float>(), map.size(2), map.size(3), image.height, image.width,
      {.box_threshold = options.box_threshold, .unclip_ratio = options.unclip_ratio});
}

void OcrReader::turn_upright(Crops& crops) const {
  for (size_t begin = 0; begin < crops.size(); begin += kBatch) {
    size_t end = std::min(crops.size(), begin + kBatch);
    std::vector<at::Tensor> rows;
    for (size_t i = begin; i < end; ++i) rows.push_back(line_input(crops[i], kDirectionWidth));
    at::Tensor probabilities = run(*direction_, at::stack(rows));
    for (size_t i = begin; i < end; ++i) {
      at::Tensor row = probabilities[static_cast<int64_t>(i - begin)];
      if (row.argmax().item<int64_t>() == 1 && row[1].item<float>() > kTurnScore)
        crops[i] = data::rotate_half(crops[i]);
    }
  }
}

std::vector<OcrLine> OcrReader::recognize(const Crops& crops) const {
  // By width, so that a batch is little padded.
  std::vector<size_t> order(crops.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return ratio_of(crops[a]) < ratio_of(crops[b]); });
  std::vector<OcrLine> lines(crops.size());
  for (size_t begin = 0; begin < order.size(); begin += kBatch) {
    size_t end = std::min(order.size(), begin + kBatch);
    double widest = static_cast<double>(kLineWidth) / kLineHeight;
    for (size_t i = begin; i < end; ++i) widest = std::max(widest, ratio_of(crops[order[i]]));
    std::vector<at::Tensor> rows;
    for (size_t i = begin; i < end; ++i)
      rows.push_back(line_input(crops[order[i]], static_cast<int64_t>(kLineHeight * widest)));
    at::Tensor output = run(*recognizer_, at::stack(rows));
    if (output.dim() != 3 || output.size(2) != static_cast<int64_t>(characters_.size()) + 1)
      fail(ErrorCode::kCorruptData, kUnit,
           "expected a probability of every character, got " + describe(output));
    auto [probabilities, classes] = output.max(2);
    for (size_t i = begin; i < end; ++i) {
      OcrLine& line = lines[order[i]];
      int64_t before = 0, count = 0;
      for (int64_t t = 0; t < classes.size(1); ++t) {
        auto row = static_cast<int64_t>(i - begin);
        int64_t now = classes[row][t].item<int64_t>();
        if (now != 0 && (t == 0 || now != before)) {
          line.text += characters_[static_cast<size_t>(now - 1)];
          line.score += probabilities[row][t].item<float>();
          ++count;
        }
        before = now;
      }
      if (count > 0) line.score /= static_cast<double>(count);
    }
  }
  return lines;
}

std::vector<OcrLine> OcrReader::read(const Value& value, const OcrOptions& options) const {
  at::Tensor rgb = data::decode_image_value(value, "image");
  if (rgb.numel() == 0) return {};
  Scaled scaled{to_raw(rgb)};
  auto sides = [&] { return std::minmax(scaled.image.height, scaled.image.width); };
  if (int64_t longer = sides().second; longer > kMaxSide)
    scaled = rescale(scaled.image, static_cast<double>(kMaxSide) / static_cast<double>(longer));
  if (int64_t shorter = sides().first; shorter < kMinSide) {
    auto [y, x] = std::pair(scaled.ratio_y, scaled.ratio_x);
    scaled = rescale(scaled.image, static_cast<double>(kMinSide) / static_cast<double>(shorter));
    scaled.ratio_y *= y;
    scaled.ratio_x *= x;
  }
  RawImage& image = scaled.image;
  int64_t padding = 0;
  if (image.height <= kMinSide || ratio_of(image) > kWidthToHeight) {
    int64_t rows = std::max(static_cast<int64_t>(static_cast<double>(image.width) / kWidthToHeight),
                            kMinSide) *
                   2;
    padding = std::abs(rows - image.height) / 2;
    image = data::pad_rows(image, padding);
  }

  std::vector<Quad> boxes = detect(image, options);
  Crops crops;
  for (const Quad& box : boxes) crops.push_back(data::crop_quad(image, box));
  if (options.direction) turn_upright(crops);
  std::vector<OcrLine> lines = recognize(crops);
  for (size_t i = 0; i < lines.size(); ++i) {
    for (size_t corner = 0; corner < 4; ++corner) {
      double x = boxes[i][corner][0] * scaled.ratio_x;
      double y = (boxes[i][corner][1] - static_cast<double>(padding)) * scaled.ratio_y;
      lines[i].box[corner] = {
          static_cast<float>(std::clamp(x, 0.0, static_cast<double>(rgb.size(1)))),
          static_cast<float>(std::clamp(y, 0.0, static_cast<double>(rgb.size(0))))};
    }
  }
  std::erase_if(lines, [&](const OcrLine& line) { return line.score < options.text_score; });
  return lines;
}

}  // namespace plait::api
