#include "plait/models/graph/tfjs_graph.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"
#include "plait/models/graph/tfjs_nodes.h"

namespace plait::models {
namespace {

using tfjs::Node;

using Ints = std::vector<int64_t>;
const Ints kToPlanes{0, 3, 1, 2}, kToPlain{0, 2, 3, 1};

/// Where an axis of [B, H, W, C] lies in [B, C, H, W].
int64_t plane_axis(int64_t axis) {
  static constexpr int64_t kPlace[] = {0, 2, 3, 1};
  return kPlace[axis < 0 ? axis + 4 : axis];
}

Json list(const Ints& values) { return Json(values); }

class Importer {
 public:
  Importer(const TfjsFile& file, const std::string& where) : file_(file), where_(where) {}

  OnnxModel run(std::vector<std::string> outputs) {
    Json inputs = Json::array();
    for (const Node& node : tfjs::needed_nodes(file_, outputs, where_)) {
      if (node.op == "Placeholder") inputs.push_back(node.name);
      import(node);
    }
    for (const std::string& name : outputs) {
      std::string value = plain(name);
      if (value != name) add("Identity", {value}, name);
    }
    model_.metadata = Json::object({{"producer", "TensorFlow.js"},
                                    {"opsets", Json::object({{"ai.onnx", 18}})},
                                    {"inputs", inputs},
                                    {"outputs", Json(outputs)}});
    return std::move(model_);
  }

 private:
  /// A value under the names that it has in the new model, as far as it has them.
  struct Value {
    std::string plain;     ///< Laid out as in the file
    std::string planes;    ///< [B, C, H, W] for [B, H, W, C]
    bool picture = false;  ///< It is known to have four dimensions
    at::Tensor constant;   ///< Undefined for what is computed
  };

  void import(const Node& node) {
    if (node.op == "Placeholder") {
      values_[node.name] = {node.name, "", node.rank() == 4, {}};
    } else if (node.op == "Const") {
      at::Tensor tensor = file_.load(node.name);
      values_[node.name] = {"", "", tensor.dim() == 4, tensor};
    } else if (node.op == "Identity" || node.op == "StopGradient") {
      values_[node.name] = input(node, 0);
    } else if (!import_spatial(node) && !import_element(node) && !import_shape(node)) {
      node.unavailable("the operator is not supported");
    }
  }

  // --- values ---

  Value& find(const std::string& name) { return values_.at(name); }

  Value& input(const Node& node, size_t index) {
    if (index >= node.inputs.size())
      node.corrupt("expected more than " + std::to_string(index) + " inputs");
    return find(node.inputs[index]);
  }

  const at::Tensor& constant(const Node& node, size_t index) {
    const at::Tensor& tensor = input(node, index).constant;
    if (!tensor.defined())
      node.unavailable("expected a constant as input " + std::to_string(index));
    return tensor;
  }

  Ints constant_ints(const Node& node, size_t index) {
    const at::Tensor& tensor = constant(node, index);
    if (!at::isIntegralType(tensor.scalar_type(), false) || tensor.numel() > 64)
      node.corrupt("expected at most 64 whole numbers as input " + std::to_string(index));
    at::Tensor row = tensor.to(at::kLong).flatten().contiguous();
    return {row.const_data_ptr<int64_t>(), row.const_data_ptr<int64_t>() + row.numel()};
  }

  std::string add_constant(const std::string& name, const at::Tensor& tensor) {
    model_.tensors[name] = tensor;
    return name;
  }

  std::string add_ints(const std::string& name, const Ints& values) {
    return add_constant(name, at::tensor(values, at::kLong));
  }

  void add(const char* op, std::vector<std::string> inputs, const std::string& output,
           Json attributes = Json::object({})) {
    OnnxNode node;
    node.op_type = op;
    node.inputs = std::move(inputs);
    node.outputs = {output};
    node.attributes = std::move(attributes);
    model_.nodes.push_back(std::move(node));
  }

  std::string plain(const std::string& name) {
    Value& value = find(name);
    if (!value.plain.empty()) return value.plain;
    value.plain = name;
    if (value.constant.defined()) {
      add_constant(name, value.constant);
    } else {
      add("Transpose", {value.planes}, name, Json::object({{"perm", list(kToPlain)}}));
    }
    return value.plain;
  }

