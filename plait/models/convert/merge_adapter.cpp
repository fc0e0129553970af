#include "plait/models/convert/merge_adapter.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <unistd.h>

#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/models/layers/lora.h"

namespace plait::models {
namespace {

namespace fs = std::filesystem;
constexpr const char* kUnit = "lora";

/// The base's name of an adapted layer: older and newer folders differ by "model." in front, and
/// in where they have the language model of a larger one.
std::string base_name(const TensorMap& weights, const std::string& layer) {
  std::vector<std::string> candidates = {layer, "model." + layer};
  if (layer.starts_with("model.")) candidates.push_back(layer.substr(6));
  const std::string newer = "model.language_model.", older = "language_model.model.";
  if (layer.starts_with(newer)) candidates.push_back(older + layer.substr(newer.size()));
  if (layer.starts_with(older)) candidates.push_back(newer + layer.substr(older.size()));
  for (const std::string& name : candidates) {
    if (weights.count(name + ".weight")) return name + ".weight";
  }
  fail(ErrorCode::kInvalidArgument, kUnit,
       "expected an adapter of this model, which has no layer " + layer.substr(0, 200));
}

bool is_weights(const std::string& name) {
  for (const char* end : {".safetensors", ".bin", ".pth", ".pt", ".index.json", ".h5", ".msgpack",
                          ".onnx", ".gguf", ".ckpt"}) {
    if (name.ends_with(end)) return true;
  }
  return name == "config.json";
}

}  // namespace

Json merge_adapter(const std::string& base, const std::string& adapter,
                   const std::string& destination) {
  at::NoGradGuard no_grad;
  const std::string where = adapter + "/adapter_config.json";
  const Json published = Json::read(where, 1 << 20);
  const LoraConfig config = LoraConfig::from_published(published, where);
  const bool transposed = published.get("fan_in_fan_out", false);
  if (fs::exists(destination) && !fs::is_empty(destination))
    fail(ErrorCode::kInvalidArgument, kUnit, destination + ": expected no folder, or an empty one");

  ModelFolder folder = ModelFolder::open(base);
  TensorMap weights = folder.weights();
  const TensorMap low_rank = read_lora_weights(adapter);
  const std::string end_a = ".lora_A.weight", end_b = ".lora_B.weight";
  int64_t merged = 0;
  for (const auto& [name, a] : low_rank) {
    if (name.ends_with(end_b)) continue;
    if (!name.ends_with(end_a))
      fail(ErrorCode::kInvalidArgument, kUnit, where + ": expected lora_A and lora_B, got " + name);
    const std::string layer = name.substr(0, name.size() - end_a.size());
    const at::Tensor& b = get(low_rank, layer + end_b, kUnit);
    at::Tensor& weight = weights.at(base_name(weights, layer));
    if (a.dim() != 2 || b.dim() != 2 || a.size(0) != b.size(1))
      fail(ErrorCode::kInvalidArgument, kUnit,
           where + ": expected matrices of one rank for " + layer);
    // Summed in float32 at least, and rounded once.
    const at::ScalarType wide = weight.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor delta = at::matmul(b.to(wide), a.to(wide)) * config.scale();
    if (transposed) delta = delta.t();
    if (weight.sizes() != delta.sizes()) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           where + ": " + layer + ": expected " + describe(weight) + ", got " + describe(delta));
    }
    weight = (weight.to(wide) + delta).to(weight.scalar_type());
    ++merged;
  }
  if (merged == 0 || static_cast<size_t>(2 * merged) != low_rank.size())
    fail(ErrorCode::kInvalidArgument, kUnit, where + ": expected pairs of lora_A and lora_B");

  const std::string beside = destination + ".part-" + std::to_string(getpid());
  try {
    save_model_folder(beside, folder.config(), weights);
    for (const auto& entry : fs::directory_iterator(base)) {
      const std::string name = entry.path().filename().string();
      if (entry.is_regular_file() && !is_weights(name) && !name.starts_with("."))
        fs::copy_file(entry.path(), fs::path(beside) / name);
    }
    if (fs::exists(destination)) fs::remove(destination);
    fs::rename(beside, destination);
  } catch (const fs::filesystem_error& error) {
    std::error_code ignored;
    fs::remove_all(beside, ignored);
    fail(ErrorCode::kIo, kUnit, error.what());
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(beside, ignored);
    throw;
  }
  return Json::object({{"path", destination},
                       {"tensors", merged},
                       {"rank", config.rank},
                       {"scale", config.scale()}});
}

}  // namespace plait::models
