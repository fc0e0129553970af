// Making, loading and saving of models: the folder's layout.
#include <ATen/ATen.h>

#include <filesystem>

#include "plait/api/locate.h"
#include "plait/api/multimodal_model.h"
#include "plait/core/config.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/model_folder.h"

namespace plait::api {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kFormatVersion = 1;
constexpr const char* kTrustPrefix = "trust.";
constexpr const char* kJointPrefix = "joint";  ///< Of a trust fusion: its expert and its weight

/// Moves the trust fusions' tensors out of a model's weights: by task.
std::map<std::string, TensorMap> take_trust_weights(TensorMap& weights) {
  std::map<std::string, TensorMap> out;
  const std::string prefix = kTrustPrefix;
  for (auto it = weights.begin(); it != weights.end();) {
    if (it->first.rfind(prefix, 0) != 0) {
      ++it;
      continue;
    }
    const std::string rest = it->first.substr(prefix.size());
    const size_t dot = rest.find('.');
    if (dot == std::string::npos)
      fail(ErrorCode::kCorruptData, "model", "expected trust.<task>.<name>, got " + it->first);
    out[rest.substr(0, dot)][rest.substr(dot + 1)] = it->second;
    it = weights.erase(it);
  }
  return out;
}

std::shared_ptr<const models::TrustModel> load_trust(const Json& config, const TensorMap& weights,
                                                     const Json& calibration,
                                                     const std::string& task,
                                                     const std::string& dir) {
  auto fusion = std::make_shared<models::TrustFusion>(
      read_config<models::TrustFusion::Config>(config, dir + "/config.json:trust." + task));
  fusion->load_state_dict(weights);
  fusion->train(false);
  fusion->requires_grad_(false);
  auto out = std::make_shared<models::TrustModel>(fusion);
  const Json* own = calibration.find(task);
  const Json* trust = own ? own->find("trust") : nullptr;
  if (!trust) {
    fail(ErrorCode::kCorruptData, "model",
         dir + "/calibration.json: expected " + task + ".trust, which config.json speaks of");
  }
  out->load_json(*trust);
  return out;
}

void check_format(const Json& config, const std::string& dir) {
  if (config.get("model_type", "") != "plait") {
    fail(ErrorCode::kInvalidArgument, "model",
         dir + "/config.json: expected model_type \"plait\", got \"" +
             config.get("model_type", "") + "\" (a published encoder loads with AutoModel)");
  }
  int64_t version = config.get("format_version", 0);
  if (version < 1 || version > kFormatVersion) {
    fail(ErrorCode::kInvalidArgument, "model",
         dir + "/config.json: expected format_version up to " + std::to_string(kFormatVersion) +
             ", got " + std::to_string(version) + "; a newer Plait wrote this folder");
  }
}

}  // namespace

std::shared_ptr<MultimodalModel> MultimodalModel::load_default(const ModelOptions& options) {
  device_from_string(options.backend);
  const std::string& size = options.model_size;
  if (size != "tiny" && size != "base" && size != "large") {
    fail(ErrorCode::kInvalidArgument, "model",
         "expected a model_size of tiny, base, large, got \"" + size + "\"");
  }
  std::string dir = shipped_model("plait-" + size);
  if (dir.empty()) {
    fail(ErrorCode::kNotFound, "model",
         "the shipped model plait-" + size +
             " was not found beside the library; set PLAIT_HOME to the folder that holds "
             "models/plait-" +
             size);
  }
  return from_pretrained(dir, options);
}

