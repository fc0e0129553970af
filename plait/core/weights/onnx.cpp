#include "plait/core/weights/onnx.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>

#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait {
namespace {

namespace fs = std::filesystem;

enum DataType : int32_t {
  kFloat = 1,
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kInt32,
  kInt64,
  kString,
  kBool,
  kFloat16,
  kDouble,
  kUint32,
  kUint64,
  kComplex64,
  kComplex128,
  kBfloat16,
  kFloat8E4M3FN,
  kFloat8E4M3FNUZ,
  kFloat8E5M2,
  kFloat8E5M2FNUZ,
  kUint4,
  kInt4,
};

std::optional<at::ScalarType> type_of(int32_t type) {
  switch (type) {
    case kFloat: return at::kFloat;
    case kUint8:
    case kUint4: return at::kByte;
    case kInt8:
    case kInt4: return at::kChar;
    case kUint16: return at::kUInt16;
    case kInt16: return at::kShort;
    case kInt32: return at::kInt;
    case kInt64: return at::kLong;
    case kBool: return at::kBool;
    case kFloat16: return at::kHalf;
    case kDouble: return at::kDouble;
    case kUint32: return at::kUInt32;
    case kUint64: return at::kUInt64;
    case kBfloat16: return at::kBFloat16;
    case kFloat8E4M3FN: return at::kFloat8_e4m3fn;
    case kFloat8E4M3FNUZ: return at::kFloat8_e4m3fnuz;
    case kFloat8E5M2: return at::kFloat8_e5m2;
    case kFloat8E5M2FNUZ: return at::kFloat8_e5m2fnuz;
    default: return std::nullopt;
  }
}

/// Bytes somewhere, and what keeps them alive.
struct Bytes {
  std::span<const uint8_t> span;
  std::shared_ptr<const void> owner;
};

class Decoder {
 public:
  /// `dir` is the model's folder, "" when there is none.
  Decoder(const std::string& file, const std::string& dir) : file_(file), dir_(dir) {}

  /// The tensor; undefined for texts and complex numbers.
  at::Tensor run(OnnxConstant& c) {
    tensor_ = c.name;
    auto type = type_of(c.data_type);
    if (!type) return {};
    uint64_t count = check_shape(c.dims, c10::elementSize(*type));
    bool packed = c.data_type == kUint4 || c.data_type == kInt4;
    uint64_t stored = packed ? (count + 1) / 2 : count * c10::elementSize(*type);
    Bytes bytes;
    if (c.external) {
      bytes = external(c, stored);
    } else if (c.has_raw) {
      auto raw = std::make_shared<const std::string>(std::move(c.raw));
      bytes = {{reinterpret_cast<const uint8_t*>(raw->data()), raw->size()}, raw};
    } else {
      return typed(c, *type, count, stored, packed);
    }
    if (bytes.span.size() != stored)
      bad("expected " + std::to_string(stored) + " bytes, got " +
          std::to_string(bytes.span.size()));
    if (packed) return unpack(bytes.span.data(), c, *type);
    return view(bytes, c.dims, *type);
  }

 private:
  [[noreturn]] void bad(const std::string& what) const {
    fail(ErrorCode::kCorruptData, "onnx", file_ + ": tensor \"" + tensor_ + "\": " + what);
  }

  /// Number of values.
  uint64_t check_shape(const std::vector<int64_t>& dims, size_t element) const {
    if (dims.size() > 64) bad("expected at most 64 dimensions, got " + std::to_string(dims.size()));
    // As if no extent were 0: LibTorch multiplies them without a check.
    auto volume = static_cast<int64_t>(element);
    uint64_t count = 1;
    for (int64_t extent : dims) {
      if (extent < 0 || __builtin_mul_overflow(volume, std::max<int64_t>(extent, 1), &volume))
        bad("expected a shape whose size fits 64 bits, got an impossible one");
      count *= static_cast<uint64_t>(extent);
    }
    return count;
  }

  at::Tensor view(const Bytes& bytes, const std::vector<int64_t>& dims, at::ScalarType type) {
    auto* data = const_cast<uint8_t*>(bytes.span.data());
    bool aligned = reinterpret_cast<uintptr_t>(data) % c10::elementSize(type) == 0;
    if (type == at::kBool || !aligned || bytes.span.empty()) {
      at::Tensor copy = at::empty(dims, type);
      if (bytes.span.empty()) return copy;
      std::memcpy(copy.data_ptr(), data, bytes.span.size());
      if (type == at::kBool) {  // any other byte is no boolean of C++
        auto* flags = static_cast<uint8_t*>(copy.data_ptr());
        for (size_t i = 0; i < bytes.span.size(); ++i) flags[i] = flags[i] != 0;
      }
      return copy;
    }
    auto owner = bytes.owner;
    return at::from_blob(
        data, dims, [owner](void*) {}, at::TensorOptions(type));
  }