  /// Of constants, what broadcasts against [B, C, H, W] as the constant does against [B, H, W, C].
  std::string planes(const std::string& name) {
    Value& value = find(name);
    if (!value.planes.empty()) return value.planes;
    value.planes = name + "/planes";
    if (value.constant.defined()) {
      Ints shape(4, 1);
      at::IntArrayRef sizes = value.constant.sizes();
      if (sizes.size() > 4)
        fail(ErrorCode::kCorruptData, "tfjs_graph",
             where_ + ": expected \"" + name + "\" of at most 4 dimensions, got " +
                 describe(value.constant));
      std::copy(sizes.begin(), sizes.end(), shape.end() - static_cast<int64_t>(sizes.size()));
      add_constant(value.planes,
                   sizes.empty() ? value.constant
                                 : value.constant.reshape(shape).permute(kToPlanes).contiguous());
    } else {
      add("Transpose", {value.plain}, value.planes, Json::object({{"perm", list(kToPlanes)}}));
    }
    return value.planes;
  }

  std::string set_planes(const Node& node) {
    Value& value = values_[node.name];
    value.picture = true;
    return value.planes = node.name + "/planes";
  }

  std::string set_plain(const Node& node, bool picture = false) {
    Value& value = values_[node.name];
    value.picture = picture;
    return value.plain = node.name;
  }

  /// True when all of the inputs are pictures or constants that broadcast against them.
  bool are_pictures(const Node& node, size_t count) {
    bool any = false;
    for (size_t i = 0; i < count; ++i) {
      const Value& value = input(node, i);
      if (value.constant.defined() ? value.constant.dim() > 4 : !value.picture) return false;
      any = any || !value.constant.defined();
    }
    return any;
  }

  /// An operator that works value by value on its first `count` inputs.
  void elementwise(const Node& node, const char* op, size_t count,
                   const Json& attributes = Json::object({})) {
    bool pictures = are_pictures(node, count);
    std::vector<std::string> inputs;
    for (size_t i = 0; i < count; ++i)
      inputs.push_back(pictures ? planes(node.inputs[i]) : plain(node.inputs[i]));
    add(op, inputs, pictures ? set_planes(node) : set_plain(node), attributes);
  }

  // --- convolutions, pooling, resizing ---

  Json window(const Node& node) {
    if (node.text("data_format", "NHWC") != "NHWC") node.unavailable("expected data_format NHWC");
    const std::string padding = node.text("padding", "");
    if (padding != "SAME" && padding != "VALID")
      node.unavailable("expected padding SAME or VALID, got " + padding);
    return Json::object({{"auto_pad", padding == "SAME" ? "SAME_UPPER" : "VALID"},
                         {"strides", list(sides(node, "strides"))}});
  }

  /// Height and width of a list [1, h, w, 1].
  Ints sides(const Node& node, const char* attribute) {
    Ints all = node.ints(attribute);
    if (all.empty()) return {1, 1};
    if (all.size() != 4 || all[0] != 1 || all[3] != 1)
      node.unavailable(std::string("expected [1, h, w, 1] as ") + attribute);
    return {all[1], all[2]};
  }

  void convolution(const Node& node, bool depthwise) {
    Json attributes = window(node);
    attributes["dilations"] = list(sides(node, "dilations"));
    at::Tensor weight = constant(node, 1);
    if (weight.dim() != 4 || weight.numel() == 0)
      node.corrupt("expected a kernel [H, W, I, O], got " + describe(weight));
    if (depthwise) {
      attributes["group"] = weight.size(2);
      weight = weight.permute({2, 3, 0, 1})
                   .reshape({weight.size(2) * weight.size(3), 1, weight.size(0), weight.size(1)});
    } else {
      weight = weight.permute({3, 2, 0, 1});
    }
    std::vector<std::string> inputs{planes(node.inputs[0]),
                                    add_constant(node.name + "/kernel", weight.contiguous())};
    activated(node, "Conv", std::move(inputs), attributes, true);
  }

