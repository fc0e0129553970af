#include "plait/models/layers/module.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include "plait/core/error.h"

namespace plait::models {

void Module::for_each_slot(const std::function<void(const std::string&, Slot&, bool)>& f,
                           const std::string& prefix) {
  for (Slot& slot : parameters_) f(prefix + slot.name, slot, true);
  for (Slot& slot : buffers_) f(prefix + slot.name, slot, false);
  for (auto& [name, child] : children_) child->for_each_slot(f, prefix + name + ".");
}

std::vector<std::pair<std::string, at::Tensor>> Module::named_parameters() const {
  std::vector<std::pair<std::string, at::Tensor>> out;
  const_cast<Module*>(this)->for_each_slot(
      [&](const std::string& name, Slot& slot, bool parameter) {
        if (parameter) out.emplace_back(name, slot.tensor);
      },
      "");
  return out;
}

std::vector<std::pair<std::string, at::Tensor>> Module::named_buffers(bool persistent_only) const {
  std::vector<std::pair<std::string, at::Tensor>> out;
  const_cast<Module*>(this)->for_each_slot(
      [&](const std::string& name, Slot& slot, bool parameter) {
        if (!parameter && (slot.persistent || !persistent_only))
          out.emplace_back(name, slot.tensor);
      },
      "");
  return out;
}

std::vector<at::Tensor> Module::parameters() const {
  std::vector<at::Tensor> out;
  for (auto& [name, tensor] : named_parameters()) out.push_back(tensor);
  return out;
}

TensorMap Module::state_dict() const {
  TensorMap out;
  for (auto& [name, tensor] : named_parameters()) out[name] = tensor.detach();
  for (auto& [name, tensor] : named_buffers(true)) out[name] = tensor.detach();
  return out;
}

LoadReport Module::load_state_dict(const TensorMap& weights, bool strict) {
  LoadReport report;
  std::string wrong;
  TensorMap own = state_dict();
  for (auto& [name, tensor] : own) {
    auto it = weights.find(name);
    if (it == weights.end()) {
      report.missing.push_back(name);
    } else if (it->second.sizes() != tensor.sizes()) {
      wrong += "; " + name + ": expected " + describe(tensor) + ", got " + describe(it->second);
    }
  }
  for (const auto& [name, tensor] : weights) {
    if (!own.count(name)) report.unexpected.push_back(name);
  }
  if (strict) {
    for (const auto& name : report.missing) wrong += "; missing " + name;
    for (const auto& name : report.unexpected) wrong += "; unexpected " + name;
  }
  if (!wrong.empty()) {
    if (wrong.size() > 2000) wrong = wrong.substr(0, 2000) + " ...";
    fail(ErrorCode::kInvalidArgument, "weights", wrong.substr(2));
  }
  for (auto& [name, tensor] : own) {
    auto it = weights.find(name);
    if (it != weights.end()) tensor.copy_(it->second);
  }
  return report;
}

void Module::to(at::Device device) {
  for_each_slot([&](const std::string&, Slot& slot,
                    bool) { slot.tensor.set_data(slot.tensor.detach().to(device)); },
                "");
}

void Module::to(at::ScalarType dtype) {
  for_each_slot(
      [&](const std::string&, Slot& slot, bool) {
        if (slot.tensor.is_floating_point()) slot.tensor.set_data(slot.tensor.detach().to(dtype));
      },
      "");
}

void Module::visit(const std::function<void(const std::string&, Module&)>& visitor,
                   const std::string& prefix) {
  visitor(prefix, *this);
  for (auto& [name, child] : children_)
    child->visit(visitor, prefix.empty() ? name : prefix + "." + name);
}

void Module::train(bool on) {
  visit([&](const std::string&, Module& m) { m.training_ = on; });
}

void Module::requires_grad_(bool on) {
  for (auto& tensor : parameters()) tensor.set_requires_grad(on);
}

int64_t Module::parameter_count() const {
  int64_t n = 0;
  for (auto& tensor : parameters()) n += tensor.numel();
  return n;
}

void Module::initialize(uint64_t seed) {
  at::NoGradGuard no_grad;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  visit([&](const std::string&, Module& m) { m.reset_parameters(generator); });
}

void Module::set_generator(const at::Generator& generator) {
  visit([&](const std::string&, Module& m) { m.generator_ = generator; });
}

at::Tensor Module::add_parameter(std::string name, at::Tensor value) {
  parameters_.push_back({std::move(name), value, true});
  return value;
}

void Module::remove_child(const std::string& name) {
  std::erase_if(children_, [&](const auto& child) { return child.first == name; });
}

at::Tensor Module::add_buffer(std::string name, at::Tensor value, bool persistent) {
  buffers_.push_back({std::move(name), value, persistent});
  return value;
}

}  // namespace plait::models
