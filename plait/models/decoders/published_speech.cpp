#include "plait/models/decoders/published_speech.h"

#include <ATen/ATen.h>

#include "plait/core/config.h"
#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/models/encoders/convert.h"
#include "plait/models/encoders/published.h"
#include "plait/models/encoders/published_families.h"
#include "plait/models/registry.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "speech";

struct Parts {
  Json encoder, decoder, generation = Json::object({});
  TensorMap encoder_weights, decoder_weights;
};

Parts own_parts(const ModelFolder& folder) {
  ModelFolder decoder = ModelFolder::open(folder.dir() + "/decoder");
  Parts out;
  out.encoder = folder.config().at("encoder");
  out.encoder_weights = folder.weights();
  out.decoder = decoder.config().at("decoder");
  out.decoder_weights = decoder.weights();
  if (const Json* generation = decoder.config().find("generation"); generation)
    out.generation = *generation;
  return out;
}

Parts converted_parts(const std::string& model_bin) {
  Converted converted = convert_whisper_ct2(model_bin);
  return {converted.config, converted.decoder, converted.generation, converted.weights,
          converted.decoder_weights};
}

Parts published_parts(const ModelFolder& folder) {
  const std::string where = folder.dir() + "/config.json";
  const TensorMap weights = folder.weights();
  TranslatedModel encoder = translate_published(folder.config(), weights, where);
  Parts out;
  out.encoder = encoder.config;
  out.encoder_weights = encoder.weights;
  out.decoder = write_config(WhisperDecoder::Config{});
  for (const auto& [key, value] : folder.config().members()) {
    if (out.decoder.contains(key) && !value.is_null()) out.decoder[key] = value;
  }
  out.decoder["type"] = "whisper_decoder";
  for (const auto& [name, tensor] : weights) {
    for (const std::string prefix : {"model.decoder.", "decoder."}) {
      if (name.starts_with(prefix)) out.decoder_weights[name.substr(prefix.size())] = tensor;
    }
  }
  auto projection = weights.find("proj_out.weight");
  auto words = out.decoder_weights.find("embed_tokens.weight");
  if (projection != weights.end() && words != out.decoder_weights.end() &&
      !at::equal(projection->second, words->second)) {
    unsupported(where, "proj_out.weight", "the same as the embedding", "another matrix");
  }
  if (std::string path = folder.file("generation_config.json"); !path.empty())
    out.generation = Json::read(path, 4 << 20);
  return out;
}

}  // namespace

LoadedSpeech load_published_speech(const std::string& dir) {
  ModelFolder folder = ModelFolder::open(dir);
  const bool described = folder.config().is_object() && folder.config().contains("model_type");
  const std::string type = described ? folder.config().get("model_type", "") : "";
  Parts parts;
  if (type == "plait-encoder" && !folder.file("decoder/config.json").empty()) {
    parts = own_parts(folder);
  } else if (type == "whisper") {
    parts = published_parts(folder);
  } else if (!described && !folder.file("model.bin").empty()) {
    parts = converted_parts(folder.file("model.bin"));
  }
  if (!parts.decoder.is_object() || parts.decoder.get("type", "") != "whisper_decoder") {
    fail(ErrorCode::kInvalidArgument, kUnit,
         dir + ": expected a speech recogniser (Whisper with its decoder), got " +
             (type.empty() ? "something else" : type.substr(0, 40)));
  }
  LoadedSpeech loaded;
  loaded.encoder = create_as<Whisper>(parts.encoder, dir + ":encoder");
  loaded.decoder = create_as<WhisperDecoder>(parts.decoder, dir + ":decoder");
  try {
    loaded.encoder->load_state_dict(parts.encoder_weights, /*strict=*/true);
    loaded.decoder->load_state_dict(parts.decoder_weights, /*strict=*/true);
  } catch (const Error& error) {
    fail(error.code(), kUnit, dir + ": " + error.what());
  }
  require(loaded.encoder->width() == loaded.decoder->width(), kUnit,
          "expected encoder and decoder of the same width");
  loaded.generation = parts.generation;
  return loaded;
}

}  // namespace plait::models
