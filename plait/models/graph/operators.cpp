#include "plait/models/graph/operators.h"

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>

#include <algorithm>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::models::onnx {
namespace {

constexpr const char* kUnit = "onnx_graph";
constexpr int64_t kMaxValues = int64_t{1} << 30;

[[noreturn]] void bad(const std::string& what) { fail(ErrorCode::kInvalidArgument, kUnit, what); }

/// A number from an input of one value.
at::Scalar number(const at::Tensor& tensor) {
  if (tensor.numel() != 1) bad("expected one value, got " + describe(tensor));
  return tensor.reshape({}).cpu().item();
}

int64_t axis_of(int64_t axis, int64_t dims) {
  if (axis < -dims || axis >= dims)
    bad("expected an axis of " + std::to_string(dims) + " dimensions, got " + std::to_string(axis));
  return axis < 0 ? axis + dims : axis;
}

/// Both operands of a broadcasting operator, its result checked for size.
template <class F>
at::Tensor broadcast(const Call& call, F f) {
  const at::Tensor &a = call.input(0), &b = call.input(1);
  if (a.scalar_type() != b.scalar_type())
    bad("expected operands of one type, got " + describe(a) + " and " + describe(b));
  check_count(at::infer_size(a.sizes(), b.sizes()));
  return f(a, b);
}

at::Tensor add(const Call& call) {
  return broadcast(call, [](const auto& a, const auto& b) { return at::add(a, b); });
}
at::Tensor sub(const Call& call) {
  return broadcast(call, [](const auto& a, const auto& b) { return at::sub(a, b); });
}
at::Tensor mul(const Call& call) {
  return broadcast(call, [](const auto& a, const auto& b) { return at::mul(a, b); });
}

at::Tensor div(const Call& call) {
  return broadcast(call, [](const at::Tensor& a, const at::Tensor& b) {
    if (!at::isIntegralType(a.scalar_type(), true)) return at::div(a, b);
    if (b.eq(0).any().item<bool>()) bad("expected a whole divisor other than 0");
    // The processor traps on the smallest integer over -1.
    at::Tensor turned = b.eq(-1);
    return at::where(turned, a.neg(), at::div(a, b.masked_fill(turned, 1), "trunc"));
  });
}

at::Tensor pow(const Call& call) {
  const at::Tensor& a = call.input(0);
  at::Tensor b = call.input(1).to(a.scalar_type());
  check_count(at::infer_size(a.sizes(), b.sizes()));
  return at::pow(a, b);
}

at::Tensor sqrt(const Call& call) { return at::sqrt(call.input(0)); }
at::Tensor exp(const Call& call) { return at::exp(call.input(0)); }
at::Tensor log(const Call& call) { return at::log(call.input(0)); }
at::Tensor erf(const Call& call) { return at::erf(call.input(0)); }
at::Tensor tanh(const Call& call) { return at::tanh(call.input(0)); }
at::Tensor relu(const Call& call) { return at::relu(call.input(0)); }
at::Tensor sigmoid(const Call& call) { return at::sigmoid(call.input(0)); }
at::Tensor hard_swish(const Call& call) { return at::hardswish(call.input(0)); }
at::Tensor identity(const Call& call) { return call.input(0); }

at::Tensor hard_sigmoid(const Call& call) {
  at::Tensor out = call.input(0) * call.attributes.get("alpha", 0.2);
  return out.add_(call.attributes.get("beta", 0.5)).clamp_(0, 1);
}

at::Tensor leaky_relu(const Call& call) {
  return at::leaky_relu(call.input(0), call.attributes.get("alpha", 0.01));
}

/// The largest or smallest of several values that broadcast.
at::Tensor fold(const Call& call, at::Tensor (*f)(const at::Tensor&, const at::Tensor&)) {
  at::Tensor out = call.input(0);
  for (size_t i = 1; i < call.inputs.size(); ++i) {
    check_count(at::infer_size(out.sizes(), call.input(i).sizes()));
    out = f(out, call.input(i));
  }
  return out;
}

at::Tensor max(const Call& call) { return fold(call, at::maximum); }
at::Tensor min(const Call& call) { return fold(call, at::minimum); }

at::Tensor prelu(const Call& call) {
  return broadcast(call, [](const at::Tensor& x, const at::Tensor& slope) {
    return at::where(x < 0, x * slope, x);
  });
}

at::Tensor clip(const Call& call) {
  std::optional<at::Scalar> low, high;
  if (call.has(1)) low = number(call.inputs[1]);
  if (call.has(2)) high = number(call.inputs[2]);
  if (const Json* value = call.attributes.find("min")) low = value->as_double();
  if (const Json* value = call.attributes.find("max")) high = value->as_double();
  return low || high ? at::clamp(call.input(0), low, high) : call.input(0);
}

at::Tensor softmax(const Call& call) {
  const at::Tensor& x = call.input(0);
  int64_t axis = axis_of(call.attributes.get("axis", call.opset < 13 ? 1 : -1), x.dim());
  if (call.opset >= 13) return at::softmax(x, axis);
  // Before version 13, over all dimensions from the axis on.
  int64_t rows = 1;
  for (int64_t i = 0; i < axis; ++i) rows *= x.size(i);
  if (x.numel() == 0) return x;
  return at::softmax(x.reshape({rows, -1}), 1).reshape(x.sizes());
}

at::Tensor matmul(const Call& call) {
  const at::Tensor &a = call.input(0), &b = call.input(1);
  if (a.dim() > 2 || b.dim() > 2) {
    auto heads = [](const at::Tensor& t) {
      return t.dim() > 2 ? t.sizes().slice(0, t.dim() - 2) : at::IntArrayRef();
    };
    std::vector<int64_t> shape = at::infer_size(heads(a), heads(b));
    if (a.dim() > 1) shape.push_back(a.size(-2));
    if (b.dim() > 1) shape.push_back(b.size(-1));
    check_count(shape);
  } else if (a.dim() == 2 && b.dim() == 2) {
    check_count({a.size(0), b.size(1)});
  }
  return at::matmul(a, b);
}

at::Tensor gemm(const Call& call) {
  at::Tensor a = call.input(0), b = call.input(1);
  if (a.dim() != 2 || b.dim() != 2) bad("expected two matrices");
  if (call.attributes.get("transA", 0)) a = a.t();
  if (call.attributes.get("transB", 0)) b = b.t();
  check_count({a.size(0), b.size(1)});
  at::Tensor out = at::matmul(a, b) * call.attributes.get("alpha", 1.0);
  return call.has(2) ? out + call.inputs[2] * call.attributes.get("beta", 1.0) : out;
}

at::Tensor reduce_mean(const Call& call) {
  const at::Tensor& x = call.input(0);
  std::vector<int64_t> axes = call.ints("axes", 1);
  bool keep = call.attributes.get("keepdims", 1) != 0;
  if (axes.empty()) {
    for (int64_t i = 0; i < x.dim(); ++i) axes.push_back(i);
  }
  return at::mean(x, axes, keep);
}

at::Tensor shape(const Call& call) { return at::tensor(call.input(0).sizes(), at::kLong); }

at::Tensor reshape(const Call& call) {
  const at::Tensor& x = call.input(0);
  if (call.attributes.get("allowzero", 0) != 0) bad("expected allowzero 0");
  std::vector<int64_t> sizes = call.ints("shape", 1);
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] != 0) continue;
    if (static_cast<int64_t>(i) >= x.dim()) bad("expected 0 only where the input has a dimension");
    sizes[i] = x.size(static_cast<int64_t>(i));
  }
  return x.reshape(sizes);
}

