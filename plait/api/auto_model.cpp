#include "plait/api/auto_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <filesystem>

#include "plait/api/locate.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/models/encoders/published.h"
#include "plait/models/registry.h"

namespace plait::api {

void AutoModel::load_stream(const std::string& model, const std::string& stream) {
  auto whole = MultimodalModel::from_pretrained(model);
  processor_ = whole->shared_processor(stream);
  encoder_config_ = whole->config().at("streams").at(stream).at("encoder");
  encoder_ = models::create_as<models::Encoder>(encoder_config_, model + ":" + stream);
  encoder_->load_state_dict(whole->network().encoder(stream).state_dict());
  dir_ = (std::filesystem::path(locate_model(model)) / "streams" / stream).string();
}

void AutoModel::load_encoder(const std::string& name_or_path) {
  dir_ = locate_model(name_or_path);
  ModelFolder folder = ModelFolder::open(dir_);
  const std::string type = folder.config().get("model_type", "");
  if (type == "plait") {
    std::string streams;
    for (const auto& [stream, config] : folder.config().at("streams").members())
      streams += (streams.empty() ? "" : ", ") + name_or_path + ":" + stream;
    fail(ErrorCode::kInvalidArgument, "model",
         "expected one encoder, got a model of several: name a stream (" + streams + ")");
  }
  if (type == "plait-encoder") {
    encoder_config_ = folder.config().at("encoder");
    encoder_ = models::create_as<models::Encoder>(encoder_config_, dir_ + "/config.json:encoder");
    encoder_->load_state_dict(folder.weights());
    processor_ = data::make_processor(folder.config().at("processor"), dir_, name_or_path);
    return;
  }
  models::LoadedEncoder loaded = models::load_published(dir_);
  encoder_ = loaded.encoder;
  encoder_config_ = loaded.config;
  const bool text = loaded.encoder->modality() == Modality::kText;
  processor_ = data::make_processor(Json::object({{"type", text ? "text" : "published"}}), dir_,
                                    name_or_path);
}

std::shared_ptr<AutoModel> AutoModel::from_pretrained(const std::string& name_or_path,
                                                      const ModelOptions& options) {
  auto made = std::make_shared<AutoModel>();
  const size_t colon = name_or_path.rfind(':');
  const bool names_stream = colon != std::string::npos && colon > 0 &&
                            name_or_path.find('/', colon) == std::string::npos &&
                            !std::filesystem::exists(name_or_path);
  if (names_stream) {
    made->load_stream(name_or_path.substr(0, colon), name_or_path.substr(colon + 1));
  } else {
    made->load_encoder(name_or_path);
  }
  made->encoder_->train(false);
  made->encoder_->requires_grad_(false);
  made->device_ = device_from_string(options.backend);
  made->encoder_->to(dtype_from_string(options.dtype));
  made->encoder_->to(made->device_);
  return made;
}

TensorMap AutoModel::operator()(const std::vector<Value>& values) const {
  std::vector<Value> decoded;
  std::vector<const Value*> rows;
  for (const Value& value : values)
    decoded.push_back(data::decode(value, encoder_->modality(), "input"));
  for (const Value& value : decoded) rows.push_back(&value);
  return forward(processor_->process(rows, "input"));
}

TensorMap AutoModel::forward(const TensorMap& inputs) const {
  TensorMap moved;
  at::ScalarType dtype = encoder_->parameters().front().scalar_type();
  for (const auto& [name, tensor] : inputs) {
    moved[name] = tensor.is_floating_point() ? tensor.to(device_, dtype) : tensor.to(device_);
  }
  return encoder_->forward(moved);
}

}  // namespace plait::api
