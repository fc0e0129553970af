#include "plait/core/weights/gguf.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <set>

#include "plait/core/error.h"

namespace plait {
namespace {

constexpr uint64_t kMaxKeys = 65'536;
constexpr uint64_t kMaxTensors = 1'000'000;
/// A value takes at least one byte in the file but some forty in memory.
constexpr uint64_t kMaxValues = 8'000'000;
constexpr size_t kMaxName = 65'535;
constexpr int kMaxDepth = 8;
constexpr uint32_t kMaxDims = 8;  // ggml knows four

enum ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
  kTypes
};
/// The fewest bytes that a value of each type takes.
constexpr uint64_t kLeast[kTypes] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

std::optional<at::ScalarType> plain_type(GgmlType type) {
  switch (type) {
    case GgmlType::kF32: return at::kFloat;
    case GgmlType::kF64: return at::kDouble;
    case GgmlType::kI8: return at::kChar;
    case GgmlType::kI16: return at::kShort;
    case GgmlType::kI32: return at::kInt;
    case GgmlType::kI64: return at::kLong;
    default: return std::nullopt;
  }
}

}  // namespace

class GgufFile::Reader {
 public:
  Reader(GgufFile& file, std::span<const uint8_t> bytes) : file_(file), bytes_(bytes) {}

  void run() {
    if (bytes_.size() < 8 || std::memcmp(bytes_.data(), "GGUF", 4) != 0)
      bad("expected the letters GGUF at the start, got something else");
    position_ = 4;
    file_.version_ = number<uint32_t>("version");
    if (file_.version_ != 0 && (file_.version_ & 0xffff) == 0)
      bad("expected a little-endian file, got a big-endian one");
    if (file_.version_ != 2 && file_.version_ != 3)
      bad("expected version 2 or 3, got " + std::to_string(file_.version_));
    auto tensors = number<uint64_t>("number of tensors");
    if (tensors > kMaxTensors)
      bad("expected at most a million tensors, got " + std::to_string(tensors));
    auto keys = number<uint64_t>("number of metadata keys");
    if (keys > kMaxKeys) bad("expected at most 65536 metadata keys, got " + std::to_string(keys));
    read_metadata(keys);
    for (uint64_t i = 0; i < tensors; ++i) read_tensor();
    place_tensors();
  }

 private:
  [[noreturn]] void bad(const std::string& what) const {
    fail(ErrorCode::kCorruptData, "gguf", file_.name_ + ": " + what);
  }

  std::span<const uint8_t> take(uint64_t size, const char* what) {
    if (size > bytes_.size() - position_) {
      bad("expected " + std::to_string(size) + " bytes for the " + what + " at byte " +
          std::to_string(position_) + ", got the end of the file");
    }
    auto out = bytes_.subspan(position_, size);
    position_ += size;
    return out;
  }