  /// Two values a byte, the low half first.
  at::Tensor unpack(const uint8_t* bytes, const OnnxConstant& c, at::ScalarType type) const {
    at::Tensor out = at::empty(c.dims, type);
    auto* values = static_cast<uint8_t*>(out.data_ptr());
    for (int64_t i = 0; i < out.numel(); ++i) {
      int nibble = i % 2 == 0 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4;
      values[i] = static_cast<uint8_t>(c.data_type == kInt4 && nibble > 7 ? nibble - 16 : nibble);
    }
    return out;
  }

  /// From the list that the schema names for the type.
  at::Tensor typed(const OnnxConstant& c, at::ScalarType type, uint64_t count, uint64_t stored,
                   bool packed) const {
    auto expect = [&](size_t got) {
      uint64_t want = packed ? stored : count;
      if (got != want)
        bad("expected " + std::to_string(want) + " values, got " + std::to_string(got));
    };
    auto copy = [&](const auto& values) {
      expect(values.size());
      at::Tensor out = at::empty(c.dims, type);
      if (!values.empty()) std::memcpy(out.data_ptr(), values.data(), out.nbytes());
      return out;
    };
    switch (c.data_type) {
      case kFloat: return copy(c.floats);
      case kDouble: return copy(c.doubles);
      case kInt64: return copy(c.longs);
      case kUint64: return copy(c.unsigned_longs);
      case kInt32: return copy(c.ints);
      case kUint32: {
        std::vector<uint32_t> narrow(c.unsigned_longs.begin(), c.unsigned_longs.end());
        return copy(narrow);
      }
      default: break;
    }
    expect(c.ints.size());
    if (packed) {
      std::vector<uint8_t> bytes(c.ints.begin(), c.ints.end());
      return unpack(bytes.data(), c, type);
    }
    // Types of one or two bytes stand in 32 bits each, floating ones by their bits.
    at::Tensor out = at::empty(c.dims, type);
    size_t size = c10::elementSize(type);
    auto* bytes = static_cast<uint8_t*>(out.data_ptr());
    for (size_t i = 0; i < c.ints.size(); ++i) {
      int32_t value = type == at::kBool ? c.ints[i] != 0 : c.ints[i];
      std::memcpy(bytes + i * size, &value, size);
    }
    return out;
  }

  uint64_t number(const std::string& text, uint64_t fallback) const {
    if (text.empty()) return fallback;
    uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      bad("expected numbers as place of the external values");
    return value;
  }

  Bytes external(const OnnxConstant& c, uint64_t stored) {
    fs::path relative(c.location);
    bool leaves =
        c.location.empty() || relative.is_absolute() || c.location.find('\0') != std::string::npos;
    for (const fs::path& part : relative) leaves = leaves || part == "..";
    if (leaves)
      bad("expected external values in a file beside the model, got \"" +
          c.location.substr(0, 200) + "\"");
    if (dir_.empty()) bad("expected values in the model itself, got a file " + c.location);
    auto& map = maps_[c.location];
    std::string path = (fs::path(dir_) / relative).string();
    std::error_code error;
    if (!map && !fs::is_regular_file(path, error))
      fail(ErrorCode::kNotFound, "onnx",
           file_ + ": tensor \"" + tensor_ + "\": expected its values in " + path +
               ", got no such file");
    if (!map) map = MappedFile::open(path);
    uint64_t offset = number(c.offset, 0), length = number(c.length, stored);
    auto bytes = map->bytes();
    if (offset > bytes.size() || length > bytes.size() - offset)
      bad("expected its values inside " + path + ", got the end of that file");
    return {bytes.subspan(offset, length), map};
  }

  const std::string& file_;
  std::string dir_;
  std::string tensor_;
  std::map<std::string, std::shared_ptr<const MappedFile>> maps_;
};

/// Replaces quantised tensors by their values.
class Dequantizer {
 public:
  Dequantizer(OnnxModel& model, const std::string& file) : model_(model), file_(file) {}

