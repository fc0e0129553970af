#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/models/layers/layers.h"

/// Blocks that the YOLO networks share. Children are named as in the published checkpoints.
namespace plait::models {

/// What the blocks of one network have in common.
struct YoloStyle {
  std::string act = "silu";
  double eps = 1e-3, momentum = 0.03;  ///< Of batch normalisation
  bool depthwise = false;              ///< Depthwise and pointwise in place of 3×3 convolutions
  std::string prefix = "conv";         ///< "conv1", "conv2" … in YOLOX; "cv1" … in v5 and v8
};

/// Convolution without bias, padded by half its kernel, batch normalisation, activation; or, when
/// `separable`, two of those: "dconv" on each channel alone, then "pconv" 1×1.
class YoloConv : public Module {
 public:
  YoloConv(const YoloStyle& style, int64_t in, int64_t out, int64_t kernel, int64_t stride = 1,
           bool separable = false, int64_t groups = 1);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  std::string act_;
  std::shared_ptr<Conv> conv_;
  std::shared_ptr<BatchNorm> norm_;
  std::shared_ptr<YoloConv> depthwise_, pointwise_;
};

/// Convolutions one after another, named "0", "1" …
using YoloConvs = ModuleList<YoloConv>;

/// Two convolutions of `width` channels, the first `kernel`×`kernel`, the second 3×3, and the input
/// added where `shortcut`.
class YoloBottleneck : public Module {
 public:
  YoloBottleneck(const YoloStyle& style, int64_t width, bool shortcut, int64_t kernel = 1);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  bool shortcut_;
  std::shared_ptr<YoloConv> first_, second_;
};

/// Cross stage partial block with three convolutions, "C3" (Wang et al. 2019,
/// https://arxiv.org/abs/1911.11929): half of the channels pass through `blocks` bottlenecks.
class CspLayer : public Module {
 public:
  CspLayer(const YoloStyle& style, int64_t in, int64_t out, int64_t blocks, bool shortcut);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  std::shared_ptr<YoloConv> first_, second_, third_;
  std::shared_ptr<ModuleList<YoloBottleneck>> blocks_;
};

/// The cross stage partial block of v8, "C2f": the halves of a 1×1 convolution and what each of
/// `blocks` bottlenecks makes of the part before it, side by side, through another.
class SplitLayer : public Module {
 public:
  SplitLayer(const YoloStyle& style, int64_t in, int64_t out, int64_t blocks, bool shortcut);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  std::shared_ptr<YoloConv> first_, second_;
  std::shared_ptr<ModuleList<YoloBottleneck>> blocks_;
};

/// Spatial pyramid pooling (He et al. 2014, https://arxiv.org/abs/1406.4729): the channels beside
/// their maxima over 5×5, 9×9 and 13×13 places, the latter two as pools of pools, which is the
/// same.
class PyramidPool : public Module {
 public:
  PyramidPool(const YoloStyle& style, int64_t in, int64_t out);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  std::shared_ptr<YoloConv> first_, second_;
};

/// A 1×1 convolution with bias that gives log-odds of rare things: the bias starts at the log-odds
/// of `prior` (Lin et al. 2017, https://arxiv.org/abs/1708.02002); prior 0 leaves it as drawn.
class PredictionConv : public Conv {
 public:
  PredictionConv(int64_t in, int64_t out, double prior);
  void reset_parameters(at::Generator& generator) override;

 private:
  double prior_;
};

/// Twice the height and width, by repeating.
at::Tensor upsample_twice(const at::Tensor& x);

/// Maps [B, C, h, w] of all levels as [B, A, C], level by level, each row by row.
at::Tensor flatten_levels(const std::vector<at::Tensor>& maps);

/// What the detectors' forward gives, with cells [A, 3] for every picture.
TensorMap detector_outputs(const std::vector<at::Tensor>& maps, const at::Tensor& logits,
                           const at::Tensor& boxes, const at::Tensor& scores,
                           const at::Tensor& cells);

/// The centre of every place of the maps in pixels and its stride, [A, 3] float, `repeat` times per
/// level one after another.
at::Tensor cell_centres(const std::vector<at::Tensor>& maps, const std::vector<int64_t>& strides,
                        int64_t repeat = 1);

}  // namespace plait::models
