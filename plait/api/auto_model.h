#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/api/multimodal_model.h"
#include "plait/data/processor.h"
#include "plait/models/encoders/encoder.h"

namespace plait::api {

/// Any registered encoder alone, with its processor: raw strings, files, arrays or tensors in,
/// features out. Thread-safe after loading.
class AutoModel {
 public:
  /// A folder (Plait's or a published Hugging Face one), a name from `plait models list`, fetched
  /// when needed, or "plait-base:image": the encoder of one stream of a Plait model.
  /// @throws Error kNotFound or kInvalidArgument that says where it looked or which streams are
  /// there.
  static std::shared_ptr<AutoModel> from_pretrained(const std::string& name_or_path,
                                                    const ModelOptions& options = {});

  /// Decodes, processes and encodes: one row per value. Named outputs as the encoder's forward
  /// gives them (last_hidden_state [B, T, D], pooled [B, D], mask ...).
  TensorMap operator()(const std::vector<Value>& values) const;
  /// The same from tensors that are processed already (input_ids, pixel_values ...).
  TensorMap forward(const TensorMap& inputs) const;

  const std::shared_ptr<models::Encoder>& encoder() const { return encoder_; }
  const std::shared_ptr<const data::Processor>& processor() const { return processor_; }
  /// {"type": ..., ...} as models::create takes it.
  const Json& encoder_config() const { return encoder_config_; }
  const std::string& dir() const { return dir_; }

 private:
  void load_stream(const std::string& model, const std::string& stream);
  void load_encoder(const std::string& name_or_path);

  std::string dir_;
  Json encoder_config_;
  std::shared_ptr<models::Encoder> encoder_;
  std::shared_ptr<const data::Processor> processor_;
  c10::Device device_ = c10::Device(c10::kCPU);
};

}  // namespace plait::api
