#include "plait/models/layers/lora.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <filesystem>
#include <regex>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"

namespace plait::models {
namespace {

namespace fs = std::filesystem;
constexpr const char* kUnit = "lora";
constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kWeights = "adapter_model.safetensors";
const std::string kPrefix = "base_model.model.";

/// Every linear layer with its name. Those of adapters are no layers of the model.
std::vector<std::pair<std::string, Linear*>> linear_layers(Module& model) {
  std::vector<std::pair<std::string, Linear*>> out;
  model.visit([&](const std::string& name, Module& module) {
    auto* linear = dynamic_cast<Linear*>(&module);
    if (linear && !name.ends_with(".lora_A") && !name.ends_with(".lora_B"))
      out.emplace_back(name, linear);
  });
  return out;
}

std::vector<std::pair<std::string, Linear*>> adapted_layers(Module& model) {
  auto all = linear_layers(model);
  std::erase_if(all, [](const auto& item) { return !item.second->low_rank(); });
  return all;
}

/// An expression out of an adapter's folder, which a stranger may have written: matched without
/// backtracking, which could take for ever.
std::regex compile(const std::string& expression) {
  try {
    return std::regex(expression, std::regex::ECMAScript | std::regex_constants::__polynomial);
  } catch (const std::regex_error&) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected a regular expression without back-references, got \"" +
             expression.substr(0, 200) + "\"");
  }
}

void check(bool ok, const std::string& message) {
  if (!ok) fail(ErrorCode::kInvalidArgument, kUnit, message);
}

std::shared_ptr<LowRank> make_low_rank(const Linear& layer, const LoraConfig& config) {
  auto made = std::make_shared<LowRank>();
  made->a = std::make_shared<Linear>(layer.weight.size(1), config.rank, /*bias=*/false);
  made->b = std::make_shared<Linear>(config.rank, layer.weight.size(0), /*bias=*/false);
  for (Linear* part : {made->a.get(), made->b.get()}) {
    part->to(layer.weight.device());
    part->to(layer.weight.scalar_type());
  }
  made->dropout = std::make_shared<Dropout>(config.dropout);
  made->scale = config.scale();
  return made;
}

/// The key must be missing, null, false, 0, or empty.
void need_none(const Json& json, const char* key, const std::string& where) {
  const Json* value = json.find(key);
  if (!value || value->is_null() || *value == Json(false) || *value == Json(0)) return;
  if ((value->is_array() || value->is_object()) && value->size() == 0) return;
  fail(ErrorCode::kInvalidArgument, kUnit,
       where + ": " + key + ": expected none, got " + value->dump().substr(0, 80) +
           " (not supported)");
}

}  // namespace

void LoraConfig::visit(ConfigVisitor& v) {
  v.field("rank", rank, "Rank of what is learned", {.min = 1, .max = 4096});
  v.field("alpha", alpha, "What is learned counts alpha / rank times", {.min = 0, .max = 1e6});
  v.field("dropout", dropout, "Dropout before it, while training", {.min = 0, .max = 0.99});
  v.field("target_modules", target_modules,
          "Layers: ends of names, one regular expression, or \"all-linear\"");
  v.field("rank_stabilized", rank_stabilized, "Divide by the root of the rank");
}

LoraConfig LoraConfig::tiny() {
  LoraConfig c;
  c.rank = 2;
  c.alpha = 4;
  return c;
}

void LoraConfig::validate() const {
  const char* const wanted = "expected target_modules as a list of names or one expression";
  if (target_modules.is_string()) {
    require(!target_modules.as_string().empty() && target_modules.as_string().size() <= 1000, kUnit,
            wanted);
    compile(target_modules.as_string());
    return;
  }
  require(target_modules.is_array() && target_modules.size() > 0, kUnit, wanted);
  for (const Json& name : target_modules.items()) require(name.is_string(), kUnit, wanted);
}

double LoraConfig::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rank_stabilized ? std::sqrt(r) : r);
}

