#include "plait/models/convert/weights.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/model_folder.h"
#include "plait/core/weights/weights_file.h"
#include "plait/data/text/gguf_tokenizer.h"
#include "plait/models/convert/gguf_language.h"

namespace plait::models {
namespace {

namespace fs = std::filesystem;

std::optional<at::ScalarType> dtype_of(const std::string& name) {
  if (name == "stored") return std::nullopt;
  for (at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    if (name == dtype_name(type)) return type;
  }
  fail(ErrorCode::kInvalidArgument, "convert",
       "expected float32, float16, bfloat16 or stored, got \"" + name + "\"");
}

/// In a type that safetensors files of Plait have.
at::Tensor storable(const at::Tensor& value, std::optional<at::ScalarType> floating,
                    const std::string& name) {
  at::ScalarType type = value.scalar_type();
  if (at::isFloatingType(type)) {
    bool narrow = c10::elementSize(type) == 1;
    if (floating) return value.to(*floating);
    return narrow ? value.to(at::kFloat) : value;
  }
  if (type == at::kUInt16) return value.to(at::kInt);
  if (type == at::kUInt32) return value.to(at::kLong);
  if (type == at::kUInt64) {
    at::Tensor wide = value.view(at::kLong);
    if (wide.numel() > 0 && wide.min().item<int64_t>() < 0)
      fail(ErrorCode::kInvalidArgument, "convert",
           "tensor \"" + name + "\": expected values below 2^63");
    return wide;
  }
  return value;
}

/// A folder beside the destination that takes its place at the end, or goes away.
class Draft {
 public:
  explicit Draft(const std::string& destination) : destination_(destination) {
    std::error_code error;
    fs::path clean = fs::absolute(destination).lexically_normal();
    if (clean.filename().empty()) clean = clean.parent_path();
    destination_ = clean;
    if (fs::exists(fs::symlink_status(clean, error)) &&
        !(fs::is_directory(clean, error) && fs::is_empty(clean, error)))
      fail(ErrorCode::kInvalidArgument, "convert",
           "expected a new or empty folder, got " + destination);
    fs::create_directories(clean.parent_path(), error);
    draft_ = clean;
    draft_ += ".tmp-" + std::to_string(::getpid());
    fs::remove_all(draft_, error);
    if (!fs::create_directory(draft_, error))
      fail(ErrorCode::kIo, "convert",
           "cannot make the folder " + draft_.string() + ": " + error.message());
  }
  ~Draft() {
    std::error_code ignored;
    if (!draft_.empty()) fs::remove_all(draft_, ignored);
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;

  std::string path() const { return draft_.string(); }
  void keep() {
    std::error_code error;
    fs::rename(draft_, destination_, error);  // onto an empty folder too
    if (error)
      fail(ErrorCode::kIo, "convert",
           "cannot rename to " + destination_.string() + ": " + error.message());
    draft_.clear();
  }

 private:
  fs::path destination_, draft_;
};

/// The source under the names that are written, and the files beside the weights.
struct Source {
  WeightsFile file;
  std::optional<GgufFile> language_model;
  Json config;

  /// The tensor under its new names; none when it is left out.
  std::vector<std::pair<std::string, at::Tensor>> load(const std::string& name) const {
    if (language_model) return gguf_hugging_face_tensors(*language_model, name);
    return {{name, file.load(name)}};
  }
};

Source open(const std::string& path) {
  Source source{.file = open_weights(path), .language_model = std::nullopt, .config = nullptr};
  if (source.file.format == "GGUF") {
    GgufFile gguf = GgufFile::open(path);
    if (is_known_gguf(gguf)) {
      source.config = gguf_config(gguf);
      source.language_model = std::move(gguf);
    }
  }
  return source;
}

void write_more(const Source& source, const std::string& path, const std::string& dir) {
  if (source.language_model) {
    const Json& metadata = source.language_model->metadata();
    if (metadata.contains("tokenizer.ggml.tokens")) {
      data::tokenizer_json_from_gguf(metadata).write(dir + "/tokenizer.json", -1);
      data::tokenizer_config_from_gguf(metadata).write(dir + "/tokenizer_config.json");
    }
  } else if (source.file.format == "model folder") {
    ModelFolder folder = ModelFolder::open(path);
    for (const char* name :
         {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
          "special_tokens_map.json", "vocab.txt", "preprocessor_config.json"}) {
      std::string from = folder.file(name);
      if (!from.empty()) write_file_atomic(dir + "/" + name, read_file(from));
    }
  }
}

}  // namespace

Json convert_weights(const std::string& path, const std::string& destination,
                     const ConvertOptions& options, const data::Progress& progress) {
  auto floating = dtype_of(options.dtype);
  Source source = open(path);
  Draft draft(destination);
  if (source.language_model && !source.config.is_null())
    source.config["torch_dtype"] = floating ? options.dtype : "float32";

  const std::string what = fs::path(path).filename().string();
  int64_t total = 0, done = 0;
  for (const WeightEntry& entry : source.file.tensors) total += static_cast<int64_t>(entry.bytes);
  auto tell = [&](const char* step, int64_t now, int64_t all) {
    if (progress) progress({.step = step, .what = what, .done = now, .total = all});
  };
  TensorMap weights;
  Json left_out = Json::array();
  for (const WeightEntry& entry : source.file.tensors) {
    tell("read", done, total);
    done += static_cast<int64_t>(entry.bytes);
    std::vector<std::pair<std::string, at::Tensor>> made;
    if (entry.note != "not loaded") made = source.load(entry.name);
    if (made.empty()) left_out.push_back(entry.name);
    for (const auto& [name, tensor] : made) {
      at::Tensor value = storable(tensor, floating, entry.name);
      if (!weights.emplace(name, value).second)
        fail(ErrorCode::kCorruptData, "convert", path + ": two tensors would be \"" + name + "\"");
    }
  }
  tell("write", total, total);
  save_model_folder(draft.path(), source.config, weights);
  write_more(source, path, draft.path());
  std::vector<std::string> files;
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(draft.path())) {
    files.push_back(entry.path().filename().string());
    bytes += static_cast<int64_t>(entry.file_size());
  }
  std::sort(files.begin(), files.end());
  draft.keep();
  return Json::object({{"path", destination},
                       {"format", source.file.format},
                       {"tensors", weights.size()},
                       {"bytes", bytes},
                       {"files", files},
                       {"left_out", left_out}});
}

}  // namespace plait::models