  /// The operator with what is fused to it: a bias, then an activation.
  void activated(const Node& node, const char* op, std::vector<std::string> inputs,
                 const Json& attributes, bool picture) {
    std::vector<std::string> fused = node.texts("fused_ops");
    size_t next = 2;
    auto first = fused.begin();
    if (first != fused.end() && *first == "BiasAdd") {
      input(node, next);
      inputs.push_back(plain(node.inputs[next++]));
      ++first;
    }
    bool last = first == fused.end();
    if (!last && fused.end() - first > 1) node.unavailable("expected at most one activation");
    std::string output = picture ? set_planes(node) : set_plain(node);
    std::string result = last ? output : output + "/linear";
    add(op, std::move(inputs), result, attributes);
    if (last) return;
    if (*first == "Relu6") {
      add("Clip", {result}, output, Json::object({{"min", 0.0}, {"max", 6.0}}));
    } else if (*first == "Prelu") {
      input(node, next);
      const std::string& slope = node.inputs[next];
      add("PRelu", {result, picture ? planes(slope) : plain(slope)}, output);
    } else if (*first == "LeakyRelu") {
      add("LeakyRelu", {result}, output,
          Json::object({{"alpha", node.number("leakyrelu_alpha", 0.2)}}));
    } else if (*first == "Relu" || *first == "Sigmoid" || *first == "Tanh") {
      add(first->c_str(), {result}, output);
    } else {
      node.unavailable("fused " + *first + " is not supported");
    }
  }

  void resize(const Node& node) {
    bool corners = node.flag("align_corners"), centres = node.flag("half_pixel_centers");
    bool linear = node.op == "ResizeBilinear";
    if (!linear && (corners || centres))
      node.unavailable("expected neither align_corners nor half_pixel_centers");
    Ints size = constant_ints(node, 1);
    if (size.size() != 2 || size[0] < 1 || size[1] < 1)
      node.corrupt("expected a height and a width");
    const char* place = corners ? "align_corners" : centres ? "half_pixel" : "asymmetric";
    std::string sizes = add_ints(node.name + "/sizes", size), x = planes(node.inputs[0]);
    add("Resize", {x, "", "", sizes}, set_planes(node),
        Json::object({{"mode", linear ? "linear" : "nearest"},
                      {"coordinate_transformation_mode", place},
                      {"nearest_mode", "floor"},
                      {"axes", list({2, 3})}}));
  }

  void batch_norm(const Node& node) {
    if (node.text("data_format", "NHWC") != "NHWC" ||
        (node.has("is_training") && node.flag("is_training")))
      node.unavailable("expected data_format NHWC and is_training false");
    std::vector<std::string> inputs{planes(node.inputs.at(0))};
    for (size_t i = 1; i < 5; ++i) inputs.push_back(plain(node.inputs.at(i)));
    add("BatchNormalization", inputs, set_planes(node),
        Json::object({{"epsilon", node.number("epsilon", 1e-4)}}));
  }

  bool import_spatial(const Node& node) {
    const std::string& op = node.op;
    if (op == "Conv2D" || op == "_FusedConv2D" || op == "DepthwiseConv2dNative" ||
        op == "FusedDepthwiseConv2dNative") {
      input(node, 1);
      convolution(node, op.find("Depthwise") != std::string::npos);
    } else if (op == "MaxPool" || op == "AvgPool") {
      input(node, 0);
      Json attributes = window(node);
      attributes["kernel_shape"] = list(sides(node, "ksize"));
      std::string x = planes(node.inputs[0]);
      add(op == "MaxPool" ? "MaxPool" : "AveragePool", {x}, set_planes(node), attributes);
    } else if (op == "ResizeBilinear" || op == "ResizeNearestNeighbor") {
      input(node, 1);
      resize(node);
    } else if (op.starts_with("FusedBatchNorm")) {
      input(node, 4);
      batch_norm(node);
    } else {
      return false;
    }
    return true;
  }

  // --- value by value ---