bool LoraConfig::targets(const std::string& name) const { return matcher()(name); }

std::function<bool(const std::string&)> LoraConfig::matcher() const {
  if (target_modules.is_string()) {
    if (target_modules.as_string() == "all-linear")
      return
          [](const std::string& name) { return name != "lm_head" && !name.ends_with(".lm_head"); };
    return [expression = compile(target_modules.as_string())](const std::string& name) {
      return name.size() <= 512 && std::regex_match(name, expression);
    };
  }
  return [modules = target_modules](const std::string& name) {
    for (const Json& target : modules.items()) {
      if (name == target.as_string() || name.ends_with("." + target.as_string())) return true;
    }
    return false;
  };
}

LoraConfig LoraConfig::from_published(const Json& json, const std::string& where) {
  check(json.is_object(), where + ": expected an object");
  if (const std::string type = json.get("peft_type", "LORA"); type != "LORA")
    fail(ErrorCode::kInvalidArgument, kUnit, where + ": peft_type: expected LORA, got " + type);
  if (const std::string bias = json.get("bias", "none"); bias != "none")
    fail(ErrorCode::kInvalidArgument, kUnit, where + ": bias: expected none, got " + bias);
  for (const char* key :
       {"use_dora", "lora_bias", "modules_to_save", "rank_pattern", "alpha_pattern",
        "layers_to_transform", "layers_pattern", "layer_replication", "target_parameters",
        "trainable_token_indices", "exclude_modules", "use_qalora", "alora_invocation_tokens",
        "use_bdlora", "arrow_config", "kasa_config", "monteclora_config", "velora_config"})
    need_none(json, key, where);
  if (const Json* init = json.find("init_lora_weights"); init && init->is_string()) {
    // These change the weights that the adapter stands beside.
    for (const char* moved : {"pissa", "olora", "corda", "loftq"}) {
      if (init->as_string().starts_with(moved))
        fail(ErrorCode::kInvalidArgument, kUnit,
             where + ": init_lora_weights: expected an adapter of the published weights, got " +
                 init->as_string());
    }
  }
  LoraConfig config;
  config.rank = json.get("r", 8);
  config.alpha = json.get("lora_alpha", 8.0);
  config.dropout = json.get("lora_dropout", 0.0);
  config.rank_stabilized = json.get("use_rslora", false);
  if (const Json* targets = json.find("target_modules"); targets && !targets->is_null())
    config.target_modules = *targets;
  check(config.rank >= 1 && config.rank <= 4096 && std::isfinite(config.alpha),
        where + ": expected a rank of 1 to 4096 and a finite lora_alpha");
  config.validate();
  return config;
}

Json LoraConfig::to_published(const std::string& base_model) const {
  return Json::object({{"peft_type", "LORA"},
                       {"task_type", Json()},
                       {"base_model_name_or_path", base_model},
                       {"r", rank},
                       {"lora_alpha", alpha},
                       {"lora_dropout", dropout},
                       {"target_modules", target_modules},
                       {"use_rslora", rank_stabilized},
                       {"bias", "none"},
                       {"fan_in_fan_out", false},
                       {"init_lora_weights", true},
                       {"inference_mode", true}});
}

at::Tensor LowRank::operator()(const at::Tensor& x) const {
  return (*b)((*a)((*dropout)(x))) * scale;
}

at::Tensor LowRank::delta() const { return at::matmul(b->weight, a->weight) * scale; }

std::vector<std::string> add_lora(Module& model, const LoraConfig& config, uint64_t seed) {
  config.validate();
  at::NoGradGuard no_grad;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  auto layers = linear_layers(model);
  std::erase_if(layers,
                [targets = config.matcher()](const auto& item) { return !targets(item.first); });
  if (layers.empty()) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected target_modules that name linear layers of the model, got " +
             config.target_modules.dump().substr(0, 200));
  }
  for (auto& [name, layer] : layers)
    check(!layer->low_rank(), "expected layers without adapters: " + name);
  std::vector<std::string> names;
  for (auto& [name, layer] : layers) {
    auto low_rank = make_low_rank(*layer, config);
    // Drawn in float32 on the CPU, so that a seed gives the same on every device.
    Linear drawn(layer->weight.size(1), config.rank, /*bias=*/false);
    drawn.reset_parameters(generator);
    low_rank->a->weight.copy_(drawn.weight);
    layer->set_low_rank(low_rank);
    names.push_back(name);
  }
  train_lora(model);
  return names;
}