std::shared_ptr<MultimodalModel> MultimodalModel::create(const Json& config, const std::string& dir,
                                                         const ModelOptions& options) {
  auto made = std::shared_ptr<MultimodalModel>(new MultimodalModel());
  made->network_ =
      models::FusedNetwork::create(config, dir.empty() ? "config" : dir + "/config.json");
  made->config_ = made->network_->config();
  made->config_["model_type"] = "plait";
  made->config_["format_version"] = kFormatVersion;
  made->config_["trained"] = config.get("trained", false);
  for (const std::string& name : made->network_->stream_names()) {
    const Json* processor = config.at("streams").at(name).find("processor");
    if (!processor)
      fail(ErrorCode::kInvalidArgument, "model",
           "config.json:streams." + name + ": expected a \"processor\"");
    made->processors_[name] =
        data::make_processor(*processor, (fs::path(dir) / "streams" / name).string(), name);
  }
  require(options.max_batch_size >= 1, "model", "expected max_batch_size of at least 1");
  made->max_batch_ = options.max_batch_size;
  made->task_ = options.task.empty() ? made->network_->task_names().front() : options.task;
  made->network_->task_config(made->task_);
  made->device_ = device_from_string(options.backend);
  made->dtype_ = dtype_from_string(options.dtype);
  return made;
}

std::shared_ptr<MultimodalModel> MultimodalModel::from_pretrained(const std::string& name_or_path,
                                                                  const ModelOptions& options) {
  std::string dir = locate_model(name_or_path);
  ModelFolder folder = ModelFolder::open(dir);
  check_format(folder.config(), dir);
  auto made = create(folder.config(), dir, options);
  made->config_["trained"] = folder.config().get("trained", false);
  if (!folder.config().get("trained", false) && !options.untrained) {
    fail(ErrorCode::kInvalidArgument, "model",
         dir +
             " holds a model with untrained parts; train it, or pass untrained=True to use it all "
             "the same");
  }
  TensorMap weights = folder.weights();
  std::map<std::string, TensorMap> trust = take_trust_weights(weights);
  made->network_->load_state_dict(weights);
  made->network_->train_mode(false);
  made->network_->requires_grad_(false);
  made->network_->to(made->dtype_);
  made->network_->to(made->device_);
  if (std::string file = folder.file("calibration.json"); !file.empty())
    made->calibration_ = Json::read(file);
  if (const Json* configs = folder.config().find("trust")) {
    for (const auto& [task, config] : configs->members())
      made->set_trust(task, load_trust(config, trust[task], made->calibration_, task, dir));
    // What was read lives in the trust fusions from here on.
    for (auto& [task, own] : made->calibration_.members()) own.erase("trust");
  }
  if (std::string file = folder.file("README.md"); !file.empty())
    made->card_ = read_file(file, size_t{4} << 20);
  return made;
}

void MultimodalModel::save_pretrained(const std::string& dir, bool half) const {
  Json config = config_;
  for (const auto& [name, processor] : processors_) {
    std::string folder = (fs::path(dir) / "streams" / name).string();
    fs::create_directories(folder);
    processor->save(folder);
    config["streams"][name]["processor"] = processor->config();
  }
  TensorMap weights = network_->state_dict();
  if (half) {
    for (auto& [name, tensor] : weights) {
      if (tensor.is_floating_point()) tensor = tensor.to(at::kHalf);
    }
  }
  Json calibration = calibration_;
  for (const auto& [task, trust] : trust_) {
    models::TrustFusion::Config fusion = trust->fusion().config();
    // A joint expert that is not heard would only take room.
    const bool joint = trust->fusion().joint_weight() > 0;
    if (!joint) fusion.joint = 0;
    for (const auto& [name, tensor] : trust->fusion().state_dict()) {
      const bool of_joint = name.rfind(kJointPrefix, 0) == 0;
      if (of_joint && !joint) continue;
      // The others stay as they are: half of these numbers are logarithms of densities.
      weights[kTrustPrefix + task + "." + name] =
          half && of_joint && tensor.dim() > 0 ? tensor.to(at::kHalf) : tensor;
    }
    config["trust"][task] = write_config(fusion);
    calibration[task]["trust"] = trust->to_json();
  }
  if (calibration.size() > 0) calibration.write((fs::path(dir) / "calibration.json").string());
  if (!card_.empty()) write_file_atomic((fs::path(dir) / "README.md").string(), card_);
  save_model_folder(dir, config, weights);
}

}  // namespace plait::api
