#include "plait/core/weights/safetensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "plait/core/error.h"
#include "plait/core/json.h"

namespace plait {
namespace {

constexpr size_t kMaxHeader = 100'000'000;

struct DtypeName {
  const char* name;
  at::ScalarType type;
};
constexpr DtypeName kDtypes[] = {
    {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16}, {"F64", at::kDouble},
    {"I64", at::kLong},  {"I32", at::kInt},   {"I16", at::kShort},     {"I8", at::kChar},
    {"U8", at::kByte},   {"BOOL", at::kBool},
};

const char* name_of(at::ScalarType type) {
  for (const auto& d : kDtypes) {
    if (d.type == type) return d.name;
  }
  fail(ErrorCode::kInvalidArgument, "safetensors",
       std::string("cannot store dtype ") + c10::toString(type));
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  auto map = MappedFile::open(path);
  SafetensorsFile file;
  file.name_ = path;
  file.owner_ = map;
  file.read_header(map->bytes());
  return file;
}

SafetensorsFile SafetensorsFile::parse(std::shared_ptr<const std::string> bytes,
                                       const std::string& name) {
  SafetensorsFile file;
  file.name_ = name;
  file.owner_ = bytes;
  file.read_header({reinterpret_cast<const uint8_t*>(bytes->data()), bytes->size()});
  return file;
}

void SafetensorsFile::read_header(std::span<const uint8_t> bytes) {
  auto bad = [&](const std::string& what) {
    fail(ErrorCode::kCorruptData, "safetensors", name_ + ": " + what);
  };
  if (bytes.size() < 8) bad("expected at least 8 bytes, got " + std::to_string(bytes.size()));
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), 8);
  if (header_size > kMaxHeader || header_size > bytes.size() - 8) {
    bad("expected a header inside the file, got a header size of " + std::to_string(header_size));
  }
  Json header = Json::parse({reinterpret_cast<const char*>(bytes.data()) + 8, header_size}, name_);
  if (!header.is_object()) bad("expected an object as header");
  data_ = bytes.subspan(8 + header_size);

  std::vector<std::pair<size_t, size_t>> ranges;
  for (const auto& [name, entry] : header.members()) {
    Entry e;
    try {
      if (name == "__metadata__") {
        for (const auto& [key, value] : entry.members()) metadata_[key] = value.as_string();
        continue;
      }
      e = read_entry(entry);
    } catch (const Error& error) {  // says what is wrong, but not where
      std::string what = error.what();
      bad("tensor \"" + name + "\": " + what.substr(what.find(']') + 2));
    }
    if (e.size > 0) ranges.emplace_back(e.offset, e.offset + e.size);
    if (!entries_.emplace(name, std::move(e)).second) bad("tensor \"" + name + "\" appears twice");
  }
  // The format permits neither holes nor overlaps: the tensors fill the file.
  std::sort(ranges.begin(), ranges.end());
  size_t end = 0;
  for (const auto& range : ranges) {
    if (range.first < end) bad("tensors overlap at byte " + std::to_string(range.first));
    if (range.first > end)
      bad("expected tensors without holes, got one at byte " + std::to_string(end));
    end = range.second;
  }
  if (end != data_.size()) {
    bad("expected " + std::to_string(end) + " bytes of tensors, got " +
        std::to_string(data_.size()));
  }
}