at::Tensor flatten(const Call& call) {
  const at::Tensor& x = call.input(0);
  int64_t axis = call.attributes.get("axis", 1);
  if (axis != x.dim()) axis = axis_of(axis, x.dim());
  int64_t rows = 1, columns = 1;
  for (int64_t i = 0; i < x.dim(); ++i) (i < axis ? rows : columns) *= x.size(i);
  return x.reshape({rows, columns});
}

at::Tensor transpose(const Call& call) {
  const at::Tensor& x = call.input(0);
  std::vector<int64_t> order;
  for (int64_t i = x.dim(); i-- > 0;) order.push_back(i);
  return x.permute(call.ints("perm", order));
}

at::Tensor squeeze(const Call& call) {
  at::Tensor x = call.input(0);
  std::vector<int64_t> axes = call.ints("axes", 1);
  if (axes.empty()) return x.squeeze();
  for (int64_t& axis : axes) {
    axis = axis_of(axis, x.dim());
    if (x.size(axis) != 1) bad("expected extent 1 to remove, got " + describe(x));
  }
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  for (size_t i = axes.size(); i-- > 0;) x = x.squeeze(axes[i]);
  return x;
}

at::Tensor unsqueeze(const Call& call) {
  at::Tensor x = call.input(0);
  std::vector<int64_t> axes = call.ints("axes", 1);
  int64_t dims = x.dim() + static_cast<int64_t>(axes.size());
  if (dims > 64) bad("expected at most 64 dimensions");
  for (int64_t& axis : axes) axis = axis_of(axis, dims);
  std::sort(axes.begin(), axes.end());
  for (int64_t axis : axes) x = x.unsqueeze(axis);
  return x;
}

