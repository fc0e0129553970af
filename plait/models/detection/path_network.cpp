#include "plait/models/detection/path_network.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace plait::models {

int64_t scale_width(int64_t channels, double width) {
  return static_cast<int64_t>(std::ceil(static_cast<double>(channels) * width / 8)) * 8;
}

int64_t scale_blocks(int64_t blocks, double depth) {
  return std::max<int64_t>(
      static_cast<int64_t>(std::nearbyint(static_cast<double>(blocks) * depth)), 1);
}

template <class Block>
PathNetwork<Block>::PathNetwork(const PathPlan& p) : style_(p.style) {
  const auto& w = p.widths;
  stem_ = conv(3, w[0], p.stem_kernel, 2);
  for (size_t i = 0; i < 4; ++i) {
    down_[i] = conv(w[i], w[i + 1], 3, 2);
    stages_[i] = block(w[i + 1], w[i + 1], p.blocks[i], true);
  }
  pool_ = this->template add<PyramidPool>(number(), style_, w[4], w[4]);
  const int64_t up5 = p.lateral ? w[3] : w[4], up4 = p.lateral ? w[2] : w[3];
  if (p.lateral) lateral5_ = conv(w[4], w[3], 1, 1);
  next_ += 2;
  top4_ = block(up5 + w[3], w[3], p.neck_blocks, false);
  if (p.lateral) lateral4_ = conv(w[3], w[2], 1, 1);
  next_ += 2;
  top3_ = block(up4 + w[2], w[2], p.neck_blocks, false);
  down3_ = conv(w[2], w[2], 3, 2);
  next_ += 1;
  bottom4_ = block(w[2] + up4, w[3], p.neck_blocks, false);
  down4_ = conv(w[3], w[3], 3, 2);
  next_ += 1;
  bottom5_ = block(w[3] + up5, w[4], p.neck_blocks, false);
}

template <class Block>
std::vector<at::Tensor> PathNetwork<Block>::maps(const at::Tensor& pixels) const {
  std::array<at::Tensor, 4> c;
  at::Tensor x = (*stem_)(pixels);
  for (size_t i = 0; i < 4; ++i) x = c[i] = (*stages_[i])((*down_[i])(x));
  at::Tensor l5 = (*pool_)(x);
  if (lateral5_) l5 = (*lateral5_)(l5);
  at::Tensor l4 = (*top4_)(at::cat({upsample_twice(l5), c[2]}, 1));
  if (lateral4_) l4 = (*lateral4_)(l4);
  at::Tensor p3 = (*top3_)(at::cat({upsample_twice(l4), c[1]}, 1));
  at::Tensor p4 = (*bottom4_)(at::cat({(*down3_)(p3), l4}, 1));
  at::Tensor p5 = (*bottom5_)(at::cat({(*down4_)(p4), l5}, 1));
  return {p3, p4, p5};
}

template <class Block>
std::shared_ptr<YoloConv> PathNetwork<Block>::conv(int64_t in, int64_t out, int64_t kernel,
                                                   int64_t stride) {
  return this->template add<YoloConv>(number(), style_, in, out, kernel, stride);
}

template <class Block>
std::shared_ptr<Block> PathNetwork<Block>::block(int64_t in, int64_t out, int64_t blocks,
                                                 bool shortcut) {
  return this->template add<Block>(number(), style_, in, out, blocks, shortcut);
}

template class PathNetwork<CspLayer>;
template class PathNetwork<SplitLayer>;

}  // namespace plait::models
