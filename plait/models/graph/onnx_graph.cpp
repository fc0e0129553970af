#include "plait/models/graph/onnx_graph.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/graph/join.h"
#include "plait/models/graph/operators.h"
#include "plait/models/graph/tfjs_graph.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "onnx_graph";
constexpr size_t kAbsent = static_cast<size_t>(-1);

Json to_json(const OnnxNode& node) {
  return Json::object({{"op", node.op_type},
                       {"inputs", Json(node.inputs)},
                       {"outputs", Json(node.outputs)},
                       {"attributes", node.attributes}});
}

OnnxModel read_saved(const std::string& path) {
  SafetensorsFile file = SafetensorsFile::open(path);
  auto text = file.metadata().find("graph");
  if (text == file.metadata().end())
    fail(ErrorCode::kCorruptData, kUnit, path + ": expected a graph in its metadata, got none");
  Json graph = Json::parse(text->second, path);
  OnnxModel model;
  model.metadata = graph.at("metadata");
  model.tensors = file.tensors();
  for (const Json& row : graph.at("nodes").items()) {
    OnnxNode node;
    node.op_type = row.at("op").as_string();
    node.inputs = row.at("inputs").as_strings();
    node.outputs = row.at("outputs").as_strings();
    node.attributes = row.at("attributes");
    model.nodes.push_back(std::move(node));
  }
  return model;
}

std::string describe_all(const std::vector<at::Tensor>& tensors) {
  std::string out;
  for (const at::Tensor& t : tensors)
    out += (out.empty() ? "" : ", ") + (t.defined() ? describe(t) : std::string("none"));
  return out;
}

}  // namespace

struct OnnxGraph::Step {
  const onnx::OperatorEntry* entry;
  Json attributes;
  std::vector<size_t> inputs;  ///< Slots
  size_t output;
  std::vector<size_t> free;  ///< Slots that nothing reads after this
};

OnnxGraph OnnxGraph::load(const std::string& path) {
  if (path.ends_with(".safetensors")) return OnnxGraph(read_saved(path), path);
  if (path.ends_with(".json")) return OnnxGraph(import_tfjs(TfjsFile::open(path), {}, path), path);
  return OnnxGraph(load_onnx(path), path);
}

OnnxGraph::OnnxGraph(OnnxModel model, const std::string& where)
    : where_(where), model_(std::move(model)) {
  for (const OnnxNode& node : model_.nodes) {
    if (!node.domain.empty() && node.domain != "ai.onnx")
      fail(ErrorCode::kUnavailable, kUnit,
           where + ": expected operators of ONNX itself, got " + node.domain + "." + node.op_type);
  }
  onnx::join_operators(model_);
  outputs_ = model_.metadata.at("outputs").as_strings();
  // Old files list their weights as inputs too.
  for (const std::string& name : model_.metadata.at("inputs").as_strings()) {
    if (!model_.tensors.count(name)) inputs_.push_back(name);
  }
  if (const Json* properties = model_.metadata.find("properties")) properties_ = *properties;
  plan();
}

