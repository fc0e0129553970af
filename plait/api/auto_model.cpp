#include "plait/api/auto_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "plait/api/locate.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/models/encoders/published.h"
#include "plait/models/registry.h"

namespace plait::api {

std::shared_ptr<AutoModel> AutoModel::from_pretrained(const std::string& name_or_path,
                                                      const ModelOptions& options) {
  auto made = std::make_shared<AutoModel>();
  made->dir_ = locate_model(name_or_path);
  ModelFolder folder = ModelFolder::open(made->dir_);
  if (folder.config().get("model_type", "") == "plait-encoder") {
    made->encoder_config_ = folder.config().at("encoder");
    made->encoder_ = models::create_as<models::Encoder>(made->encoder_config_,
                                                        made->dir_ + "/config.json:encoder");
    made->encoder_->load_state_dict(folder.weights());
    made->processor_ =
        data::make_processor(folder.config().at("processor"), made->dir_, name_or_path);
  } else {
    models::LoadedEncoder loaded = models::load_published(made->dir_);
    made->encoder_ = loaded.encoder;
    made->encoder_config_ = loaded.config;
    const bool text = loaded.encoder->modality() == Modality::kText;
    made->processor_ = data::make_processor(Json::object({{"type", text ? "text" : "published"}}),
                                            made->dir_, name_or_path);
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