SafetensorsFile::Entry SafetensorsFile::read_entry(const Json& entry) const {
  auto bad = [](const std::string& what) { fail(ErrorCode::kCorruptData, "safetensors", what); };
  const std::string& dtype = entry.at("dtype").as_string();
  auto known = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                            [&](auto& d) { return dtype == d.name; });
  if (known == std::end(kDtypes))
    bad("expected a known dtype, got \"" + dtype.substr(0, 40) + "\"");
  Entry e;
  e.dtype = static_cast<int>(known->type);
  e.shape = entry.at("shape").as_ints();
  e.size = c10::elementSize(known->type);
  if (e.shape.size() > 64)
    bad("expected at most 64 dimensions, got " + std::to_string(e.shape.size()));
  int64_t volume = static_cast<int64_t>(
      e.size);  // as if no extent were 0: LibTorch multiplies them without a check
  for (int64_t extent : e.shape) {
    if (extent < 0 || __builtin_mul_overflow(volume, std::max<int64_t>(extent, 1), &volume)) {
      bad("expected a shape whose size fits 64 bits, got an impossible one");
    }
    e.size *= static_cast<size_t>(extent);
  }
  auto offsets = entry.at("data_offsets").as_ints();
  if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0] ||
      static_cast<size_t>(offsets[1]) > data_.size()) {
    bad("expected data_offsets inside the file");
  }
  if (static_cast<size_t>(offsets[1] - offsets[0]) != e.size) {
    bad("expected " + std::to_string(e.size) + " bytes, got " +
        std::to_string(offsets[1] - offsets[0]));
  }
  e.offset = static_cast<size_t>(offsets[0]);
  return e;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> out;
  for (const auto& [name, entry] : entries_) out.push_back(name);
  return out;
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  auto it = entries_.find(name);
  if (it == entries_.end())
    fail(ErrorCode::kNotFound, "safetensors", name_ + ": no tensor \"" + name + "\"");
  const Entry& e = it->second;
  auto type = static_cast<at::ScalarType>(e.dtype);
  if (e.size == 0) return at::empty(e.shape, type);
  auto* address = const_cast<uint8_t*>(data_.data() + e.offset);
  if (reinterpret_cast<uintptr_t>(address) % c10::elementSize(type) != 0) {
    // Written by something that did not pad its header: copy, since kernels need aligned data.
    at::Tensor copy = at::empty(e.shape, type);
    std::memcpy(copy.data_ptr(), address, copy.nbytes());
    return copy;
  }
  auto owner = owner_;
  return at::from_blob(
      address, e.shape, [owner](void*) {}, at::TensorOptions(type));
}

TensorMap SafetensorsFile::tensors() const {
  TensorMap out;
  for (const auto& [name, entry] : entries_) out[name] = tensor(name);
  return out;
}

TensorMap load_safetensors(const std::string& path) {
  return SafetensorsFile::open(path).tensors();
}

std::string dump_safetensors(const TensorMap& tensors,
                             const std::map<std::string, std::string>& metadata) {
  Json header = Json::object({});
  if (!metadata.empty()) {
    Json::Object members;
    for (const auto& [key, value] : metadata) members.emplace_back(key, value);
    header["__metadata__"] = Json(members);
  }
  // Wide types first, so that every tensor is aligned to its element size; other readers insist on
  // it.
  std::vector<TensorMap::const_iterator> order;
  for (auto it = tensors.begin(); it != tensors.end(); ++it) {
    if (!it->second.defined()) {
      fail(ErrorCode::kInvalidArgument, "safetensors",
           "expected a tensor as \"" + it->first + "\", got none");
    }
    order.push_back(it);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a->second.element_size() > b->second.element_size();
  });
  Json::Object& entries = header.members();
  std::vector<at::Tensor> copies;
  size_t offset = 0;
  for (const auto& it : order) {
    const auto& [name, tensor] = *it;
    if (name == "__metadata__")
      fail(ErrorCode::kInvalidArgument, "safetensors", "a tensor cannot be named __metadata__");
    at::Tensor copy = tensor.detach().to(at::kCPU).contiguous();
    size_t end = offset + copy.nbytes();
    entries.emplace_back(name, Json::object({{"dtype", name_of(copy.scalar_type())},
                                             {"shape", Json(copy.sizes().vec())},
                                             {"data_offsets", Json::array({offset, end})}}));
    offset = end;
    copies.push_back(std::move(copy));
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string out(8, '\0');
  uint64_t size = text.size();
  std::memcpy(out.data(), &size, 8);
  out += text;
  out.reserve(out.size() + offset);
  for (const at::Tensor& copy : copies) {
    if (copy.nbytes() > 0)
      out.append(static_cast<const char*>(copy.const_data_ptr()), copy.nbytes());
  }
  return out;
}

void save_safetensors(const std::string& path, const TensorMap& tensors,
                      const std::map<std::string, std::string>& metadata) {
  write_file_atomic(path, dump_safetensors(tensors, metadata));
}

}  // namespace plait
