#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "plait/models/detection/yolo_blocks.h"

/// The part that the v5 and v8 layouts of YOLO have in common.
namespace plait::models {

/// Widths, repeats and switches of a PathNetwork.
struct PathPlan {
  YoloStyle style;
  std::array<int64_t, 5> widths;  ///< Channels at strides 2, 4, 8, 16, 32
  std::array<int64_t, 4> blocks;  ///< Bottlenecks at strides 4, 8, 16, 32
  int64_t neck_blocks = 1;
  int64_t stem_kernel = 3;
  bool lateral = false;  ///< 1×1 convolutions before a map goes up
};

/// Scales a number of channels, rounded up to a multiple of 8, and of blocks, at least 1.
int64_t scale_width(int64_t channels, double width);
int64_t scale_blocks(int64_t blocks, double depth);

/// A backbone of strided convolutions and cross stage partial blocks (`Block`: CspLayer or
/// SplitLayer), pyramid pooling, and path aggregation to maps of strides 8, 16 and 32. Layers are
/// named by their numbers in the published networks, which count upsampling and concatenation.
template <class Block>
class PathNetwork : public Module {
 public:
  explicit PathNetwork(const PathPlan& plan);
  /// Maps of strides 8, 16 and 32 of pixels [B, 3, H, W].
  std::vector<at::Tensor> maps(const at::Tensor& pixels) const;

 protected:
  /// The next layer's name.
  std::string number() { return std::to_string(next_++); }

 private:
  std::shared_ptr<YoloConv> conv(int64_t in, int64_t out, int64_t kernel, int64_t stride);
  std::shared_ptr<Block> block(int64_t in, int64_t out, int64_t blocks, bool shortcut);

  YoloStyle style_;
  int next_ = 0;
  std::shared_ptr<YoloConv> stem_, lateral5_, lateral4_, down3_, down4_;
  std::array<std::shared_ptr<YoloConv>, 4> down_;
  std::array<std::shared_ptr<Block>, 4> stages_;
  std::shared_ptr<PyramidPool> pool_;
  std::shared_ptr<Block> top4_, top3_, bottom4_, bottom5_;
};

}  // namespace plait::models
