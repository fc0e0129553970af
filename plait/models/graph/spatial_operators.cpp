#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"
#include "plait/models/graph/operators.h"

namespace plait::models::onnx {
namespace {

constexpr const char* kUnit = "onnx_graph";
constexpr int64_t kMaxWindow = 1 << 16;

[[noreturn]] void bad(const std::string& what) { fail(ErrorCode::kInvalidArgument, kUnit, what); }

/// How a window moves: the attributes that convolutions and poolings share.
struct Window {
  std::vector<int64_t> kernel, stride, dilation, before, after;

  Window(const Call& call, std::vector<int64_t> kernel_size) {
    kernel = call.ints("kernel_shape", std::move(kernel_size));
    size_t dims = kernel.size();
    stride = call.ints("strides", std::vector<int64_t>(dims, 1));
    dilation = call.ints("dilations", std::vector<int64_t>(dims, 1));
    std::vector<int64_t> pads = call.ints("pads", std::vector<int64_t>(2 * dims, 0));
    std::string automatic = call.attributes.get("auto_pad", "NOTSET");
    if (automatic != "NOTSET" && automatic != "VALID")
      fail(ErrorCode::kUnavailable, kUnit, "expected explicit padding, got " + automatic);
    if (dims == 0 || dims > 3 || stride.size() != dims || dilation.size() != dims ||
        pads.size() != 2 * dims)
      bad("expected strides, dilations and pads of one to three dimensions");
    before.assign(pads.begin(), pads.begin() + static_cast<int64_t>(dims));
    after.assign(pads.begin() + static_cast<int64_t>(dims), pads.end());
    for (size_t i = 0; i < dims; ++i) {
      bool small = kernel[i] <= kMaxWindow && stride[i] <= kMaxWindow &&
                   dilation[i] <= kMaxWindow && before[i] <= kMaxWindow && after[i] <= kMaxWindow;
      if (!small || kernel[i] < 1 || stride[i] < 1 || dilation[i] < 1 || before[i] < 0 ||
          after[i] < 0)
        bad("expected a window of positive extents up to 65536");
    }
  }

  bool symmetric() const { return before == after; }

  /// Checks the size of the result for so many channels; also of the padded input.
  void check(const at::Tensor& x, int64_t channels) const {
    if (x.dim() != static_cast<int64_t>(kernel.size()) + 2)
      bad("expected an input of " + std::to_string(kernel.size() + 2) + " dimensions, got " +
          describe(x));
    std::vector<int64_t> padded{x.size(0), x.size(1)}, out{x.size(0), channels};
    for (size_t i = 0; i < kernel.size(); ++i) {
      int64_t extent = x.size(static_cast<int64_t>(i) + 2) + before[i] + after[i];
      int64_t reach = dilation[i] * (kernel[i] - 1) + 1;
      if (extent < reach) bad("expected an input that the window fits into, got " + describe(x));
      padded.push_back(extent);
      out.push_back((extent - reach) / stride[i] + 1);
    }
    check_count(padded);
    check_count(out);
  }

