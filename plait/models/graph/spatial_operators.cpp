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
  std::string automatic;  ///< How padding follows from the input: SAME_UPPER, SAME_LOWER, or not

  Window(const Call& call, std::vector<int64_t> kernel_size) {
    kernel = call.ints("kernel_shape", std::move(kernel_size));
    size_t dims = kernel.size();
    stride = call.ints("strides", std::vector<int64_t>(dims, 1));
    dilation = call.ints("dilations", std::vector<int64_t>(dims, 1));
    std::vector<int64_t> pads = call.ints("pads", std::vector<int64_t>(2 * dims, 0));
    automatic = call.attributes.get("auto_pad", "NOTSET");
    if (automatic != "NOTSET" && automatic != "VALID" && !same())
      fail(ErrorCode::kUnavailable, kUnit,
           "expected padding NOTSET, VALID, SAME_UPPER or SAME_LOWER, got " + automatic);
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

  bool same() const { return automatic == "SAME_UPPER" || automatic == "SAME_LOWER"; }
  bool symmetric() const { return before == after; }

  /// Sets automatic padding, with which the result has ⌈extent / stride⌉ values.
  void fit(const at::Tensor& x) {
    if (!same() || x.dim() != static_cast<int64_t>(kernel.size()) + 2) return;
    for (size_t i = 0; i < kernel.size(); ++i) {
      int64_t extent = x.size(static_cast<int64_t>(i) + 2);
      int64_t count = (extent + stride[i] - 1) / stride[i];
      int64_t reach = dilation[i] * (kernel[i] - 1) + 1;
      int64_t sum = std::max<int64_t>((count - 1) * stride[i] + reach - extent, 0);
      before[i] = after[i] = sum / 2;
      (automatic == "SAME_UPPER" ? after : before)[i] += sum % 2;
    }
  }

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
  window.fit(x);
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
  if (window.same())
    fail(ErrorCode::kUnavailable, kUnit, "expected explicit padding, got " + window.automatic);
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
  window.fit(call.input(0));
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

/// Where the values of a resized axis lie on the axis as it was; float64 [count].
at::Tensor coordinates(const std::string& mode, int64_t before, int64_t count, double scale) {
  at::Tensor index = at::arange(count, at::kDouble);
  if (mode == "asymmetric") return index / scale;
  if (mode == "align_corners")
    return count > 1 ? index * (static_cast<double>(before - 1) / static_cast<double>(count - 1))
                     : index;
  return mode == "pytorch_half_pixel" && count == 1 ? index : (index + 0.5) / scale - 0.5;
}

/// Straight lines between the values of an axis, the outermost repeated.
at::Tensor interpolate(const at::Tensor& x, int64_t axis, const at::Tensor& where) {
  int64_t last = x.size(axis) - 1;
  at::Tensor position = where.clamp(0, last), low = position.floor();
  std::vector<int64_t> along(static_cast<size_t>(x.dim()), 1);
  along[static_cast<size_t>(axis)] = where.numel();
  at::Tensor share = (position - low).to(x.options()).reshape(along);
  at::Tensor from = low.to(at::kLong).to(x.device());
  return at::lerp(x.index_select(axis, from), x.index_select(axis, (from + 1).clamp_max(last)),
                  share);
}

/// Nearest neighbours by floor(i / scale), as networks that only double their maps have it, or
/// linear.
at::Tensor resize(const Call& call) {
  at::Tensor x = call.input(0);
  const std::string mode = call.attributes.get("mode", "nearest");
  const std::string place = call.attributes.get("coordinate_transformation_mode", "half_pixel");
  bool nearest = mode == "nearest" && place == "asymmetric" &&
                 call.attributes.get("nearest_mode", "round_prefer_floor") == "floor";
  bool linear = mode == "linear" && at::isFloatingType(x.scalar_type()) &&
                (place == "asymmetric" || place == "half_pixel" || place == "align_corners" ||
                 place == "pytorch_half_pixel");
  if (call.opset < 11 || (!nearest && !linear)) {
    fail(ErrorCode::kUnavailable, kUnit,
         "expected Resize by nearest neighbours, asymmetric and rounded down, or linear, got " +
             mode + ", " + place);
  }
  auto dims = static_cast<size_t>(x.dim());
  std::vector<double> scales(dims, 0);
  std::vector<int64_t> shape(dims, 0);
  if (call.has(2) && call.inputs[2].numel() > 0) {
    if (call.attributes.contains("axes"))
      fail(ErrorCode::kUnavailable, kUnit, "expected sizes of the named axes, got scales");
    at::Tensor given = call.inputs[2].to(at::kCPU, at::kDouble).contiguous();
    if (given.numel() != x.dim()) bad("expected a scale of every dimension");
    for (size_t i = 0; i < dims; ++i) {
      scales[i] = given.const_data_ptr<double>()[i];
      if (!(scales[i] > 0 && scales[i] <= kMaxWindow)) bad("expected positive scales up to 65536");
      shape[i] = static_cast<int64_t>(
          std::floor(static_cast<double>(x.size(static_cast<int64_t>(i))) * scales[i]));
    }
  } else {
    std::vector<int64_t> axes = call.ints("axes", {});
    shape = call.ints("sizes", 3);
    if (!axes.empty()) {
      std::vector<int64_t> all = x.sizes().vec();
      for (size_t i = 0; i < axes.size(); ++i) {
        if (axes.size() != shape.size() || axes[i] < 0 || axes[i] >= x.dim())
          bad("expected a size of every axis that is named");
        all[static_cast<size_t>(axes[i])] = shape[i];
      }
      shape = all;
    }
    if (shape.size() != dims) bad("expected scales or a size of every dimension");
    check_count(shape);
    for (size_t i = 0; i < dims; ++i)
      scales[i] = static_cast<double>(shape[i]) /
                  static_cast<double>(std::max<int64_t>(x.size(static_cast<int64_t>(i)), 1));
  }
  check_count(shape);
  for (size_t i = 0; i < dims; ++i) {
    auto axis = static_cast<int64_t>(i);
    if (shape[i] == x.size(axis)) continue;
    if (x.size(axis) == 0) bad("expected values to resize, got none");
    if (linear) {
      x = interpolate(x, axis, coordinates(place, x.size(axis), shape[i], scales[i]));
      continue;
    }
    at::Tensor index = at::arange(shape[i], at::kDouble).div(scales[i]).floor().to(at::kLong);
    x = x.index_select(axis, index.clamp(0, x.size(axis) - 1).to(x.device()));
  }
  return x;
}

/// Constant values around, or cut off where the padding is negative.
at::Tensor pad(const Call& call) {
  const at::Tensor& x = call.input(0);
  if (std::string mode = call.attributes.get("mode", "constant"); mode != "constant")
    fail(ErrorCode::kUnavailable, kUnit, "expected Pad of constant values, got " + mode);
  std::vector<int64_t> pads = call.ints("pads", 1), sides;
  auto dims = static_cast<size_t>(x.dim());
  if (pads.size() != 2 * dims) bad("expected two paddings of every dimension of " + describe(x));
  std::vector<int64_t> shape;
  for (size_t i = 0; i < dims; ++i) {
    for (int64_t side : {pads[i], pads[dims + i]}) {
      if (side < -kMaxWindow || side > kMaxWindow) bad("expected paddings up to 65536");
    }
    shape.push_back(x.size(static_cast<int64_t>(i)) + pads[i] + pads[dims + i]);
  }
  check_count(shape);
  for (size_t i = dims; i-- > 0;) {
    sides.push_back(pads[i]);
    sides.push_back(pads[dims + i]);
  }
  at::Scalar value = call.attributes.get("value", 0.0);
  if (call.has(2)) {
    if (call.inputs[2].numel() != 1) bad("expected one value to pad with");
    value = call.inputs[2].reshape({}).cpu().item();
  }
  return at::constant_pad_nd(x, sides, value);
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
      {"Pad", pad, {"mode", "pads", "value"}, 1, 3},
      {"Resize", resize, {"mode", "coordinate_transformation_mode", "nearest_mode", "axes"}, 1, 4},
  };
  return kEntries;
}

}  // namespace plait::models::onnx
