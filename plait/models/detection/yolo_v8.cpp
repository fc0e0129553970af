#include "plait/models/detection/yolo_v8.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "plait/core/error.h"
#include "plait/models/detection/path_network.h"
#include "plait/models/detection/task_aligned.h"

namespace plait::models {

namespace {

constexpr const char* kUnit = "yolo_v8";
constexpr double kPrior = 0.01;
const std::vector<int64_t> kStrides = {8, 16, 32};

PathPlan plan_of(const YoloV8::Config& c) {
  PathPlan plan;
  plan.style = {c.hidden_act, c.batch_norm_eps, c.batch_norm_momentum, false, "cv"};
  for (size_t i = 0; i < 5; ++i)
    plan.widths[i] = scale_width(std::min(int64_t{64} << i, c.max_channels), c.width);
  plan.blocks = {scale_blocks(3, c.depth), scale_blocks(6, c.depth), scale_blocks(6, c.depth),
                 scale_blocks(3, c.depth)};
  plan.neck_blocks = scale_blocks(3, c.depth);
  return plan;
}

/// Two 3×3 convolutions and a 1×1 one with bias.
struct Branch : Module {
  Branch(const YoloStyle& s, int64_t in, int64_t width, int64_t out, double prior) {
    first = add<YoloConv>("0", s, in, width, 3);
    second = add<YoloConv>("1", s, width, width, 3);
    last = add<PredictionConv>("2", width, out, prior);
  }
  at::Tensor operator()(const at::Tensor& x) const { return (*last)((*second)((*first)(x))); }
  std::shared_ptr<YoloConv> first, second;
  std::shared_ptr<PredictionConv> last;
};

}  // namespace

void YoloV8::Config::visit(ConfigVisitor& v) {
  v.field("num_classes", num_classes, "Kinds of object", {.min = 1, .max = 1e5});
  v.field("depth", depth, "Scale of the number of blocks", {.min = 0.01, .max = 10});
  v.field("width", width, "Scale of the channels", {.min = 0.01, .max = 8});
  v.field("max_channels", max_channels, "Most channels before scaling", {.min = 64, .max = 65536});
  v.field("reg_max", reg_max, "Whole strides that a side's distance is spread over",
          {.min = 2, .max = 256});
  v.field("hidden_act", hidden_act, "Activation", {.one_of = {"silu", "relu"}});
  v.field("batch_norm_eps", batch_norm_eps, "Epsilon of batch normalisation", {.min = 0, .max = 1});
  v.field("batch_norm_momentum", batch_norm_momentum, "Momentum of the running statistics",
          {.min = 0, .max = 1});
}

YoloV8::Config YoloV8::Config::tiny() {
  Config c;
  c.num_classes = 2;
  c.width = 1.0 / 64;
  c.depth = 0.1;
  c.reg_max = 4;
  return c;
}

YoloV8::Config YoloV8::Config::of_size(const std::string& size) {
  struct Scale {
    double depth, width;
    int64_t max_channels;
  };
  static const std::map<std::string, Scale> kSizes = {{"n", {0.33, 0.25, 1024}},
                                                      {"s", {0.33, 0.5, 1024}},
                                                      {"m", {0.67, 0.75, 768}},
                                                      {"l", {1.0, 1.0, 512}},
                                                      {"x", {1.0, 1.25, 512}}};
  auto found = kSizes.find(size);
  require(found != kSizes.end(), kUnit, "expected a size of n, s, m, l or x");
  Config c;
  c.depth = found->second.depth;
  c.width = found->second.width;
  c.max_channels = found->second.max_channels;
  return c;
}

/// The mean of a distribution as a convolution, whose fixed weights the checkpoints hold.
struct YoloV8::Integral : Module {
  explicit Integral(int64_t count) : conv(add<Fixed>("conv", count)) {}
  struct Fixed : Module {
    explicit Fixed(int64_t count)
        : weight(add_buffer("weight", at::arange(count, at::kFloat).view({1, count, 1, 1}))) {}
    at::Tensor weight;
  };
  std::shared_ptr<Fixed> conv;
};

struct YoloV8::Head : Module {
  Head(const Config& c, const PathPlan& plan) {
    boxes = add<ModuleList<Branch>>("cv2");
    kinds = add<ModuleList<Branch>>("cv3");
    integral = add<Integral>("dfl", c.reg_max);
    const int64_t finest = plan.widths[2];
    const int64_t box_width = std::max({int64_t{16}, finest / 4, 4 * c.reg_max});
    const int64_t kind_width = std::max(finest, std::min<int64_t>(c.num_classes, 100));
    for (size_t i = 2; i < 5; ++i) {
      boxes->append(plan.style, plan.widths[i], box_width, 4 * c.reg_max, 0.0);
      kinds->append(plan.style, plan.widths[i], kind_width, c.num_classes, kPrior);
    }
  }
  std::shared_ptr<ModuleList<Branch>> boxes, kinds;
  std::shared_ptr<Integral> integral;
};

class YoloV8::Layers : public PathNetwork<SplitLayer> {
 public:
  explicit Layers(const Config& c) : PathNetwork<SplitLayer>(plan_of(c)) {
    head = add<Head>(number(), c, plan_of(c));
  }
  std::shared_ptr<Head> head;
};

YoloV8::YoloV8(const Config& c) : config_(c) { model_ = add<Layers>("model", c); }

YoloV8::~YoloV8() = default;

TensorMap YoloV8::forward(const TensorMap& inputs) {
  std::vector<at::Tensor> maps = model_->maps(detector_pixels(inputs, stride(), kUnit)), levels;
  const Head& head = *model_->head;
  for (size_t i = 0; i < maps.size(); ++i)
    levels.push_back(at::cat({(*head.boxes)[i](maps[i]), (*head.kinds)[i](maps[i])}, 1));
  at::Tensor logits = flatten_levels(levels), raw = logits.to(at::kFloat);
  at::Tensor cells = cell_centres(maps, kStrides);
  const int64_t batch = raw.size(0), bins = config_.reg_max;
  at::Tensor spread = raw.slice(2, 0, 4 * bins).reshape({batch, -1, 4, bins}).softmax(3);
  // Left, top, right and bottom of the centre, in pixels.
  at::Tensor distance =
      spread.matmul(head.integral->conv->weight.flatten().to(at::kFloat)) * cells.slice(1, 2);
  at::Tensor centre = cells.slice(1, 0, 2);
  at::Tensor boxes = at::cat({centre - distance.slice(2, 0, 2), centre + distance.slice(2, 2)}, 2);
  return detector_outputs(maps, logits, boxes, raw.slice(2, 4 * bins).sigmoid(), cells);
}

at::Tensor YoloV8::loss(const TensorMap& outputs, const at::Tensor& targets) const {
  return task_aligned_loss(outputs, targets, config_.reg_max, kUnit);
}

}  // namespace plait::models