  bool import_element(const Node& node) {
    static const std::map<std::string, const char*> kUnary{
        {"Exp", "Exp"}, {"Log", "Log"},   {"Relu", "Relu"}, {"Sigmoid", "Sigmoid"},
        {"Erf", "Erf"}, {"Sqrt", "Sqrt"}, {"Tanh", "Tanh"}};
    static const std::map<std::string, const char*> kBinary{
        {"Add", "Add"}, {"AddV2", "Add"},   {"BiasAdd", "Add"}, {"Maximum", "Max"},
        {"Mul", "Mul"}, {"Minimum", "Min"}, {"Pow", "Pow"},     {"Prelu", "PRelu"},
        {"Sub", "Sub"}, {"RealDiv", "Div"}};
    if (auto found = kUnary.find(node.op); found != kUnary.end()) {
      elementwise(node, found->second, 1);
    } else if (auto pair = kBinary.find(node.op); pair != kBinary.end()) {
      elementwise(node, pair->second, 2);
    } else if (node.op == "Relu6") {
      elementwise(node, "Clip", 1, Json::object({{"min", 0.0}, {"max", 6.0}}));
    } else if (node.op == "LeakyRelu") {
      elementwise(node, "LeakyRelu", 1, Json::object({{"alpha", node.number("alpha", 0.2)}}));
    } else if (node.op == "Cast") {
      elementwise(node, "Cast", 1, Json::object({{"to", cast_type(node)}}));
    } else {
      return false;
    }
    return true;
  }

  static int64_t cast_type(const Node& node) {
    const std::string type = node.type("DstT");
    if (type == "DT_FLOAT") return 1;
    if (type == "DT_INT32") return 6;
    if (type == "DT_INT64") return 7;
    if (type == "DT_BOOL") return 9;
    node.unavailable("cannot cast to " + type);
  }

  // --- shapes, reductions, products ---

  bool import_shape(const Node& node) {
    static const std::map<std::string, void (Importer::*)(const Node&)> kImports{
        {"ConcatV2", &Importer::concat},
        {"ExpandDims", &Importer::expand},
        {"MatMul", &Importer::product},
        {"Mean", &Importer::mean},
        {"Pad", &Importer::pad},
        {"PadV2", &Importer::pad},
        {"Reshape", &Importer::reshape},
        {"Softmax", &Importer::softmax},
        {"Squeeze", &Importer::squeeze},
        {"StridedSlice", &Importer::slice},
        {"Transpose", &Importer::transpose},
        {"_FusedMatMul", &Importer::product}};
    auto found = kImports.find(node.op);
    if (found == kImports.end()) return false;
    input(node, 0);
    (this->*found->second)(node);
    return true;
  }

  void concat(const Node& node) {
    size_t count = node.inputs.size() - 1;
    Ints axis = constant_ints(node, count);
    if (count < 1 || axis.size() != 1) node.corrupt("expected values and an axis");
    bool pictures = axis[0] >= -4 && axis[0] < 4;
    for (size_t i = 0; i < count; ++i) pictures = pictures && input(node, i).picture;
    std::vector<std::string> inputs;
    for (size_t i = 0; i < count; ++i)
      inputs.push_back(pictures ? planes(node.inputs[i]) : plain(node.inputs[i]));
    add("Concat", inputs, pictures ? set_planes(node) : set_plain(node),
        Json::object({{"axis", pictures ? plane_axis(axis[0]) : axis[0]}}));
  }

  void expand(const Node& node) {
    Ints axis = constant_ints(node, 1);
    std::string x = plain(node.inputs[0]);
    add("Unsqueeze", {x}, set_plain(node), Json::object({{"axes", list(axis)}}));
  }

  void product(const Node& node) {
    input(node, 1);
    activated(node, "Gemm", {plain(node.inputs[0]), plain(node.inputs[1])},
              Json::object({{"transA", node.flag("transpose_a") ? 1 : 0},
                            {"transB", node.flag("transpose_b") ? 1 : 0}}),
              false);
  }

  void mean(const Node& node) {
    Ints axes = constant_ints(node, 1);
    bool keep = node.flag("keep_dims"), picture = input(node, 0).picture;
    for (int64_t axis : axes) picture = picture && axis >= -4 && axis < 4;
    Ints moved;
    for (int64_t axis : axes) moved.push_back(picture ? plane_axis(axis) : axis);
    std::sort(moved.begin(), moved.end());
    // Without the rows and columns, both orders are the same.
    bool planar = picture && (keep || moved == Ints{2, 3});
    std::string x = planar ? planes(node.inputs[0]) : plain(node.inputs[0]);
    add("ReduceMean", {x}, planar && keep ? set_planes(node) : set_plain(node),
        Json::object({{"axes", list(planar ? moved : axes)}, {"keepdims", keep ? 1 : 0}}));
  }