at::Tensor concat(const Call& call) {
  const Json* axis = call.attributes.find("axis");
  if (!axis || call.inputs.empty()) bad("expected values and the axis to join them on");
  int64_t sum = 0;
  for (size_t i = 0; i < call.inputs.size(); ++i) sum += call.input(i).numel();
  check_count({sum});
  return at::cat(call.inputs, axis_of(axis->as_int(), call.inputs[0].dim()));
}

at::Tensor slice(const Call& call) {
  at::Tensor x = call.input(0);
  std::vector<int64_t> starts = call.ints("starts", 1), ends = call.ints("ends", 2),
                       axes = call.ints("axes", 3), steps = call.ints("steps", 4);
  for (size_t i = axes.size(); i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  steps.resize(std::max(steps.size(), starts.size()), 1);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    bad("expected as many starts as ends, axes and steps");
  for (size_t i = 0; i < starts.size(); ++i) {
    if (steps[i] < 1) bad("expected steps of at least 1, got " + std::to_string(steps[i]));
    x = x.slice(axis_of(axes[i], x.dim()), starts[i], ends[i], steps[i]);
  }
  return x;
}

at::Tensor gather(const Call& call) {
  const at::Tensor& x = call.input(0);
  at::Tensor index = call.input(1).to(at::kLong);
  int64_t axis = axis_of(call.attributes.get("axis", 0), x.dim());
  int64_t extent = x.size(axis);
  if (index.numel() > 0 && (index.lt(-extent) | index.ge(extent)).any().item<bool>())
    bad("expected indices inside " + std::to_string(extent));
  std::vector<int64_t> out = x.sizes().vec();
  out.erase(out.begin() + axis);
  out.insert(out.begin() + axis, index.sizes().begin(), index.sizes().end());
  check_count(out);
  index = at::where(index < 0, index + extent, index).flatten().to(x.device());
  return x.index_select(axis, index).reshape(out);
}

at::Tensor cast(const Call& call) {
  at::ScalarType type{};
  switch (int64_t to = call.attributes.get("to", 0)) {
    case 1: type = at::kFloat; break;
    case 2: type = at::kByte; break;
    case 3: type = at::kChar; break;
    case 6: type = at::kInt; break;
    case 7: type = at::kLong; break;
    case 9: type = at::kBool; break;
    case 10: type = at::kHalf; break;
    case 11: type = at::kDouble; break;
    default: bad("expected a type to cast to that is supported, got " + std::to_string(to));
  }
  return call.input(0).to(type);
}

const std::vector<OperatorEntry>& plain_operators() {
  static const std::vector<OperatorEntry> kEntries{
      {"Add", add, {}, 2, 2},
      {"Cast", cast, {"to"}, 1, 1},
      {"Clip", clip, {"min", "max"}, 1, 3},
      {"Concat", concat, {"axis"}, 1, 4096},
      {"Div", div, {}, 2, 2},
      {"Erf", erf, {}, 1, 1},
      {"Exp", exp, {}, 1, 1},
      {"Flatten", flatten, {"axis"}, 1, 1},
      {"Gather", gather, {"axis"}, 2, 2},
      {"Gemm", gemm, {"alpha", "beta", "transA", "transB"}, 2, 3},
      {"HardSigmoid", hard_sigmoid, {"alpha", "beta"}, 1, 1},
      {"HardSwish", hard_swish, {}, 1, 1},
      {"Identity", identity, {}, 1, 1},
      {"LeakyRelu", leaky_relu, {"alpha"}, 1, 1},
      {"Log", log, {}, 1, 1},
      {"MatMul", matmul, {}, 2, 2},
      {"Max", max, {}, 1, 64},
      {"Min", min, {}, 1, 64},
      {"Mul", mul, {}, 2, 2},
      {"Pow", pow, {}, 2, 2},
      {"PRelu", prelu, {}, 2, 2},
      {"ReduceMean", reduce_mean, {"axes", "keepdims"}, 1, 2},
      {"Relu", relu, {}, 1, 1},
      {"Reshape", reshape, {"allowzero"}, 2, 2},
      {"Shape", shape, {}, 1, 1},
      {"Sigmoid", sigmoid, {}, 1, 1},
      {"Slice", slice, {}, 3, 5},
      {"Softmax", softmax, {"axis"}, 1, 1},
      {"Sqrt", sqrt, {}, 1, 1},
      {"Squeeze", squeeze, {"axes"}, 1, 2},
      {"Sub", sub, {}, 2, 2},
      {"Tanh", tanh, {}, 1, 1},
      {"Transpose", transpose, {"perm"}, 1, 1},
      {"Unsqueeze", unsqueeze, {"axes"}, 1, 2},
  };
  return kEntries;
}

}  // namespace

