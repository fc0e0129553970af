#include "plait/models/graph/join.h"

#include <ATen/ATen.h>

#include <set>

namespace plait::models::onnx {
namespace {

class Joiner {
 public:
  explicit Joiner(OnnxModel& model) : model_(model), gone_(model.nodes.size(), false) {
    for (const std::string& name : model.metadata.at("outputs").as_strings()) kept_.insert(name);
    for (size_t i = 0; i < model.nodes.size(); ++i) {
      for (const std::string& name : model.nodes[i].outputs) maker_[name] = i;
      for (const std::string& name : model.nodes[i].inputs) users_[name].push_back(i);
    }
  }

  void run() {
    for (size_t i = 0; i < model_.nodes.size(); ++i) {
      if (model_.nodes[i].op_type == "Div") hard_swish(i);
    }
    for (size_t i = 0; i < model_.nodes.size(); ++i) {
      if (!gone_[i] && model_.nodes[i].op_type == "Conv") {
        while (absorb(i)) {
        }
      }
    }
    std::vector<OnnxNode> nodes;
    std::set<std::string> used = kept_;
    for (size_t i = 0; i < model_.nodes.size(); ++i) {
      if (gone_[i] || model_.nodes[i].op_type == "Constant") continue;
      used.insert(model_.nodes[i].inputs.begin(), model_.nodes[i].inputs.end());
      nodes.push_back(std::move(model_.nodes[i]));
    }
    model_.nodes = std::move(nodes);
    std::erase_if(model_.tensors, [&](const auto& entry) { return !used.count(entry.first); });
  }

 private:
  const at::Tensor* constant(const std::string& name) const {
    auto found = model_.tensors.find(name);
    return found == model_.tensors.end() ? nullptr : &found->second;
  }

  bool is_number(const std::string& name, double value) const {
    const at::Tensor* tensor = constant(name);
    return tensor && tensor->numel() == 1 && tensor->dim() <= 1 &&
           tensor->reshape({}).item().toDouble() == value;
  }

  /// The operator that makes a value which nothing else uses; -1: none of that kind.
  int64_t sole_maker(const std::string& name, const char* op_type) const {
    auto maker = maker_.find(name);
    auto users = users_.find(name);
    if (maker == maker_.end() || users == users_.end() || users->second.size() != 1 ||
        kept_.count(name) || gone_[maker->second])
      return -1;
    const OnnxNode& node = model_.nodes[maker->second];
    return node.op_type == op_type && node.outputs.size() == 1 ? static_cast<int64_t>(maker->second)
                                                               : -1;
  }

  /// x · clip(x + 3, 0, 6) / 6
  void hard_swish(size_t index) {
    OnnxNode& last = model_.nodes[index];
    if (last.inputs.size() != 2 || !is_number(last.inputs[1], 6)) return;
    int64_t product = sole_maker(last.inputs[0], "Mul");
    if (product < 0 || node(product).inputs.size() != 2) return;
    for (size_t side = 0; side < 2; ++side) {
      const std::string x = node(product).inputs[1 - side];
      int64_t clip = sole_maker(node(product).inputs[side], "Clip");
      if (clip < 0) continue;
      const auto& bounds = node(clip).inputs;
      bool right = bounds.size() == 3 && is_number(bounds[1], 0) && is_number(bounds[2], 6);
      if (bounds.size() == 1) {
        right = node(clip).attributes.get("min", 1.0) == 0 &&
                node(clip).attributes.get("max", 0.0) == 6;
      }
      int64_t sum = right ? sole_maker(bounds[0], "Add") : -1;
      if (sum < 0 || node(sum).inputs.size() != 2) continue;
      const auto& terms = node(sum).inputs;
      if (!(terms[0] == x && is_number(terms[1], 3)) && !(terms[1] == x && is_number(terms[0], 3)))
        continue;
      for (int64_t i : {product, clip, sum}) gone_[static_cast<size_t>(i)] = true;
      std::erase_if(users_[x], [&](size_t i) { return gone_[i]; });
      users_[x].push_back(index);
      last.op_type = "HardSwish";
      last.inputs = {x};
      last.attributes = Json::object({});
      return;
    }
  }

