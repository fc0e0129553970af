#include "plait/core/weights/tfjs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <set>

#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxManifest = size_t{256} << 20;

std::optional<at::ScalarType> type_of(const std::string& dtype) {
  if (dtype == "float32") return at::kFloat;
  if (dtype == "int32") return at::kInt;
  if (dtype == "bool") return at::kBool;
  if (dtype == "uint8") return at::kByte;
  return std::nullopt;
}

/// Bytes of one stored value; 0 for texts.
size_t stored_size(const TfjsTensor& t) {
  if (t.quantisation == "uint8") return 1;
  if (!t.quantisation.empty()) return 2;
  if (t.dtype == "complex64") return 8;
  auto type = type_of(t.dtype);
  return type ? c10::elementSize(*type) : 0;
}

template <class T>
T at_index(std::span<const uint8_t> bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

/// `stored · scale + min` in double, as JavaScript computes it.
template <class T>
at::Tensor affine(std::span<const uint8_t> bytes, const TfjsTensor& t, at::ScalarType type) {
  at::Tensor out = at::empty(t.shape, type);
  auto count = static_cast<size_t>(out.numel());
  if (type == at::kFloat) {
    auto* values = out.data_ptr<float>();
    for (size_t i = 0; i < count; ++i)
      values[i] = static_cast<float>(at_index<T>(bytes, i) * t.scale + t.min);
  } else {
    auto* values = out.data_ptr<int32_t>();
    for (size_t i = 0; i < count; ++i) {
      // Halves go up, as Math.round has them.
      double rounded = std::floor(at_index<T>(bytes, i) * t.scale + t.min + 0.5);
      values[i] = static_cast<int32_t>(std::clamp<double>(
          rounded, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()));
    }
  }
  return out;
}

}  // namespace

class TfjsFile::Reader {
 public:
  Reader(TfjsFile& file, const std::function<Shard(const std::string&)>& shard)
      : file_(file), shard_(shard) {}

  void run(const std::string& text) {
    Json root = Json::parse(text, file_.name_);
    Json manifest;
    if (root.is_array()) {
      manifest = std::move(root);
    } else {
      Json* found = root.find("weightsManifest");
      if (!found || !found->is_array())
        bad("expected a weight manifest (an array, or \"weightsManifest\" in an object), got none");
      manifest = std::move(*found);
      root.erase("weightsManifest");
      file_.model_ = std::move(root);
    }
    for (const Json& group : manifest.items()) read_group(group);
  }

 private:
  [[noreturn]] void bad(const std::string& what) const {
    fail(ErrorCode::kCorruptData, "tfjs", file_.name_ + ": " + what);
  }

  /// A member of the manifest; its own complaint would not name the file.
  const Json& member(const Json& of, const char* name, bool (Json::*is)() const) const {
    const Json* found = of.find(name);
    if (!found || !(found->*is)())
      bad(std::string("expected \"") + name + "\" of the usual kind in the manifest");
    return *found;
  }

  /// The tensors of a group lie one after the other in the bytes of its shards.
  void read_group(const Json& group) {
    Shard bytes = joined(member(group, "paths", &Json::is_array).items());
    size_t at = 0;
    for (const Json& entry : member(group, "weights", &Json::is_array).items()) {
      TfjsTensor t = read_tensor(entry);
      std::string what = "tensor \"" + t.name + "\": ";
      t.bytes = size_of(t, bytes.bytes.subspan(at));
      if (t.bytes > bytes.bytes.size() - at) {
        bad(what + "expected " + std::to_string(t.bytes) + " bytes, got only " +
            std::to_string(bytes.bytes.size() - at) + " in the shards");
      }
      if (file_.tensors_.size() >= kMaxTensors) bad("expected at most a million tensors");
      if (!file_.by_name_.emplace(t.name, file_.tensors_.size()).second)
        bad(what + "appears twice");
      file_.values_.push_back({bytes.bytes.subspan(at, t.bytes), bytes.owner});
      at += t.bytes;
      file_.tensors_.push_back(std::move(t));
    }
    if (at != bytes.bytes.size()) {
      bad("expected " + std::to_string(at) + " bytes in the shards, got " +
          std::to_string(bytes.bytes.size()));
    }
  }

  Shard joined(const Json::Array& paths) {
    std::vector<Shard> parts;
    size_t size = 0;
    for (const Json& item : paths) {
      if (!item.is_string()) bad("expected texts as paths of shards");
      const std::string& path = item.as_string();
      // A shard that is read again and again would make much of little.
      if (!seen_.insert(path).second) bad("shard \"" + path.substr(0, 200) + "\" appears twice");
      parts.push_back(shard_(path));
      size += parts.back().bytes.size();
    }
    if (parts.size() == 1) return parts[0];
    auto all = std::make_shared<std::vector<uint8_t>>();
    all->reserve(size);
    for (const Shard& part : parts) all->insert(all->end(), part.bytes.begin(), part.bytes.end());
    return {*all, all};
  }