void train_lora(Module& model) {
  model.requires_grad_(false);
  for (auto& [name, layer] : adapted_layers(model)) {
    layer->low_rank()->a->requires_grad_(true);
    layer->low_rank()->b->requires_grad_(true);
  }
}

void merge_lora(Module& model) {
  at::NoGradGuard no_grad;
  for (auto& [name, layer] : adapted_layers(model)) {
    LowRank& low_rank = *layer->low_rank();
    if (low_rank.before.defined()) continue;
    low_rank.before = layer->weight.detach().clone();
    layer->weight.add_(low_rank.delta());
  }
}

void unmerge_lora(Module& model) {
  at::NoGradGuard no_grad;
  for (auto& [name, layer] : adapted_layers(model)) {
    LowRank& low_rank = *layer->low_rank();
    if (!low_rank.before.defined()) continue;
    layer->weight.copy_(low_rank.before);
    low_rank.before = at::Tensor();
  }
}

void remove_lora(Module& model) {
  for (auto& [name, layer] : adapted_layers(model)) layer->set_low_rank(nullptr);
}

TensorMap lora_state(Module& model) {
  TensorMap out;
  for (auto& [name, layer] : adapted_layers(model)) {
    out[name + ".lora_A.weight"] = layer->low_rank()->a->weight.detach();
    out[name + ".lora_B.weight"] = layer->low_rank()->b->weight.detach();
  }
  return out;
}

void save_lora(const std::string& dir, Module& model, const LoraConfig& config,
               const std::string& base_model) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) fail(ErrorCode::kIo, kUnit, dir + ": " + error.message());
  TensorMap named;
  for (const auto& [name, tensor] : lora_state(model)) named[kPrefix + name] = tensor;
  require(!named.empty(), kUnit, "expected a model with adapters");
  save_safetensors((fs::path(dir) / kWeights).string(), named, {{"format", "pt"}});
  config.to_published(base_model).write((fs::path(dir) / kConfig).string());
}

TensorMap read_lora_weights(const std::string& dir) {
  TensorMap out;
  for (const auto& [name, tensor] : load_safetensors((fs::path(dir) / kWeights).string()))
    out[name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name] = tensor;
  return out;
}

LoraConfig load_lora(const std::string& dir, Module& model) {
  const std::string where = dir + "/" + kConfig;
  LoraConfig config = LoraConfig::from_published(Json::read(where, 1 << 20), where);
  const TensorMap weights = read_lora_weights(dir);
  const std::vector<std::string> names = add_lora(model, config, 0);
  TensorMap own = lora_state(model);
  try {
    for (const auto& [name, tensor] : own) {
      auto given = weights.find(name);
      if (given == weights.end())
        fail(ErrorCode::kInvalidArgument, kUnit, where + ": expected the tensor " + name);
      if (given->second.sizes() != tensor.sizes()) {
        fail(ErrorCode::kInvalidArgument, kUnit,
             where + ": " + name + ": expected " + describe(tensor) + ", got " +
                 describe(given->second));
      }
    }
    for (const auto& [name, tensor] : weights) {
      if (!own.count(name)) {
        fail(
            ErrorCode::kInvalidArgument, kUnit,
            where + ": expected adapters of the model's linear layers, got " + name.substr(0, 200));
      }
    }
  } catch (...) {
    remove_lora(model);
    throw;
  }
  for (auto& [name, tensor] : own) tensor.copy_(weights.at(name));
  model.requires_grad_(false);
  return config;
}

}  // namespace plait::models
