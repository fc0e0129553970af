#pragma once
#include <string>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/layers/layers.h"

/// Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685): the weight W of a linear
/// layer stays as it is, and (alpha / rank) · B·A is learned beside it. Saved in the layout of the
/// PEFT package: adapter_config.json and adapter_model.safetensors.
namespace plait::models {

struct LoraConfig {
  int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  /// ["q_proj", "mlp.down_proj"]: layers with these names, or with names that end in "." and one
  /// of them; "a regular expression": of whole names; "all-linear": all but the output head.
  Json target_modules = "all-linear";
  /// Divide by √rank instead (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732).
  bool rank_stabilized = false;

  void visit(ConfigVisitor& v);
  static LoraConfig tiny();
  void validate() const;
  double scale() const;
  /// Whether the linear layer of that dotted name is meant.
  bool targets(const std::string& name) const;
  /// The same for many names: an expression is compiled once.
  std::function<bool(const std::string&)> matcher() const;

  /// adapter_config.json. @throws Error kInvalidArgument naming `where` and an option that changes
  /// the computation and is not supported.
  static LoraConfig from_published(const Json& json, const std::string& where);
  Json to_published(const std::string& base_model) const;
};

/// What a linear layer gives beside x Wᵀ: scale · B(A(dropout(x))).
struct LowRank {
  std::shared_ptr<Linear> a, b;
  std::shared_ptr<Dropout> dropout;
  double scale = 1;
  at::Tensor before;  ///< W as it was, while B·A is merged into it; else undefined
  at::Tensor operator()(const at::Tensor& x) const;
  /// scale · B·A, as W is.
  at::Tensor delta() const;
};

/// Gives every linear layer of the model that `config` means an adapter (A drawn from `seed`, B
/// zeros: nothing changes at first) and tells their names; then `train_lora`. @throws Error
/// kInvalidArgument when no layer is meant, or one has an adapter already.
std::vector<std::string> add_lora(Module& model, const LoraConfig& config, uint64_t seed);

/// The adapters' parameters alone require gradients from now on.
void train_lora(Module& model);

/// Adds every adapter to its layer's weight, and takes it out again: then every weight is what it
/// was, bit for bit. Merged layers cost what they cost without adapters.
void merge_lora(Module& model);
void unmerge_lora(Module& model);
/// Takes the adapters away; what is merged stays merged.
void remove_lora(Module& model);

/// "<layer>.lora_A.weight" [rank, in] and "<layer>.lora_B.weight" [out, rank] (shared storage).
TensorMap lora_state(Module& model);
/// Writes the folder. @throws Error kIo.
void save_lora(const std::string& dir, Module& model, const LoraConfig& config,
               const std::string& base_model);
/// Adds the adapters of such a folder; names of the PEFT package are ours behind
/// "base_model.model.". Nothing requires gradients then. @throws Error naming the folder and what
/// is missing or unsupported.
LoraConfig load_lora(const std::string& dir, Module& model);

/// The adapter's tensors as they are named in its folder, without "base_model.model.".
TensorMap read_lora_weights(const std::string& dir);

}  // namespace plait::models
