#include "plait/models/detection/yolox.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "plait/core/error.h"
#include "plait/models/detection/simota.h"
#include "plait/models/detection/yolo_blocks.h"

namespace plait::models {

namespace {

constexpr const char* kUnit = "yolox";
constexpr double kPrior = 0.01;
constexpr int64_t kStem = 64;  // channels at width 1
const std::vector<int64_t> kStrides = {8, 16, 32};

YoloStyle style_of(const YoloX::Config& c) {
  return {c.hidden_act, c.batch_norm_eps, c.batch_norm_momentum, c.depthwise, "conv"};
}

/// A convolution of stride 2, pooling where `pool`, and a cross stage partial block.
struct Stage : Module {
  Stage(const YoloStyle& s, int64_t in, int64_t out, int64_t blocks, bool pooled) {
    down = add<YoloConv>("0", s, in, out, 3, 2, s.depthwise);
    if (pooled) pool = add<PyramidPool>("1", s, out, out);
    csp = add<CspLayer>(pooled ? "2" : "1", s, out, out, blocks, /*shortcut=*/!pooled);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor y = (*down)(x);
    return (*csp)(pool ? (*pool)(y) : y);
  }
  std::shared_ptr<YoloConv> down;
  std::shared_ptr<PyramidPool> pool;
  std::shared_ptr<CspLayer> csp;
};

/// Every second pixel of every second row, four times: [B, C, H, W] → [B, 4C, H/2, W/2].
struct Focus : Module {
  Focus(const YoloStyle& s, int64_t in, int64_t out) {
    conv = add<YoloConv>("conv", s, 4 * in, out, 3);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    auto part = [&](int64_t row, int64_t column) {
      return x.slice(2, row, std::nullopt, 2).slice(3, column, std::nullopt, 2);
    };
    return (*conv)(at::cat({part(0, 0), part(1, 0), part(0, 1), part(1, 1)}, 1));
  }
  std::shared_ptr<YoloConv> conv;
};

}  // namespace

void YoloX::Config::visit(ConfigVisitor& v) {
  v.field("num_classes", num_classes, "Kinds of object", {.min = 1, .max = 1e5});
  v.field("depth", depth, "Scale of the number of blocks", {.min = 0.01, .max = 10});
  v.field("width", width, "Scale of the channels, in steps of 1/64", {.min = 0.015, .max = 8});
  v.field("depthwise", depthwise, "Depthwise separable convolutions in place of 3x3 ones");
  v.field("hidden_act", hidden_act, "Activation", {.one_of = {"silu", "relu"}});
  v.field("batch_norm_eps", batch_norm_eps, "Epsilon of batch normalisation", {.min = 0, .max = 1});
  v.field("batch_norm_momentum", batch_norm_momentum, "Momentum of the running statistics",
          {.min = 0, .max = 1});
}

void YoloX::Config::validate() const {
  require(std::abs(width * kStem - static_cast<double>(base())) < 1e-6 && base() >= 1, kUnit,
          "expected width to be a multiple of 1/64");
}

int64_t YoloX::Config::base() const { return std::lround(width * kStem); }

int64_t YoloX::Config::blocks() const { return static_cast<int64_t>(std::nearbyint(3 * depth)); }

YoloX::Config YoloX::Config::tiny() {
  Config c;
  c.num_classes = 3;
  c.width = 1.0 / 64;
  return c;
}

YoloX::Config YoloX::Config::of_size(const std::string& size) {
  static const std::map<std::string, std::pair<double, double>> kSizes = {
      {"nano", {0.33, 0.25}}, {"tiny", {0.33, 0.375}}, {"s", {0.33, 0.5}},
      {"m", {0.67, 0.75}},    {"l", {1.0, 1.0}},       {"x", {1.33, 1.25}}};
  auto found = kSizes.find(size);
  require(found != kSizes.end(), kUnit, "expected a size of nano, tiny, s, m, l or x");
  Config c;
  std::tie(c.depth, c.width) = found->second;
  c.depthwise = size == "nano";
  return c;
}

struct YoloX::Backbone : Module {
  explicit Backbone(const Config& c) {
    const YoloStyle s = style_of(c);
    const int64_t w = c.base(), n = std::max<int64_t>(c.blocks(), 1);
    stem = add<Focus>("stem", s, 3, w);
    dark2 = add<Stage>("dark2", s, w, 2 * w, n, false);
    dark3 = add<Stage>("dark3", s, 2 * w, 4 * w, 3 * n, false);
    dark4 = add<Stage>("dark4", s, 4 * w, 8 * w, 3 * n, false);
    dark5 = add<Stage>("dark5", s, 8 * w, 16 * w, n, true);
  }
  std::vector<at::Tensor> operator()(const at::Tensor& x) const {
    at::Tensor c3 = (*dark3)((*dark2)((*stem)(x)));
    at::Tensor c4 = (*dark4)(c3);
    return {c3, c4, (*dark5)(c4)};
  }
  std::shared_ptr<Focus> stem;
  std::shared_ptr<Stage> dark2, dark3, dark4, dark5;
};

/// Path aggregation (Liu et al. 2018, https://arxiv.org/abs/1803.01534): from the coarse map to the
/// fine one, and back.
struct YoloX::Neck : Module {
  explicit Neck(const Config& c) {
    const YoloStyle s = style_of(c);
    const int64_t w = c.base(), n = c.blocks();
    backbone = add<Backbone>("backbone", c);
    lateral5 = add<YoloConv>("lateral_conv0", s, 16 * w, 8 * w, 1);
    top4 = add<CspLayer>("C3_p4", s, 16 * w, 8 * w, n, false);
    lateral4 = add<YoloConv>("reduce_conv1", s, 8 * w, 4 * w, 1);
    top3 = add<CspLayer>("C3_p3", s, 8 * w, 4 * w, n, false);
    down3 = add<YoloConv>("bu_conv2", s, 4 * w, 4 * w, 3, 2, s.depthwise);
    bottom4 = add<CspLayer>("C3_n3", s, 8 * w, 8 * w, n, false);
    down4 = add<YoloConv>("bu_conv1", s, 8 * w, 8 * w, 3, 2, s.depthwise);
    bottom5 = add<CspLayer>("C3_n4", s, 16 * w, 16 * w, n, false);
  }
  std::vector<at::Tensor> operator()(const at::Tensor& x) const {
    std::vector<at::Tensor> c = (*backbone)(x);
    at::Tensor l5 = (*lateral5)(c[2]);
    at::Tensor l4 = (*lateral4)((*top4)(at::cat({upsample_twice(l5), c[1]}, 1)));
    at::Tensor p3 = (*top3)(at::cat({upsample_twice(l4), c[0]}, 1));
    at::Tensor p4 = (*bottom4)(at::cat({(*down3)(p3), l4}, 1));
    at::Tensor p5 = (*bottom5)(at::cat({(*down4)(p4), l5}, 1));
    return {p3, p4, p5};
  }
  std::shared_ptr<Backbone> backbone;
  std::shared_ptr<YoloConv> lateral5, lateral4, down3, down4;
  std::shared_ptr<CspLayer> top4, top3, bottom4, bottom5;
};

/// Class and place by separate branches, the same for every level but for their weights.
struct YoloX::Head : Module {
  explicit Head(const Config& c) {
    const YoloStyle s = style_of(c);
    const int64_t width = 4 * c.base();
    class_convs = add<ModuleList<YoloConvs>>("cls_convs");
    box_convs = add<ModuleList<YoloConvs>>("reg_convs");
    class_scores = add<ModuleList<PredictionConv>>("cls_preds");
    boxes = add<ModuleList<PredictionConv>>("reg_preds");
    objects = add<ModuleList<PredictionConv>>("obj_preds");
    stems = add<YoloConvs>("stems");
    for (int64_t factor : {4, 8, 16}) {
      stems->append(s, factor * c.base(), width, 1);
      for (const auto& branch : {class_convs->append(), box_convs->append()}) {
        for (int i = 0; i < 2; ++i) branch->append(s, width, width, 3, 1, s.depthwise);
      }
      class_scores->append(width, c.num_classes, kPrior);
      boxes->append(width, 4, 0.0);
      objects->append(width, 1, kPrior);
    }
  }
  /// Per level [B, 5 + C, h, w]: four of the box, presence, classes.
  std::vector<at::Tensor> operator()(const std::vector<at::Tensor>& maps) const {
    std::vector<at::Tensor> out;
    for (size_t i = 0; i < maps.size(); ++i) {
      at::Tensor x = (*stems)[i](maps[i]), kind = x, place = x;
      for (const auto& conv : (*class_convs)[i]) kind = (*conv)(kind);
      for (const auto& conv : (*box_convs)[i]) place = (*conv)(place);
      out.push_back(
          at::cat({(*boxes)[i](place), (*objects)[i](place), (*class_scores)[i](kind)}, 1));
    }
    return out;
  }
  std::shared_ptr<ModuleList<YoloConvs>> class_convs, box_convs;
  std::shared_ptr<ModuleList<PredictionConv>> class_scores, boxes, objects;
  std::shared_ptr<YoloConvs> stems;
};

YoloX::YoloX(const Config& c) : config_(c) {
  c.validate();
  backbone_ = add<Neck>("backbone", c);
  head_ = add<Head>("head", c);
}

YoloX::~YoloX() = default;

TensorMap YoloX::forward(const TensorMap& inputs) {
  std::vector<at::Tensor> maps = (*backbone_)(detector_pixels(inputs, stride(), kUnit));
  std::vector<at::Tensor> levels = (*head_)(maps);
  at::Tensor logits = flatten_levels(levels);
  at::Tensor cells = cell_centres(levels, kStrides), raw = logits.to(at::kFloat);
  // In float: pixels of a large picture do not fit a half's mantissa.
  at::Tensor stride = cells.slice(1, 2);
  at::Tensor centre = (raw.slice(2, 0, 2) - 0.5) * stride + cells.slice(1, 0, 2);
  at::Tensor half = raw.slice(2, 2, 4).exp() * stride * 0.5;
  at::Tensor scores = raw.slice(2, 4).sigmoid();
  return detector_outputs(maps, logits, at::cat({centre - half, centre + half}, 2),
                          scores.slice(2, 0, 1) * scores.slice(2, 1), cells);
}

at::Tensor YoloX::loss(const TensorMap& outputs, const at::Tensor& targets) const {
  return simota_loss(outputs, targets, kUnit);
}

}  // namespace plait::models
