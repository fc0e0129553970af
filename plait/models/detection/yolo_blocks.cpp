#include "plait/models/detection/yolo_blocks.h"

#include <ATen/ATen.h>

#include <cmath>

namespace plait::models {

YoloConv::YoloConv(const YoloStyle& style, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                   bool separable, int64_t groups)
    : act_(style.act) {
  if (separable) {
    depthwise_ = add<YoloConv>("dconv", style, in, in, kernel, stride, false, in);
    pointwise_ = add<YoloConv>("pconv", style, in, out, 1);
    return;
  }
  conv_ = add<Conv>("conv", in, out,
                    ConvOptions{.kernel = {kernel, kernel},
                                .stride = {stride},
                                .padding = {(kernel - 1) / 2},
                                .groups = groups,
                                .bias = false});
  norm_ = add<BatchNorm>("bn", out, style.eps, style.momentum);
}

at::Tensor YoloConv::operator()(const at::Tensor& x) const {
  if (pointwise_) return (*pointwise_)((*depthwise_)(x));
  return activate(act_, (*norm_)((*conv_)(x)));
}

YoloBottleneck::YoloBottleneck(const YoloStyle& style, int64_t width, bool shortcut, int64_t kernel)
    : shortcut_(shortcut) {
  first_ = add<YoloConv>(style.prefix + "1", style, width, width, kernel);
  second_ = add<YoloConv>(style.prefix + "2", style, width, width, 3, 1, style.depthwise);
}

at::Tensor YoloBottleneck::operator()(const at::Tensor& x) const {
  at::Tensor y = (*second_)((*first_)(x));
  return shortcut_ ? x + y : y;
}

CspLayer::CspLayer(const YoloStyle& style, int64_t in, int64_t out, int64_t blocks, bool shortcut) {
  const int64_t half = out / 2;
  first_ = add<YoloConv>(style.prefix + "1", style, in, half, 1);
  second_ = add<YoloConv>(style.prefix + "2", style, in, half, 1);
  third_ = add<YoloConv>(style.prefix + "3", style, 2 * half, out, 1);
  blocks_ = add<ModuleList<YoloBottleneck>>("m");
  for (int64_t i = 0; i < blocks; ++i) blocks_->append(style, half, shortcut);
}

at::Tensor CspLayer::operator()(const at::Tensor& x) const {
  at::Tensor deep = (*first_)(x);
  for (const auto& block : *blocks_) deep = (*block)(deep);
  return (*third_)(at::cat({deep, (*second_)(x)}, 1));
}

SplitLayer::SplitLayer(const YoloStyle& style, int64_t in, int64_t out, int64_t blocks,
                       bool shortcut) {
  const int64_t half = out / 2;
  first_ = add<YoloConv>(style.prefix + "1", style, in, 2 * half, 1);
  second_ = add<YoloConv>(style.prefix + "2", style, (2 + blocks) * half, out, 1);
  blocks_ = add<ModuleList<YoloBottleneck>>("m");
  for (int64_t i = 0; i < blocks; ++i) blocks_->append(style, half, shortcut, /*kernel=*/3);
}

at::Tensor SplitLayer::operator()(const at::Tensor& x) const {
  std::vector<at::Tensor> parts = (*first_)(x).chunk(2, 1);
  for (const auto& block : *blocks_) parts.push_back((*block)(parts.back()));
  return (*second_)(at::cat(parts, 1));
}

PyramidPool::PyramidPool(const YoloStyle& style, int64_t in, int64_t out) {
  const int64_t half = in / 2;
  first_ = add<YoloConv>(style.prefix + "1", style, in, half, 1);
  second_ = add<YoloConv>(style.prefix + "2", style, 4 * half, out, 1);
}

at::Tensor PyramidPool::operator()(const at::Tensor& input) const {
  std::vector<at::Tensor> parts = {(*first_)(input)};
  for (int i = 0; i < 3; ++i) parts.push_back(at::max_pool2d(parts.back(), 5, 1, 2));
  return (*second_)(at::cat(parts, 1));
}

PredictionConv::PredictionConv(int64_t in, int64_t out, double prior)
    : Conv(in, out, ConvOptions{.kernel = {1, 1}}), prior_(prior) {}

void PredictionConv::reset_parameters(at::Generator& generator) {
  Conv::reset_parameters(generator);
  if (prior_ > 0) bias.fill_(std::log(prior_ / (1 - prior_)));
}

at::Tensor upsample_twice(const at::Tensor& x) {
  return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
}

at::Tensor flatten_levels(const std::vector<at::Tensor>& maps) {
  std::vector<at::Tensor> rows;
  for (const at::Tensor& map : maps) rows.push_back(map.flatten(2));
  return at::cat(rows, 2).transpose(1, 2);
}

TensorMap detector_outputs(const std::vector<at::Tensor>& maps, const at::Tensor& logits,
                           const at::Tensor& boxes, const at::Tensor& scores,
                           const at::Tensor& cells) {
  return {{"p3", maps[0]},
          {"p4", maps[1]},
          {"p5", maps[2]},
          {"logits", logits},
          {"boxes", boxes},
          {"scores", scores},
          {"cells", cells.unsqueeze(0).expand({logits.size(0), -1, -1})}};
}

at::Tensor cell_centres(const std::vector<at::Tensor>& maps, const std::vector<int64_t>& strides,
                        int64_t repeat) {
  std::vector<at::Tensor> rows;
  for (size_t i = 0; i < maps.size(); ++i) {
    const double stride = static_cast<double>(strides[i]);
    auto options = at::TensorOptions(at::kFloat).device(maps[i].device());
    const int64_t height = maps[i].size(2), width = maps[i].size(3);
    at::Tensor y = (at::arange(height, options) + 0.5) * stride;
    at::Tensor x = (at::arange(width, options) + 0.5) * stride;
    at::Tensor level =
        at::stack({x.unsqueeze(0).expand({height, width}), y.unsqueeze(1).expand({height, width}),
                   at::full({height, width}, stride, options)},
                  2)
            .reshape({-1, 3});
    rows.push_back(level.repeat({repeat, 1}));
  }
  return at::cat(rows, 0);
}

}  // namespace plait::models
