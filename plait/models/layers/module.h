#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plait/core/tensor_map.h"

namespace plait::models {

/// What load_state_dict found.
struct LoadReport {
  std::vector<std::string> missing;     ///< In the module, not in the file.
  std::vector<std::string> unexpected;  ///< In the file, not in the module.
};

/// The base of every layer and model: named parameters, buffers and children over ATen operators
/// (torch::nn would cost five times the compile time). Names join with dots and equal the published
/// checkpoint's. Construction fills weights with zeros (ones for norm scales); `initialize(seed)`
/// draws them, or `load_state_dict` sets them. Thread safety: forward passes in eval mode may run
/// concurrently; anything else needs exclusive access.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// Depth first, own before children, in the order of registration.
  std::vector<std::pair<std::string, at::Tensor>> named_parameters() const;
  std::vector<std::pair<std::string, at::Tensor>> named_buffers(bool persistent_only = false) const;
  std::vector<at::Tensor> parameters() const;
  /// Parameters and persistent buffers (shared storage, detached).
  TensorMap state_dict() const;
  /// Copies values in (dtype and device are converted). @throws Error kInvalidArgument for a wrong
  /// shape and, when `strict`, for a missing or unexpected name, all of them listed.
  LoadReport load_state_dict(const TensorMap& weights, bool strict = true);

  void to(at::Device device);
  /// Converts floating-point parameters and buffers.
  void to(at::ScalarType dtype);
  void train(bool on = true);
  bool training() const { return training_; }
  void requires_grad_(bool on);
  int64_t parameter_count() const;

  /// Draws all weights from one generator seeded with `seed`.
  void initialize(uint64_t seed);
  /// Layers with weights of their own override this.
  virtual void reset_parameters(at::Generator& generator) {}
  /// The generator that dropout and the like draw from while training; shared by the whole tree.
  void set_generator(const at::Generator& generator);

  /// Own and nested children, with their dotted names ("" for this).
  void visit(const std::function<void(const std::string& name, Module& module)>& visitor,
             const std::string& prefix = "");

 protected:
  /// Registers a tensor; the returned handle stays valid after `to` (the data behind it is
  /// swapped).
  at::Tensor add_parameter(std::string name, at::Tensor value);
  at::Tensor add_buffer(std::string name, at::Tensor value, bool persistent = true);
  template <class M>
  std::shared_ptr<M> add_child(std::string name, std::shared_ptr<M> child) {
    children_.emplace_back(std::move(name), child);
    return child;
  }
  /// Makes and registers a child: `query_ = add<Linear>("query", d, d);`
  template <class M, class... Args>
  std::shared_ptr<M> add(std::string name, Args&&... args) {
    return add_child(std::move(name), std::make_shared<M>(std::forward<Args>(args)...));
  }
  /// Nothing happens when there is none of that name.
  void remove_child(const std::string& name);
  const std::optional<at::Generator>& generator() const { return generator_; }

 private:
  struct Slot {
    std::string name;
    at::Tensor tensor;
    bool persistent = true;
  };
  void for_each_slot(const std::function<void(const std::string&, Slot&, bool parameter)>& f,
                     const std::string& prefix);

  std::vector<Slot> parameters_;
  std::vector<Slot> buffers_;
  std::vector<std::pair<std::string, std::shared_ptr<Module>>> children_;
  std::optional<at::Generator> generator_;
  bool training_ = false;
};

/// A list of children named "0", "1", ...
template <class M>
class ModuleList : public Module {
 public:
  template <class... Args>
  std::shared_ptr<M> append(Args&&... args) {
    items_.push_back(
        this->template add<M>(std::to_string(items_.size()), std::forward<Args>(args)...));
    return items_.back();
  }
  std::shared_ptr<M> append_module(std::shared_ptr<M> m) {
    items_.push_back(this->add_child(std::to_string(items_.size()), std::move(m)));
    return items_.back();
  }
  size_t size() const { return items_.size(); }
  M& operator[](size_t i) const { return *items_[i]; }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

 private:
  std::vector<std::shared_ptr<M>> items_;
};

}  // namespace plait::models