  void run() {
    for (const OnnxNode& node : model_.nodes) {
      if (node.op_type == "DequantizeLinear" && node.inputs.size() >= 2) {
        std::string zero = node.inputs.size() > 2 ? node.inputs[2] : "";
        apply(node.inputs[0], node.inputs[1], zero, node.attributes.get("axis", 1),
              node.attributes.get("block_size", 0));
      } else if ((node.op_type == "MatMulInteger" || node.op_type == "ConvInteger") &&
                 node.inputs.size() >= 2 && node.inputs[1].ends_with("_quantized")) {
        const std::string& name = node.inputs[1];
        std::string base = name.substr(0, name.size() - std::strlen("_quantized"));
        apply(name, base + "_scale", base + "_zero_point", node.op_type == "ConvInteger" ? 0 : -1,
              0);
      }
    }
    for (auto& [name, value] : values_) model_.tensors[name] = value;
  }

 private:
  void apply(const std::string& name, const std::string& scale_name, const std::string& zero_name,
             int64_t axis, int64_t block) {
    auto x = model_.tensors.find(name);
    auto scale = model_.tensors.find(scale_name);
    auto zero = model_.tensors.find(zero_name);
    if (x == model_.tensors.end() || scale == model_.tensors.end()) return;
    if (values_.count(name)) return;
    at::Tensor value = x->second.to(at::kFloat);
    if (zero != model_.tensors.end())
      value = value - spread(zero->second.to(at::kFloat), value, name, axis, block);
    values_[name] = value * spread(scale->second.to(at::kFloat), value, name, axis, block);
  }

  /// A scale or zero point in a shape that multiplies with the values.
  at::Tensor spread(const at::Tensor& small, const at::Tensor& values, const std::string& name,
                    int64_t axis, int64_t block) const {
    if (small.numel() == 1) return small.reshape({});
    int64_t dims = values.dim();
    if (axis < 0) axis += dims;
    bool fits = axis >= 0 && axis < dims;
    if (fits && block > 0 && small.dim() == dims) {
      std::vector<int64_t> shape = values.sizes().vec();
      shape[axis] = (shape[axis] - 1) / block + 1;
      if (values.numel() > 0 && small.sizes() == at::IntArrayRef(shape)) {
        at::Tensor index = at::arange(values.size(axis)).floor_divide(block);
        return small.index_select(axis, index);
      }
    } else if (fits && block == 0 && small.dim() == 1 && small.numel() == values.size(axis)) {
      std::vector<int64_t> shape(dims, 1);
      shape[axis] = small.numel();
      return small.reshape(shape);
    }
    fail(ErrorCode::kCorruptData, "onnx",
         file_ + ": tensor \"" + name + "\": expected a scale and zero point of its shape");
  }

  OnnxModel& model_;
  const std::string& file_;
  TensorMap values_;
};

OnnxModel read(std::span<const uint8_t> bytes, const std::string& name, const std::string& dir,
               const OnnxOptions& options) {
  OnnxContents contents = read_onnx(bytes, name);
  OnnxModel model;
  Decoder decoder(name, dir);
  for (OnnxConstant& c : contents.constants) {
    at::Tensor tensor = decoder.run(c);
    if (!tensor.defined()) {
      model.skipped.push_back(c.name + ": " +
                              (c.data_type == kString ? "texts" : "not of real numbers"));
      continue;
    }
    std::string key = c.name;
    if (!c.scope.empty() && model.tensors.count(key)) key = c.scope + "." + c.name;
    if (!model.tensors.emplace(key, std::move(tensor)).second)
      fail(ErrorCode::kCorruptData, "onnx", name + ": tensor \"" + key + "\" appears twice");
    if (c.is_node) model.constant_nodes.insert(key);
  }
  model.metadata = std::move(contents.metadata);
  model.nodes = std::move(contents.nodes);
  model.skipped.insert(model.skipped.end(), contents.skipped.begin(), contents.skipped.end());
  if (options.dequantize) Dequantizer(model, name).run();
  return model;
}

}  // namespace

OnnxModel load_onnx(const std::string& path, const OnnxOptions& options) {
  auto map = MappedFile::open(path);
  std::string dir = fs::path(path).parent_path().string();
  return read(map->bytes(), path, dir.empty() ? "." : dir, options);
}

OnnxModel parse_onnx(std::span<const uint8_t> bytes, const std::string& name,
                     const OnnxOptions& options) {
  return read(bytes, name, "", options);
}

}  // namespace plait