  /// The input with its padding, where the two sides differ.
  at::Tensor pad(const at::Tensor& x, double value) const {
    std::vector<int64_t> sides;
    for (size_t i = kernel.size(); i-- > 0;) {
      sides.push_back(before[i]);
      sides.push_back(after[i]);
    }
    return at::constant_pad_nd(x, sides, value);
  }
};

at::Tensor bias_of(const Call& call) { return call.has(2) ? call.inputs[2] : at::Tensor(); }

at::Tensor convolution(const Call& call) {
  at::Tensor x = call.input(0);
  const at::Tensor& weight = call.input(1);
  if (weight.dim() < 3) bad("expected a weight [O, I, K...], got " + describe(weight));
  Window window(call, weight.sizes().slice(2).vec());
  if (at::IntArrayRef(window.kernel) != weight.sizes().slice(2))
    bad("expected a kernel of the weight's extents");
  window.check(x, weight.size(0));
  int64_t group = call.attributes.get("group", 1);
  if (group < 1 || group > std::max<int64_t>(x.size(1), 1))
    bad("expected 1 to " + std::to_string(x.size(1)) + " groups, got " + std::to_string(group));
  std::vector<int64_t> none(window.kernel.size(), 0), pads = window.before;
  if (!window.symmetric()) {
    x = window.pad(x, 0);
    pads = none;
  }
  return at::convolution(x, weight, bias_of(call), window.stride, pads, window.dilation, false,
                         none, group);
}

at::Tensor transposed_convolution(const Call& call) {
  const at::Tensor &x = call.input(0), &weight = call.input(1);
  if (weight.dim() < 3) bad("expected a weight [I, O, K...], got " + describe(weight));
  Window window(call, weight.sizes().slice(2).vec());
  size_t dims = window.kernel.size();
  if (at::IntArrayRef(window.kernel) != weight.sizes().slice(2) || !window.symmetric() ||
      x.dim() != static_cast<int64_t>(dims) + 2)
    bad("expected an input and even padding that fit the weight, got " + describe(x));
  std::vector<int64_t> extra = call.ints("output_padding", std::vector<int64_t>(dims, 0));
  int64_t group = call.attributes.get("group", 1);
  if (extra.size() != dims || group < 1 || group > kMaxWindow)
    bad("expected output padding of the kernel's dimensions");
  std::vector<int64_t> shape{x.size(0), weight.size(1) * group};
  for (size_t i = 0; i < dims; ++i) {
    if (extra[i] < 0 || extra[i] > kMaxWindow) bad("expected a small output padding");
    shape.push_back((x.size(static_cast<int64_t>(i) + 2) - 1) * window.stride[i] +
                    window.dilation[i] * (window.kernel[i] - 1) + 1 + extra[i]);
  }
  check_count(shape);
  return at::convolution(x, weight, bias_of(call), window.stride, window.before, window.dilation,
                         true, extra, group);
}

at::Tensor batch_norm(const Call& call) {
  const at::Tensor& x = call.input(0);
  if (call.attributes.get("training_mode", 0) != 0) bad("expected batch norm for inference");
  if (x.dim() < 2) bad("expected an input [B, C, ...], got " + describe(x));
  for (size_t i = 1; i < 5; ++i) {
    if (call.input(i).dim() != 1 || call.input(i).size(0) != x.size(1))
      bad("expected one value a channel of " + describe(x) + ", got " + describe(call.input(i)));
  }
  return at::batch_norm(x, call.input(1), call.input(2), call.input(3), call.input(4), false, 0,
                        call.attributes.get("epsilon", 1e-5), false);
}

at::Tensor global_average_pool(const Call& call) {
  const at::Tensor& x = call.input(0);
  if (x.dim() < 3) bad("expected an input [B, C, ...], got " + describe(x));
  std::vector<int64_t> axes;
  for (int64_t i = 2; i < x.dim(); ++i) axes.push_back(i);
  return at::mean(x, axes, true);
}

Window pooling_window(const Call& call) {
  Window window(call, {});
  if (window.kernel.size() != 2 || call.attributes.get("ceil_mode", 0) != 0)
    fail(ErrorCode::kUnavailable, kUnit, "expected pooling over two dimensions, rounded down");
  window.check(call.input(0), call.input(0).size(1));
  return window;
}

at::Tensor average_pool(const Call& call) {
  Window window = pooling_window(call);
  bool counts = call.attributes.get("count_include_pad", 0) != 0;
  for (int64_t dilation : window.dilation) {
    if (dilation != 1) bad("expected averages without dilation");
  }
  at::Tensor x = call.input(0);
  if (window.symmetric())
    return at::avg_pool2d(x, window.kernel, window.stride, window.before, false, counts);
  at::Tensor sum = at::avg_pool2d(window.pad(x, 0), window.kernel, window.stride, {0, 0});
  if (counts) return sum;
  at::Tensor ones = window.pad(at::ones({1, 1, x.size(2), x.size(3)}, x.options()), 0);
  return sum / at::avg_pool2d(ones, window.kernel, window.stride, {0, 0});
}

at::Tensor max_pool(const Call& call) {
  Window window = pooling_window(call);
  at::Tensor x = window.pad(call.input(0), -std::numeric_limits<double>::infinity());
  return at::max_pool2d(x, window.kernel, window.stride, {0, 0}, window.dilation);
}

/// Nearest neighbours by floor(i / scale), as networks that only double their maps have it.
at::Tensor resize(const Call& call) {
  at::Tensor x = call.input(0);
  if (call.opset < 11 || call.attributes.get("mode", "nearest") != "nearest" ||
      call.attributes.get("coordinate_transformation_mode", "half_pixel") != "asymmetric" ||
      call.attributes.get("nearest_mode", "round_prefer_floor") != "floor") {
    fail(ErrorCode::kUnavailable, kUnit,
         "expected Resize by nearest neighbours, asymmetric and rounded down");
  }
  auto dims = static_cast<size_t>(x.dim());
  std::vector<double> scales(dims, 0);
  std::vector<int64_t> shape(dims, 0);
  if (call.has(2) && call.inputs[2].numel() > 0) {
    at::Tensor given = call.inputs[2].to(at::kCPU, at::kDouble).contiguous();
    if (given.numel() != x.dim()) bad("expected a scale of every dimension");
    for (size_t i = 0; i < dims; ++i) {
      scales[i] = given.const_data_ptr<double>()[i];
      if (!(scales[i] > 0 && scales[i] <= kMaxWindow)) bad("expected positive scales up to 65536");
      shape[i] = static_cast<int64_t>(
          std::floor(static_cast<double>(x.size(static_cast<int64_t>(i))) * scales[i]));
    }
  } else {
    shape = call.ints("sizes", 3);
    if (shape.size() != dims) bad("expected scales or a size of every dimension");
    for (size_t i = 0; i < dims; ++i)
      scales[i] = static_cast<double>(shape[i]) /
                  static_cast<double>(std::max<int64_t>(x.size(static_cast<int64_t>(i)), 1));
  }
  check_count(shape);
  for (size_t i = 0; i < dims; ++i) {
    auto axis = static_cast<int64_t>(i);
    if (shape[i] == x.size(axis)) continue;
    if (x.size(axis) == 0) bad("expected values to resize, got none");
    at::Tensor index = at::arange(shape[i], at::kDouble).div(scales[i]).floor().to(at::kLong);
    x = x.index_select(axis, index.clamp(0, x.size(axis) - 1).to(x.device()));
  }
  return x;
}

}  // namespace

const std::vector<OperatorEntry>& spatial_operators() {
  static const std::vector<OperatorEntry> kEntries{
      {"AveragePool",
       average_pool,
       {"kernel_shape", "strides", "pads", "dilations", "ceil_mode", "count_include_pad",
        "auto_pad"},
       1,
       1},
      {"BatchNormalization", batch_norm, {"epsilon", "momentum", "training_mode"}, 5, 5},
      {"Conv",
       convolution,
       {"kernel_shape", "strides", "pads", "dilations", "group", "auto_pad"},
       2,
       3},
      {"ConvTranspose",
       transposed_convolution,
       {"kernel_shape", "strides", "pads", "dilations", "group", "auto_pad", "output_padding"},
       2,
       3},
      {"GlobalAveragePool", global_average_pool, {}, 1, 1},
      {"MaxPool",
       max_pool,
       {"kernel_shape", "strides", "pads", "dilations", "ceil_mode", "auto_pad"},
       1,
       1},
      {"Resize", resize, {"mode", "coordinate_transformation_mode", "nearest_mode"}, 1, 4},
  };
  return kEntries;
}

}  // namespace plait::models::onnx
