#include "plait/models/registry.h"

#include <type_traits>

#include "plait/core/config.h"
#include "plait/models/encoders/efficientnet_lite.h"
#include "plait/models/encoders/bert.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/encoders/parallel.h"
#include "plait/models/encoders/whisper.h"
#include "plait/models/fusion/fusion.h"
#include "plait/models/tasks/head.h"

namespace plait::models {
namespace {

/// Adds M (with its M::Config: visit, tiny, validate) under `name`.
template <class M>
void add(Registry<Model>& r, const char* name) {
  using Config = typename M::Config;
  Registry<Model>::Entry entry;
  entry.name = name;
  entry.kind = std::is_base_of_v<Encoder, M> ? "encoder" : std::is_base_of_v<Fusion, M> ? "fusion" : "head";
  entry.create = [](const Json& json, const std::string& where) -> std::shared_ptr<Model> {
    return std::make_shared<M>(read_config<Config>(json, where, UnknownKeys::kError));
  };
  entry.tiny = write_config(Config::tiny());
  entry.schema = config_schema<Config>();
  r.add(std::move(entry));
}

Registry<Model> build() {
  Registry<Model> r("models");
  // Encoders: text.
  add<Bert>(r, "bert");
  add<XlmRoberta>(r, "xlm_roberta");
  // Encoders: image.
  add<EfficientNetLite>(r, "efficientnet_lite");
  // Encoders: any modality.
  add<Parallel>(r, "parallel");
  // Encoders: audio.
  add<Whisper>(r, "whisper");
  // Encoders: series, table.
  // Fusion.
  // Heads.
  (void)&r;
  return r;
}

}  // namespace

const Registry<Model>& registry() {
  static const Registry<Model> built = build();
  return built;
}

std::shared_ptr<Model> create(const Json& config, const std::string& where) {
  std::string type = config.get("type", "");
  Json rest = config;
  rest.erase("type");
  return registry().at(type).create(rest, where);
}

}  // namespace plait::models