  OnnxNode& node(int64_t index) { return model_.nodes[static_cast<size_t>(index)]; }

  /// A constant as one value for each of so many channels of [B, C, H, W]; undefined: another
  /// shape.
  static at::Tensor per_channel(const at::Tensor& value, int64_t channels, int64_t dims) {
    if (value.scalar_type() != at::kFloat || value.dim() > dims) return {};
    if (value.numel() == 1) return value.reshape({1}).expand({channels});
    int64_t at = value.dim() - (dims - 1);
    if (value.numel() != channels || at < 0 || value.size(at) != channels) return {};
    return value.reshape({channels});
  }

  /// Takes the operator behind a convolution into its weights; false: there is none to take.
  bool absorb(size_t index) {
    OnnxNode& conv = model_.nodes[index];
    if (conv.outputs.size() != 1 || conv.inputs.size() < 2) return false;
    const std::string result = conv.outputs[0];
    const at::Tensor* weight = constant(conv.inputs[1]);
    const at::Tensor* bias = conv.inputs.size() > 2 ? constant(conv.inputs[2]) : nullptr;
    auto users = users_.find(result);
    if (!weight || weight->scalar_type() != at::kFloat || weight->dim() < 3 ||
        weight->numel() == 0 || (conv.inputs.size() > 2 && !bias) || kept_.count(result) ||
        users == users_.end() || users->second.size() != 1)
      return false;
    size_t next = users->second[0];
    const OnnxNode& after = model_.nodes[next];
    int64_t channels = weight->size(0);
    if (after.outputs.size() != 1 || (bias && (bias->dim() != 1 || bias->size(0) != channels ||
                                               bias->scalar_type() != at::kFloat)))
      return false;

    at::Tensor scale = at::ones({channels}), shift = at::zeros({channels});
    if ((after.op_type == "Mul" || after.op_type == "Add") && after.inputs.size() == 2) {
      const at::Tensor* other = constant(after.inputs[after.inputs[0] == result ? 1 : 0]);
      at::Tensor value = other ? per_channel(*other, channels, weight->dim()) : at::Tensor();
      if (!value.defined()) return false;
      (after.op_type == "Mul" ? scale : shift) = value;
    } else if (after.op_type == "BatchNormalization" && after.inputs.size() == 5 &&
               after.inputs[0] == result && after.attributes.get("training_mode", 0) == 0) {
      std::vector<at::Tensor> parts;
      for (size_t i = 1; i < 5; ++i) {
        const at::Tensor* part = constant(after.inputs[i]);
        if (!part || part->dim() != 1 || part->size(0) != channels ||
            part->scalar_type() != at::kFloat)
          return false;
        parts.push_back(*part);
      }
      scale = parts[0] / at::sqrt(parts[3] + after.attributes.get("epsilon", 1e-5));
      shift = parts[1] - parts[2] * scale;
    } else {
      return false;
    }
    std::vector<int64_t> wide(static_cast<size_t>(weight->dim()), 1);
    wide[0] = channels;
    at::Tensor moved = bias ? *bias * scale + shift : shift;
    std::string name = after.outputs[0];
    std::string weight_name = name + "/weight", bias_name = name + "/bias";
    if (constant(weight_name) || constant(bias_name)) return false;
    at::Tensor scaled = *weight * scale.reshape(wide);
    model_.tensors[weight_name] = scaled;
    model_.tensors[bias_name] = moved.contiguous();
    conv.inputs = {conv.inputs[0], weight_name, bias_name};
    conv.outputs = {name};
    gone_[next] = true;
    maker_[name] = index;
    return true;
  }

  OnnxModel& model_;
  std::vector<bool> gone_;
  std::set<std::string> kept_;
  std::map<std::string, size_t> maker_;
  std::map<std::string, std::vector<size_t>> users_;
};

}  // namespace

void join_operators(OnnxModel& model) { Joiner(model).run(); }

}  // namespace plait::models::onnx
