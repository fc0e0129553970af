#include <ATen/ATen.h>

#include <cstdio>

#include "plait/api/locate.h"
#include "plait/api/multimodal_model.h"
#include "plait/cli/commands.h"
#include "plait/cli/terminal.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/weights/onnx_schema.h"
#include "plait/data/datasets/datasets.h"
#include "plait/data/image/image.h"
#include "plait/data/packages/cache.h"
#include "plait/models/catalogue.h"
#include "plait/models/registry.h"

namespace plait::cli {
namespace {

/// Runs a small computation; "" when it worked, else why not.
template <class F>
std::string problem_of(F probe) {
  try {
    probe();
    return "";
  } catch (const std::exception& e) {
    return e.what();
  }
}

void add(Json& rows, const std::string& what, const std::string& problem,
         const std::string& detail = "") {
  rows.push_back(Json::object({{"what", what},
                               {"works", problem.empty()},
                               {"detail", problem.empty() ? detail : problem}}));
}

}  // namespace

int doctor(bool json) {
  Json devices = describe_devices();
  Json rows = Json::array();
  std::string features;
  for (const Json& f : devices.at("cpu").at("features").items())
    features += (features.empty() ? "" : " ") + f.as_string();
  add(rows, "cpu", "", devices.at("cpu").at("model").as_string() + " (" + features + ")");
  add(rows, "threads", "", std::to_string(devices.at("cpu").at("threads").as_int()));
  const Json& cuda = devices.at("cuda");
  add(rows, "cuda", cuda.get("available", false) ? "" : cuda.get("reason", "unknown"),
      std::to_string(cuda.get("devices", 0)) + " device(s)");
  add(rows, "npu", "no NPU back end is built in");
  add(rows, "libtorch", "", devices.at("torch").as_string());
  add(rows, "pictures", problem_of([] {
        data::decode_image(data::encode_png(at::zeros({2, 2, 3}, at::kByte)), "probe");
      }),
      "PNG, JPEG, WebP, TIFF");
  add(rows, "onnx", onnx_is_available() ? "" : "built without protobuf and the schema of ONNX",
      "initializers and Constant nodes");
  add(rows, "cache", problem_of([] { data::cache_dir(); }),
      problem_of([] { data::cache_dir(); }).empty() ? data::cache_dir() : "");
  std::string base = api::shipped_model("plait-base");
  add(rows, "plait-base", base.empty() ? "the shipped model was not found beside the library" : "",
      base);
  add(rows, "architectures", "", std::to_string(models::registry().names().size()) + " registered");
  for (const auto& d : data::list_datasets()) {
    add(rows, "data " + d.name,
        data::is_prepared(d.name) ? ""
                                  : "not in the cache; plait data get " + d.name + " fetches it",
        "in the cache");
  }
  for (const auto& m : models::list_models()) {
    add(rows, "model " + m.name,
        models::is_model_ready(m.name)
            ? ""
            : "not in the cache; plait models get " + m.name + " fetches it",
        "in the cache");
  }
  if (json) {
    Json out = Json::object({{"version", PLAIT_VERSION},
                             {"backends", Json(available_backends())},
                             {"devices", devices},
                             {"checks", rows}});
    std::printf("%s\n", out.dump().c_str());
    return 0;
  }
  std::printf("Plait %s\n\n", PLAIT_VERSION);
  std::vector<std::vector<std::string>> table;
  for (const Json& row : rows.items()) {
    table.push_back({row.get("works", false) ? "✓" : "–", row.at("what").as_string(),
                     row.at("detail").as_string()});
  }
  print_table({"", "part", ""}, table);
  return 0;
}

}  // namespace plait::cli
