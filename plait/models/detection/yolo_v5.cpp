#include "plait/models/detection/yolo_v5.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "plait/core/error.h"
#include "plait/models/detection/path_network.h"
#include "plait/models/detection/simota.h"

namespace plait::models {

namespace {

constexpr const char* kUnit = "yolo_v5";
constexpr double kPrior = 0.01;
constexpr int64_t kAnchors = 3;  // at each place
const std::vector<int64_t> kStrides = {8, 16, 32};

PathPlan plan_of(const YoloV5::Config& c) {
  PathPlan plan;
  plan.style = {c.hidden_act, c.batch_norm_eps, c.batch_norm_momentum, false, "cv"};
  for (size_t i = 0; i < 5; ++i) plan.widths[i] = scale_width(int64_t{64} << i, c.width);
  plan.blocks = {scale_blocks(3, c.depth), scale_blocks(6, c.depth), scale_blocks(9, c.depth),
                 scale_blocks(3, c.depth)};
  plan.neck_blocks = scale_blocks(3, c.depth);
  plan.stem_kernel = 6;
  plan.lateral = true;
  return plan;
}

/// Box, presence and classes of each anchor from one 1×1 convolution.
class AnchorConv : public Conv {
 public:
  AnchorConv(int64_t in, int64_t classes)
      : Conv(in, kAnchors * (5 + classes), ConvOptions{.kernel = {1, 1}}) {}
  void reset_parameters(at::Generator& generator) override {
    Conv::reset_parameters(generator);
    bias.view({kAnchors, -1}).slice(1, 4).fill_(std::log(kPrior / (1 - kPrior)));
  }
};

}  // namespace

void YoloV5::Config::visit(ConfigVisitor& v) {
  v.field("num_classes", num_classes, "Kinds of object", {.min = 1, .max = 1e5});
  v.field("depth", depth, "Scale of the number of blocks", {.min = 0.01, .max = 10});
  v.field("width", width, "Scale of the channels", {.min = 0.01, .max = 8});
  v.field("anchors", anchors, "Width and height in pixels of three boxes for each of three levels",
          {.min = 0.1, .max = 1e5});
  v.field("hidden_act", hidden_act, "Activation", {.one_of = {"silu", "relu"}});
  v.field("batch_norm_eps", batch_norm_eps, "Epsilon of batch normalisation", {.min = 0, .max = 1});
  v.field("batch_norm_momentum", batch_norm_momentum, "Momentum of the running statistics",
          {.min = 0, .max = 1});
}

void YoloV5::Config::validate() const {
  require(anchors.size() == kStrides.size() * kAnchors * 2, kUnit,
          "expected 18 numbers as anchors: three boxes for each of three levels");
}

YoloV5::Config YoloV5::Config::tiny() {
  Config c;
  c.num_classes = 2;
  c.width = 1.0 / 64;
  c.depth = 0.1;
  return c;
}

YoloV5::Config YoloV5::Config::of_size(const std::string& size) {
  static const std::map<std::string, std::pair<double, double>> kSizes = {{"n", {0.33, 0.25}},
                                                                          {"s", {0.33, 0.5}},
                                                                          {"m", {0.67, 0.75}},
                                                                          {"l", {1.0, 1.0}},
                                                                          {"x", {1.33, 1.25}}};
  auto found = kSizes.find(size);
  require(found != kSizes.end(), kUnit, "expected a size of n, s, m, l or x");
  Config c;
  std::tie(c.depth, c.width) = found->second;
  return c;
}

struct YoloV5::Head : Module {
  Head(const Config& c, const PathPlan& plan) {
    // In units of the stride, as the checkpoints have them.
    at::Tensor pixels = at::tensor(c.anchors).to(at::kFloat).view({3, kAnchors, 2});
    anchors = add_buffer("anchors", pixels / at::tensor(kStrides).view({3, 1, 1}));
    convs = add<ModuleList<AnchorConv>>("m");
    for (size_t i = 2; i < 5; ++i) convs->append(plan.widths[i], c.num_classes);
  }
  at::Tensor anchors;
  std::shared_ptr<ModuleList<AnchorConv>> convs;
};

class YoloV5::Layers : public PathNetwork<CspLayer> {
 public:
  explicit Layers(const Config& c) : PathNetwork<CspLayer>(plan_of(c)) {
    head = add<Head>(number(), c, plan_of(c));
  }
  std::shared_ptr<Head> head;
};

YoloV5::YoloV5(const Config& c) : config_(c) {
  c.validate();
  model_ = add<Layers>("model", c);
}

YoloV5::~YoloV5() = default;

TensorMap YoloV5::forward(const TensorMap& inputs) {
  std::vector<at::Tensor> maps = model_->maps(detector_pixels(inputs, stride(), kUnit));
  const int64_t batch = maps[0].size(0), values = 5 + config_.num_classes;
  std::vector<at::Tensor> rows, sizes;
  for (size_t i = 0; i < maps.size(); ++i) {
    const int64_t places = maps[i].size(2) * maps[i].size(3);
    at::Tensor x = (*model_->head->convs)[i](maps[i]).view({batch, kAnchors, values, places});
    rows.push_back(x.transpose(2, 3).reshape({batch, kAnchors * places, values}));
    at::Tensor pixels = model_->head->anchors[static_cast<int64_t>(i)].to(at::kFloat) *
                        static_cast<double>(kStrides[i]);
    sizes.push_back(pixels.repeat_interleave(places, 0));
  }
  at::Tensor logits = at::cat(rows, 1), raw = logits.to(at::kFloat);
  at::Tensor cells = cell_centres(maps, kStrides, kAnchors);
  // A centre may lie half a cell outside of its own, a side be up to four times the anchor's.
  at::Tensor centre =
      cells.slice(1, 0, 2) + (2 * raw.slice(2, 0, 2).sigmoid() - 1) * cells.slice(1, 2);
  at::Tensor half = (2 * raw.slice(2, 2, 4).sigmoid()).square() * at::cat(sizes, 0) * 0.5;
  at::Tensor scores = raw.slice(2, 4).sigmoid();
  return detector_outputs(maps, logits, at::cat({centre - half, centre + half}, 2),
                          scores.slice(2, 0, 1) * scores.slice(2, 1), cells);
}

at::Tensor YoloV5::loss(const TensorMap& outputs, const at::Tensor& targets) const {
  return simota_loss(outputs, targets, kUnit);
}

}  // namespace plait::models
