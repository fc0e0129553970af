#include "plait/core/weights/onnx_schema.h"

#include <plait_onnx.pb.h>

#include <limits>

#include "plait/core/error.h"

// This file sees no tensors: LibTorch's include folder carries another version of protobuf.

namespace plait {
namespace {

namespace schema = onnx_schema;

/// An attribute's value takes at least one byte in the file but some forty in memory.
constexpr size_t kMaxAttributeValues = 4'000'000;

template <class T, class Field>
std::vector<T> list(const Field& field) {
  return {field.begin(), field.end()};
}

class Collector {
 public:
  Collector(OnnxContents& out, const std::string& file) : out_(out), file_(file) {}

  void run(schema::ModelProto& model) {
    describe(model);
    walk(*model.mutable_graph(), "", true);
    for (auto& function : *model.mutable_functions()) {
      for (auto& node : *function.mutable_node()) visit(node, function.name());
    }
  }

 private:
  void describe(const schema::ModelProto& model) {
    Json opsets = Json::object(), properties = Json::object();
    for (const auto& opset : model.opset_import())
      opsets[opset.domain().empty() ? "ai.onnx" : opset.domain()] = opset.version();
    for (const auto& property : model.metadata_props())
      properties[property.key()] = property.value();
    auto names = [](const auto& values) {
      Json::Array all;
      for (const auto& value : values) all.emplace_back(value.name());
      return Json(std::move(all));
    };
    out_.metadata = Json::object({{"ir_version", model.ir_version()},
                                  {"producer", model.producer_name()},
                                  {"producer_version", model.producer_version()},
                                  {"graph", model.graph().name()},
                                  {"opsets", opsets},
                                  {"inputs", names(model.graph().input())},
                                  {"outputs", names(model.graph().output())},
                                  {"properties", properties}});
  }

  /// protobuf has refused graphs nested more than a hundred deep.
  void walk(schema::GraphProto& graph, const std::string& scope, bool main) {
    for (auto& tensor : *graph.mutable_initializer()) add(tensor, tensor.name(), scope, false);
    for (const auto& sparse : graph.sparse_initializer())
      out_.skipped.push_back(sparse.values().name() + ": sparse");
    for (auto& node : *graph.mutable_node()) {
      if (main) out_.nodes.push_back(describe(node));
      visit(node, scope);
    }
  }

  void visit(schema::NodeProto& node, const std::string& scope) {
    std::string name = !node.name().empty()      ? node.name()
                       : node.output_size() == 0 ? node.op_type()
                                                 : node.output(0);
    std::string inner = scope.empty() ? name : scope + "." + name;
    bool constant = node.op_type() == "Constant" && node.output_size() == 1;
    for (auto& attribute : *node.mutable_attribute()) {
      if (constant) add_constant(attribute, node.output(0), scope);
      std::string place = inner + "." + attribute.name();
      if (attribute.has_g()) walk(*attribute.mutable_g(), place, false);
      for (auto& graph : *attribute.mutable_graphs()) walk(graph, place, false);
    }
  }

  void add_constant(schema::AttributeProto& attribute, const std::string& name,
                    const std::string& scope) {
    OnnxConstant c;
    c.name = name;
    c.scope = scope;
    c.is_node = true;
    const std::string& kind = attribute.name();
    if (kind == "value" && attribute.has_t()) {
      add(*attribute.mutable_t(), name, scope, true);
      return;
    } else if (kind == "value_float") {
      c.data_type = 1;
      c.floats = {attribute.f()};
    } else if (kind == "value_floats") {
      c.data_type = 1;
      c.floats = list<float>(attribute.floats());
      c.dims = {attribute.floats_size()};
    } else if (kind == "value_int") {
      c.data_type = 7;
      c.longs = {attribute.i()};
    } else if (kind == "value_ints") {
      c.data_type = 7;
      c.longs = list<int64_t>(attribute.ints());
      c.dims = {attribute.ints_size()};
    } else {
      out_.skipped.push_back(name + ": " +
                             (kind == "sparse_value" ? "sparse" : "not a tensor of numbers"));
      return;
    }
    out_.constants.push_back(std::move(c));
  }

  void add(schema::TensorProto& tensor, const std::string& name, const std::string& scope,
           bool is_node) {
    if (name.empty()) bad("expected a name of every tensor, got none");
    OnnxConstant c;
    c.name = name;
    c.scope = scope;
    c.is_node = is_node;
    c.data_type = tensor.data_type();
    c.dims = list<int64_t>(tensor.dims());
    c.has_raw = tensor.has_raw_data();
    c.raw = std::move(*tensor.mutable_raw_data());
    c.floats = list<float>(tensor.float_data());
    c.ints = list<int32_t>(tensor.int32_data());
    c.longs = list<int64_t>(tensor.int64_data());
    c.doubles = list<double>(tensor.double_data());
    c.unsigned_longs = list<uint64_t>(tensor.uint64_data());
    c.external = tensor.data_location() == schema::TensorProto::EXTERNAL;
    for (const auto& entry : tensor.external_data()) {
      if (entry.key() == "location") c.location = entry.value();
      if (entry.key() == "offset") c.offset = entry.value();
      if (entry.key() == "length") c.length = entry.value();
    }
    tensor.Clear();  // its lists would stay in memory until the end
    out_.constants.push_back(std::move(c));
  }

  OnnxNode describe(const schema::NodeProto& node) {
    OnnxNode out;
    out.op_type = node.op_type();
    out.name = node.name();
    out.domain = node.domain();
    out.inputs = list<std::string>(node.input());
    out.outputs = list<std::string>(node.output());
    out.attributes = Json(Json::Object{});
    for (const auto& a : node.attribute()) {
      attribute_values_ += 1 + static_cast<size_t>(a.floats_size()) +
                           static_cast<size_t>(a.ints_size()) +
                           static_cast<size_t>(a.strings_size());
      if (attribute_values_ > kMaxAttributeValues)
        fail(ErrorCode::kResourceLimit, "onnx",
             file_ + ": expected at most four million values of attributes");
      Json value;
      if (a.has_f()) value = static_cast<double>(a.f());
      if (a.has_i()) value = static_cast<int64_t>(a.i());
      if (a.has_s()) value = a.s();
      if (a.floats_size() > 0) value = list<double>(a.floats());
      if (a.ints_size() > 0) value = list<int64_t>(a.ints());
      if (a.strings_size() > 0) value = list<std::string>(a.strings());
      // Not operator[]: it searches, and a hostile node has many.
      if (!value.is_null()) out.attributes.members().emplace_back(a.name(), std::move(value));
    }
    return out;
  }

  [[noreturn]] void bad(const std::string& what) const {
    fail(ErrorCode::kCorruptData, "onnx", file_ + ": " + what);
  }

  OnnxContents& out_;
  const std::string& file_;
  size_t attribute_values_ = 0;
};

}  // namespace

OnnxContents read_onnx(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    fail(ErrorCode::kResourceLimit, "onnx",
         name + ": expected less than 2 GiB (larger models keep their weights beside the file)");
  }
  schema::ModelProto model;
  if (bytes.empty() || !model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    fail(ErrorCode::kCorruptData, "onnx", name + ": expected a protocol buffer of ONNX");
  // Almost any bytes are some protocol buffer.
  if (!model.has_graph() || !model.has_ir_version())
    fail(ErrorCode::kCorruptData, "onnx", name + ": expected an ONNX model with a graph, got none");
  OnnxContents out;
  Collector(out, name).run(model);
  return out;
}

bool onnx_is_available() { return true; }

}  // namespace plait