  void pad(const Node& node) {
    const Ints given = constant_ints(node, 1);
    Ints before, after;
    for (size_t i = 0; i + 1 < given.size(); i += 2) {
      before.push_back(given[i]);
      after.push_back(given[i + 1]);
    }
    bool picture = input(node, 0).picture && before.size() == 4;
    Ints pads;
    for (const Ints& side : {before, after}) {
      for (size_t i = 0; i < side.size(); ++i)
        pads.push_back(side[picture ? static_cast<size_t>(kToPlanes[i]) : i]);
    }
    std::vector<std::string> inputs{picture ? planes(node.inputs[0]) : plain(node.inputs[0]),
                                    add_ints(node.name + "/pads", pads)};
    if (node.op == "PadV2") {
      constant(node, 2);
      inputs.push_back(plain(node.inputs[2]));
    }
    add("Pad", inputs, picture ? set_planes(node) : set_plain(node));
  }

  void reshape(const Node& node) {
    Ints shape = constant_ints(node, 1);
    for (int64_t extent : shape) {
      if (extent == 0 || extent < -1) node.unavailable("expected extents above 0, or -1");
    }
    std::string x = plain(node.inputs[0]), sizes = add_ints(node.name + "/shape", shape);
    add("Reshape", {x, sizes}, set_plain(node, shape.size() == 4));
  }

  void softmax(const Node& node) {
    bool picture = input(node, 0).picture;
    std::string x = picture ? planes(node.inputs[0]) : plain(node.inputs[0]);
    add("Softmax", {x}, picture ? set_planes(node) : set_plain(node),
        Json::object({{"axis", picture ? 1 : -1}}));
  }

  void squeeze(const Node& node) {
    Ints axes = node.ints("squeeze_dims");
    std::string x = plain(node.inputs[0]);
    Json attributes = Json::object({});
    if (!axes.empty()) attributes["axes"] = list(axes);
    add("Squeeze", {x}, set_plain(node), attributes);
  }

  void slice(const Node& node) {
    Ints begin = constant_ints(node, 1), end = constant_ints(node, 2),
         stride = constant_ints(node, 3);
    if (begin.size() != end.size() || begin.size() != stride.size() || begin.empty())
      node.corrupt("expected as many begins as ends and strides");
    if (node.integer("ellipsis_mask", 0) != 0 || node.integer("new_axis_mask", 0) != 0)
      node.unavailable("expected neither an ellipsis nor new axes");
    auto marked = [&](const char* mask, size_t i) {
      return (static_cast<uint64_t>(node.integer(mask, 0)) >> i & 1) != 0;
    };
    Ints axes, gone;
    for (size_t i = 0; i < begin.size(); ++i) {
      if (stride[i] < 1) node.unavailable("expected strides above 0");
      axes.push_back(static_cast<int64_t>(i));
      if (marked("shrink_axis_mask", i)) {
        gone.push_back(static_cast<int64_t>(i));
        end[i] = begin[i] == -1 ? std::numeric_limits<int64_t>::max() : begin[i] + 1;
        continue;
      }
      if (marked("begin_mask", i)) begin[i] = 0;
      if (marked("end_mask", i)) end[i] = std::numeric_limits<int64_t>::max();
    }
    const std::string& name = node.name;
    std::vector<std::string> inputs{plain(node.inputs[0]), add_ints(name + "/begin", begin),
                                    add_ints(name + "/end", end), add_ints(name + "/axes", axes),
                                    add_ints(name + "/strides", stride)};
    std::string output = set_plain(node, input(node, 0).picture && gone.empty());
    add("Slice", inputs, gone.empty() ? output : output + "/kept");
    if (!gone.empty())
      add("Squeeze", {output + "/kept"}, output, Json::object({{"axes", list(gone)}}));
  }

  void transpose(const Node& node) {
    Ints order = constant_ints(node, 1);
    std::string x = plain(node.inputs[0]);
    add("Transpose", {x}, set_plain(node, order.size() == 4),
        Json::object({{"perm", list(order)}}));
  }

  const TfjsFile& file_;
  const std::string& where_;
  OnnxModel model_;
  std::map<std::string, Value> values_;
};

}  // namespace

OnnxModel import_tfjs(const TfjsFile& file, const std::vector<std::string>& outputs,
                      const std::string& where) {
  return Importer(file, where).run(outputs);
}

}  // namespace plait::models