void OnnxGraph::plan() {
  std::map<std::string, size_t> slot;
  slots_.clear();
  auto define = [&](const std::string& name) {
    if (name.empty() || !slot.emplace(name, slots_.size()).second)
      fail(ErrorCode::kCorruptData, kUnit,
           where_ + ": expected every value to be given once, got \"" + name + "\" again");
    slots_.push_back(name);
    return slots_.size() - 1;
  };
  auto find = [&](const std::string& name) {
    auto found = slot.find(name);
    if (found == slot.end())
      fail(ErrorCode::kCorruptData, kUnit,
           where_ + ": expected a value \"" + name + "\" before it is used, got none");
    return found->second;
  };
  for (const std::string& name : inputs_) define(name);
  for (const auto& [name, tensor] : model_.tensors) define(name);
  size_t fixed = slots_.size();

  std::vector<Step> steps;
  std::map<size_t, size_t> last_use;
  for (const OnnxNode& node : model_.nodes) {
    Step step;
    step.entry = onnx::find_operator(node.op_type);
    if (!step.entry)
      fail(ErrorCode::kUnavailable, kUnit,
           where_ + ": operator " + node.op_type + " is not supported");
    for (const auto& [name, value] : node.attributes.members()) {
      const auto& known = step.entry->attributes;
      if (std::find(known.begin(), known.end(), name) == known.end())
        fail(ErrorCode::kUnavailable, kUnit,
             where_ + ": attribute " + name + " of operator " + node.op_type + " is not supported");
    }
    step.attributes = node.attributes;
    for (const std::string& name : node.inputs)
      step.inputs.push_back(name.empty() ? kAbsent : find(name));
    if (step.inputs.size() < step.entry->min_inputs || step.inputs.size() > step.entry->max_inputs)
      fail(ErrorCode::kCorruptData, kUnit,
           where_ + ": expected " + std::to_string(step.entry->min_inputs) + " to " +
               std::to_string(step.entry->max_inputs) + " inputs of " + node.op_type + ", got " +
               std::to_string(step.inputs.size()));
    size_t named = 0;
    for (const std::string& name : node.outputs) named += !name.empty();
    if (named != 1 || node.outputs[0].empty())
      fail(ErrorCode::kUnavailable, kUnit,
           where_ + ": expected one output of " + node.op_type + ", got " + std::to_string(named));
    for (size_t input : step.inputs) last_use[input] = steps.size();
    step.output = define(node.outputs[0]);
    steps.push_back(std::move(step));
  }
  for (const std::string& name : outputs_) last_use.erase(find(name));
  for (const auto& [value, step] : last_use) {
    if (value != kAbsent && value >= fixed) steps[step].free.push_back(value);
  }
  steps_ = std::make_shared<const std::vector<Step>>(std::move(steps));
}

size_t OnnxGraph::size() const { return steps_->size(); }

void OnnxGraph::to(c10::Device device) {
  for (auto& [name, tensor] : model_.tensors) {
    if (tensor.is_floating_point()) tensor = tensor.to(device);
  }
}

TensorMap OnnxGraph::run(const TensorMap& inputs) const {
  at::NoGradGuard no_grad;
  const Json* opsets = model_.metadata.find("opsets");
  int64_t opset = opsets ? opsets->get("ai.onnx", 1) : 1;
  std::vector<at::Tensor> values(slots_.size());
  size_t next = 0;
  for (const std::string& name : inputs_) values[next++] = get(inputs, name, kUnit);
  for (const auto& [name, tensor] : model_.tensors) values[next++] = tensor;

  for (const Step& step : *steps_) {
    std::vector<at::Tensor> given;
    for (size_t input : step.inputs)
      given.push_back(input == kAbsent ? at::Tensor() : values[input]);
    auto place = [&] { return where_ + ": " + step.entry->name + " \"" + slots_[step.output]; };
    try {
      values[step.output] = step.entry->run({step.attributes, given, opset});
    } catch (const Error& error) {
      throw Error(error.code(), place() + "\": " + error.what());
    } catch (const c10::Error&) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           place() + "\": expected inputs that fit each other, got " + describe_all(given));
    }
    for (size_t value : step.free) values[value].reset();
  }
  TensorMap out;
  for (const std::string& name : outputs_) {
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i] == name) out[name] = values[i];
    }
  }
  return out;
}

void OnnxGraph::save(const std::string& path) const {
  Json metadata = model_.metadata;
  metadata["inputs"] = Json(inputs_);
  Json nodes = Json::array();
  for (const OnnxNode& node : model_.nodes) nodes.push_back(to_json(node));
  save_safetensors(path, model_.tensors,
                   {{"graph", Json::object({{"metadata", metadata}, {"nodes", nodes}}).dump()},
                    {"format", "plait-graph"}});
}

}  // namespace plait::models