  template <class T>
  T number(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string text(const char* what) {
    auto raw = take(number<uint64_t>(what), what);
    return {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }

  std::string name(const char* what) {
    std::string out = text(what);
    if (out.empty() || out.size() > kMaxName)
      bad(std::string("expected 1 to 65535 bytes as ") + what + ", got " +
          std::to_string(out.size()));
    return out;
  }

  void read_metadata(uint64_t keys) {
    std::set<std::string> seen;
    file_.metadata_ = Json(Json::Object{});
    for (uint64_t i = 0; i < keys; ++i) {
      std::string key = name("name of a metadata key");
      if (!seen.insert(key).second) bad("metadata key \"" + key + "\" appears twice");
      auto type = number<uint32_t>("type of a metadata value");
      file_.metadata_.members().emplace_back(key, value(type, key, 0));
    }
  }

  Json value(uint32_t type, const std::string& key, int depth) {
    if (++values_ > kMaxValues) {
      fail(ErrorCode::kResourceLimit, "gguf",
           file_.name_ + ": expected at most eight million metadata values");
    }
    constexpr const char* kWhat = "value of a metadata key";
    switch (type) {
      case kUint8: return static_cast<int64_t>(number<uint8_t>(kWhat));
      case kInt8: return static_cast<int64_t>(number<int8_t>(kWhat));
      case kUint16: return static_cast<int64_t>(number<uint16_t>(kWhat));
      case kInt16: return static_cast<int64_t>(number<int16_t>(kWhat));
      case kUint32: return static_cast<int64_t>(number<uint32_t>(kWhat));
      case kInt32: return static_cast<int64_t>(number<int32_t>(kWhat));
      case kFloat32: return static_cast<double>(number<float>(kWhat));
      case kBool: {
        auto flag = number<uint8_t>(kWhat);
        if (flag > 1)
          bad("metadata key \"" + key + "\": expected 0 or 1 as boolean, got " +
              std::to_string(flag));
        return flag == 1;
      }
      case kString: return text(kWhat);
      case kArray: return array(key, depth);
      case kUint64: {
        auto wide = number<uint64_t>(kWhat);
        constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
        return wide > kMost ? Json(static_cast<double>(wide)) : Json(static_cast<int64_t>(wide));
      }
      case kInt64: return number<int64_t>(kWhat);
      case kFloat64: return number<double>(kWhat);
      default:
        bad("metadata key \"" + key + "\": expected a known type, got number " +
            std::to_string(type));
    }
  }

  Json array(const std::string& key, int depth) {
    if (depth >= kMaxDepth)
      bad("metadata key \"" + key + "\": expected at most 8 arrays inside each other");
    auto type = number<uint32_t>("type of an array");
    if (type >= kTypes)
      bad("metadata key \"" + key + "\": expected a known type, got number " +
          std::to_string(type));
    auto count = number<uint64_t>("length of an array");
    // Before anything is reserved for them.
    if (count > (bytes_.size() - position_) / kLeast[type]) {
      bad("metadata key \"" + key + "\": expected an array that fits the file, got " +
          std::to_string(count) + " values");
    }
    if (count > kMaxValues - values_) {
      fail(ErrorCode::kResourceLimit, "gguf",
           file_.name_ + ": expected at most eight million metadata values");
    }
    Json::Array items;
    items.reserve(count);
    for (uint64_t i = 0; i < count; ++i) items.push_back(value(type, key, depth + 1));
    return Json(std::move(items));
  }

  void read_tensor() {
    GgufTensor t;
    t.name = name("name of a tensor");
    std::string what = "tensor \"" + t.name + "\": ";
    auto dims = number<uint32_t>("number of dimensions");
    if (dims > kMaxDims) bad(what + "expected at most 8 dimensions, got " + std::to_string(dims));
    t.shape.resize(dims);
    for (auto it = t.shape.rbegin(); it != t.shape.rend(); ++it) {
      auto extent = number<uint64_t>("dimensions of a tensor");
      if (extent > uint64_t{1} << 48)
        bad(what + "expected extents below 2^48, got " + std::to_string(extent));
      *it = static_cast<int64_t>(extent);
    }
    t.type = static_cast<GgmlType>(number<uint32_t>("type of a tensor"));
    GgmlLayout layout = layout_of(t.type);
    if (layout.name.empty()) {
      bad(what + "expected a type known here, got number " +
          std::to_string(static_cast<uint32_t>(t.type)));
    }
    int64_t row = dims == 0 ? 1 : t.shape.back();
    if (row % layout.values != 0) {
      bad(what + "expected rows of whole blocks of " + std::to_string(layout.values) + ", got " +
          std::to_string(row) + " values");
    }
    int64_t bytes = row / layout.values * layout.bytes;
    // As if no extent were 0: LibTorch multiplies them without a check.
    int64_t volume = std::max<int64_t>(row, 1) * 8;
    for (size_t i = 0; i + 1 < dims; ++i) {
      int64_t extent = std::max<int64_t>(t.shape[i], 1);
      if (__builtin_mul_overflow(volume, extent, &volume))
        bad(what + "expected a shape whose size fits 64 bits, got an impossible one");
      bytes *= t.shape[i];
    }
    t.bytes = static_cast<size_t>(bytes);
    t.offset = number<uint64_t>("offset of a tensor");
    if (!file_.by_name_.emplace(t.name, file_.tensors_.size()).second) bad(what + "appears twice");
    file_.tensors_.push_back(std::move(t));
  }

  /// The data start at the next multiple of the alignment, and so does every tensor.
  void place_tensors() {
    int64_t alignment = 32;
    if (const Json* given = file_.metadata_.find("general.alignment")) {
      if (!given->is_int() || given->as_int() < 8 || given->as_int() > (1 << 20) ||
          given->as_int() % 8 != 0)
        bad("general.alignment: expected a multiple of 8 up to a million");
      alignment = given->as_int();
    }
    auto step = static_cast<size_t>(alignment);
    size_t start = (position_ + step - 1) / step * step;
    file_.data_ = start < bytes_.size() ? bytes_.subspan(start) : std::span<const uint8_t>();
    std::vector<std::pair<size_t, const GgufTensor*>> order;
    for (const GgufTensor& t : file_.tensors_) {
      std::string what = "tensor \"" + t.name + "\": ";
      if (t.offset % step != 0)
        bad(what + "expected an offset that is a multiple of " + std::to_string(step) + ", got " +
            std::to_string(t.offset));
      if (t.offset > file_.data_.size() || t.bytes > file_.data_.size() - t.offset) {
        if (t.bytes > 0 || t.offset > file_.data_.size() + step)
          bad(what + "expected " + std::to_string(t.bytes) + " bytes from " +
              std::to_string(t.offset) + " inside the file, got only " +
              std::to_string(file_.data_.size()) + " bytes of data");
      }
      if (t.bytes > 0) order.emplace_back(t.offset, &t);
    }
    std::sort(order.begin(), order.end());
    for (size_t i = 1; i < order.size(); ++i) {
      const GgufTensor& before = *order[i - 1].second;
      if (before.offset + before.bytes > order[i].first)
        bad("tensors \"" + before.name + "\" and \"" + order[i].second->name + "\" overlap");
    }
  }

  GgufFile& file_;
  std::span<const uint8_t> bytes_;
  size_t position_ = 0;
  uint64_t values_ = 0;
};

GgufFile GgufFile::open(const std::string& path) {
  auto map = MappedFile::open(path);
  GgufFile file;
  file.name_ = path;
  file.owner_ = map;
  Reader(file, map->bytes()).run();
  return file;
}

GgufFile GgufFile::parse(std::shared_ptr<const std::string> bytes, const std::string& name) {
  GgufFile file;
  file.name_ = name;
  file.owner_ = bytes;
  Reader(file, {reinterpret_cast<const uint8_t*>(bytes->data()), bytes->size()}).run();
  return file;
}

const GgufTensor* GgufFile::find(const std::string& name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

const GgufTensor& GgufFile::get(const std::string& name) const {
  if (const GgufTensor* found = find(name)) return *found;
  fail(ErrorCode::kNotFound, "gguf", name_ + ": no tensor \"" + name + "\"");
}

at::Tensor GgufFile::blocks(const std::string& name) const {
  const GgufTensor& t = get(name);
  GgmlLayout layout = layout_of(t.type);
  std::vector<int64_t> shape = t.shape;
  if (shape.empty()) shape.push_back(1);
  shape.back() = shape.back() / layout.values * layout.bytes;
  if (t.bytes == 0) return at::empty(shape, at::kByte);
  auto owner = owner_;
  return at::from_blob(
      const_cast<uint8_t*>(data_.data() + t.offset), shape, [owner](void*) {},
      at::TensorOptions(at::kByte));
}

at::Tensor GgufFile::load(const std::string& name) const {
  const GgufTensor& t = get(name);
  const uint8_t* data = t.bytes == 0 ? nullptr : data_.data() + t.offset;
  if (auto plain = plain_type(t.type)) {
    auto aligned = reinterpret_cast<uintptr_t>(data) % c10::elementSize(*plain) == 0;
    if (data && aligned) {
      auto owner = owner_;
      return at::from_blob(
          const_cast<uint8_t*>(data), t.shape, [owner](void*) {}, at::TensorOptions(*plain));
    }
    at::Tensor copy = at::empty(t.shape, *plain);
    if (data) std::memcpy(copy.data_ptr(), data, t.bytes);
    return copy;
  }
  GgmlLayout layout = layout_of(t.type);
  if (!can_dequantize(t.type)) dequantize(t.type, data, 0, nullptr);  // says what can be
  at::Tensor out = at::empty(t.shape, at::kFloat);
  auto* values = out.data_ptr<float>();
  constexpr int64_t kGrain = 65'536;  // values: smaller pieces cost more than they gain
  int64_t count = out.numel() / layout.values;
  at::parallel_for(0, count, kGrain / layout.values, [&](int64_t begin, int64_t end) {
    dequantize(t.type, data + begin * layout.bytes, end - begin, values + begin * layout.values);
  });
  return out;
}

TensorMap GgufFile::load_all() const {
  TensorMap out;
  for (const GgufTensor& t : tensors_) out[t.name] = load(t.name);
  return out;
}

}  // namespace plait