const at::Tensor& Call::input(size_t index) const {
  if (!has(index)) bad("expected input " + std::to_string(index) + ", got none");
  return inputs[index];
}

std::vector<int64_t> Call::ints(const char* name, std::vector<int64_t> fallback) const {
  const Json* given = attributes.find(name);
  return given ? given->as_ints() : std::move(fallback);
}

std::vector<int64_t> Call::ints(const char* name, size_t index) const {
  if (const Json* given = attributes.find(name)) return given->as_ints();
  if (!has(index)) return {};
  const at::Tensor& given = inputs[index];
  if (!at::isIntegralType(given.scalar_type(), false) || given.dim() > 1 || given.numel() > 64)
    bad("expected a list of at most 64 whole numbers, got " + describe(given));
  at::Tensor list = given.to(at::kCPU, at::kLong).contiguous();
  return {list.const_data_ptr<int64_t>(), list.const_data_ptr<int64_t>() + list.numel()};
}

void check_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (extent < 0) bad("expected a result of some size, got a negative extent");
    if (__builtin_mul_overflow(count, std::max<int64_t>(extent, 1), &count) || count > kMaxValues)
      fail(ErrorCode::kResourceLimit, kUnit, "expected a result of at most 2^30 values, got more");
  }
}

const OperatorEntry* find_operator(const std::string& name) {
  for (const auto* entries : {&plain_operators(), &spatial_operators()}) {
    for (const OperatorEntry& entry : *entries) {
      if (name == entry.name) return &entry;
    }
  }
  return nullptr;
}

}  // namespace plait::models::onnx