  TfjsTensor read_tensor(const Json& entry) const {
    TfjsTensor t;
    t.name = member(entry, "name", &Json::is_string).as_string();
    std::string what = "tensor \"" + t.name.substr(0, 200) + "\": ";
    t.dtype = member(entry, "dtype", &Json::is_string).as_string();
    auto type = type_of(t.dtype);
    if (!type && t.dtype != "string" && t.dtype != "complex64")
      bad(what + "expected a known dtype, got \"" + t.dtype.substr(0, 40) + "\"");
    const Json::Array& shape = member(entry, "shape", &Json::is_array).items();
    if (shape.size() > 64)
      bad(what + "expected at most 64 dimensions, got " + std::to_string(shape.size()));
    int64_t volume = 8;
    for (const Json& extent : shape) {
      if (!extent.is_int() || extent.as_int() < 0 ||
          __builtin_mul_overflow(volume, std::max<int64_t>(extent.as_int(), 1), &volume))
        bad(what + "expected a shape whose size fits 64 bits, got an impossible one");
      t.shape.push_back(extent.as_int());
    }
    const Json* quantised = entry.find("quantization");
    if (!quantised || quantised->is_null()) return t;
    t.quantisation = member(*quantised, "dtype", &Json::is_string).as_string();
    if (t.quantisation == "float16" && t.dtype == "float32") return t;
    if ((t.quantisation != "uint8" && t.quantisation != "uint16") ||
        (t.dtype != "float32" && t.dtype != "int32")) {
      bad(what + "expected float32 as uint8, uint16 or float16, or int32 as uint8 or uint16, got " +
          t.dtype.substr(0, 40) + " as \"" + t.quantisation.substr(0, 40) + "\"");
    }
    t.scale = member(*quantised, "scale", &Json::is_number).as_double();
    t.min = member(*quantised, "min", &Json::is_number).as_double();
    if (!std::isfinite(t.scale) || !std::isfinite(t.min))
      bad(what + "expected a finite scale and minimum");
    return t;
  }

  size_t size_of(const TfjsTensor& t, std::span<const uint8_t> rest) const {
    size_t count = 1;
    for (int64_t extent : t.shape) count *= static_cast<size_t>(extent);
    if (t.dtype != "string") return count * stored_size(t);
    size_t at = 0;  // each text is its length and its bytes
    for (size_t i = 0; i < count; ++i) {
      if (rest.size() - at < 4)
        bad("tensor \"" + t.name + "\": expected texts, got the end of the shards");
      size_t length = at_index<uint32_t>(rest.subspan(at), 0);
      at += 4;
      if (length > rest.size() - at)
        bad("tensor \"" + t.name + "\": expected texts, got the end of the shards");
      at += length;
    }
    return at;
  }

  TfjsFile& file_;
  const std::function<Shard(const std::string&)>& shard_;
  std::set<std::string> seen_;
};

TfjsFile TfjsFile::parse(const std::string& json, const std::string& name,
                         const std::function<Shard(const std::string& path)>& shard) {
  TfjsFile file;
  file.name_ = name;
  Reader(file, shard).run(json);
  return file;
}

TfjsFile TfjsFile::open(const std::string& path) {
  fs::path dir = fs::path(path).parent_path();
  return parse(read_file(path, kMaxManifest), path, [&](const std::string& shard) -> Shard {
    fs::path relative(shard);
    bool leaves = shard.empty() || relative.is_absolute() || shard.find('\0') != std::string::npos;
    for (const fs::path& part : relative) leaves = leaves || part == "..";
    if (leaves)
      fail(ErrorCode::kCorruptData, "tfjs",
           path + ": expected shards beside the file, got \"" + shard.substr(0, 200) + "\"");
    std::string place = (dir / relative).string();
    std::error_code error;
    if (!fs::is_regular_file(place, error))
      fail(ErrorCode::kNotFound, "tfjs",
           path + ": expected a shard " + place + ", got no such file");
    auto map = MappedFile::open(place);
    return {map->bytes(), map};
  });
}

const TfjsTensor* TfjsFile::find(const std::string& name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

bool TfjsFile::can_load(const TfjsTensor& tensor) { return type_of(tensor.dtype).has_value(); }

at::Tensor TfjsFile::load(const std::string& name) const {
  auto it = by_name_.find(name);
  if (it == by_name_.end())
    fail(ErrorCode::kNotFound, "tfjs", name_ + ": no tensor \"" + name + "\"");
  const TfjsTensor& t = tensors_[it->second];
  const Shard& shard = values_[it->second];
  auto type = type_of(t.dtype);
  if (!type)
    fail(ErrorCode::kUnavailable, "tfjs",
         name_ + ": tensor \"" + name + "\": expected real numbers, got " + t.dtype);
  if (t.quantisation == "uint8") return affine<uint8_t>(shard.bytes, t, *type);
  if (t.quantisation == "uint16") return affine<uint16_t>(shard.bytes, t, *type);
  at::ScalarType stored = t.quantisation.empty() ? *type : at::kHalf;
  bool aligned = reinterpret_cast<uintptr_t>(shard.bytes.data()) % c10::elementSize(stored) == 0;
  if (stored == *type && stored != at::kBool && aligned && !shard.bytes.empty()) {
    auto owner = shard.owner;
    return at::from_blob(
        const_cast<uint8_t*>(shard.bytes.data()), t.shape, [owner](void*) {},
        at::TensorOptions(stored));
  }
  at::Tensor copy = at::empty(t.shape, stored == at::kBool ? at::kByte : stored);
  if (!shard.bytes.empty()) std::memcpy(copy.data_ptr(), shard.bytes.data(), shard.bytes.size());
  return stored == at::kBool ? copy.ne(0) : copy.to(*type);
}

TensorMap TfjsFile::load_all() const {
  TensorMap out;
  for (const TfjsTensor& t : tensors_) {
    if (can_load(t)) out[t.name] = load(t.name);
  }
  return out;
}

}  // namespace plait
