#include "plait/core/weights/pth.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/pickle.h"
#include "plait/core/weights/zip.h"

namespace plait {
namespace {

using Kind = PickleValue::Kind;
using Bytes = std::span<const uint8_t>;

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxVisited = 4'000'000;
constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxNameLength = 512;
/// An expanded tensor (stride 0) may have more elements than its storage, up to this many.
constexpr int64_t kMaxExpanded = int64_t{1} << 24;

[[noreturn]] void bad(const std::string& file, const std::string& what) {
  fail(ErrorCode::kCorruptData, "pth", file + ": " + what);
}

/// The bytes of storages by key, as views of the file, or copies where the file does not align
/// them.
class Storages {
 public:
  Storages(std::string file, std::shared_ptr<const void> owner)
      : file_(std::move(file)), owner_(std::move(owner)) {}

  void add(const std::string& key, Bytes bytes) { bytes_[key] = bytes; }

  at::Tensor tensor(const PickleValue& value, const std::string& name) {
    const PickleValue& storage = *value.items[0];
    std::string where = "tensor \"" + name + "\": ";
    auto it = bytes_.find(std::string(storage.text));
    if (it == bytes_.end()) bad(file_, where + "expected its data in the file, got none");
    auto element = static_cast<int64_t>(c10::elementSize(value.dtype));
    int64_t available = static_cast<int64_t>(it->second.size()) / element;
    if (storage.number < 0 ||
        storage.number >
            static_cast<int64_t>(it->second.size() / c10::elementSize(storage.dtype))) {
      bad(file_, where + "expected the data of " + std::to_string(storage.number) +
                     " elements, got " + std::to_string(it->second.size()) + " bytes");
    }
    int64_t offset = 0;
    bool fits = value.sizes.size() == value.strides.size() && value.number >= 0 &&
                storage.number2 >= 0 &&
                !__builtin_add_overflow(value.number, storage.number2, &offset);
    int64_t count = 1;
    int64_t volume = 1;  // as if no size were 0: LibTorch multiplies them without a check
    int64_t last = offset;
    for (size_t d = 0; fits && d < value.sizes.size(); ++d) {
      int64_t size = value.sizes[d];
      int64_t reach = 0;
      fits = size >= 0 && value.strides[d] >= 0 && !__builtin_mul_overflow(count, size, &count) &&
             !__builtin_mul_overflow(volume, std::max<int64_t>(size, 1), &volume) &&
             !__builtin_mul_overflow(std::max<int64_t>(size - 1, 0), value.strides[d], &reach) &&
             !__builtin_add_overflow(last, reach, &last);
    }
    if (!fits || offset > available || (count > 0 && last >= available)) {
      bad(file_, where + "expected sizes, strides and offset inside its storage");
    }
    if (count > std::max(available, kMaxExpanded))
      bad(file_, where + "expected fewer elements than an expanded view claims");
    auto options = at::TensorOptions(value.dtype);
    if (count == 0) return at::empty(value.sizes, options);
    auto [address, owner] = aligned(it->first, it->second, element);
    return at::from_blob(
        const_cast<uint8_t*>(address) + offset * element, value.sizes, value.strides,
        [owner = owner](void*) {}, options);
  }

 private:
  std::pair<const uint8_t*, std::shared_ptr<const void>> aligned(const std::string& key,
                                                                 Bytes bytes, int64_t element) {
    if (reinterpret_cast<uintptr_t>(bytes.data()) % static_cast<uintptr_t>(element) == 0)
      return {bytes.data(), owner_};
    auto& copy = copies_[key];
    if (!copy) {
      copy =
          std::make_shared<at::Tensor>(at::empty({static_cast<int64_t>(bytes.size())}, at::kByte));
      std::memcpy(copy->data_ptr(), bytes.data(), bytes.size());
    }
    return {copy->const_data_ptr<uint8_t>(), copy};
  }

  std::string file_;
  std::shared_ptr<const void> owner_;
  std::map<std::string, Bytes> bytes_;
  std::map<std::string, std::shared_ptr<at::Tensor>> copies_;
};

/// Names the tensors of nested containers; the limits stop values that contain themselves or each
/// other many times.
class Flattener {
 public:
  Flattener(const std::string& file, Storages& storages) : file_(file), storages_(storages) {}

  TensorMap run(const PickleValue& root) {
    if (root.kind == Kind::kTensor) {
      put("tensor", root);
    } else {
      visit(root, "", 0);
    }
    if (out_.empty()) bad(file_, "expected tensors, got none");
    return std::move(out_);
  }

 private:
  void visit(const PickleValue& value, const std::string& prefix, size_t depth) {
    if (depth > kMaxDepth) bad(file_, "expected nesting of at most 64 levels");
    if (++visited_ > kMaxVisited)
      fail(ErrorCode::kResourceLimit, "pth", file_ + ": expected at most four million values");
    if (value.kind == Kind::kTensor) {
      put(prefix, value);
    } else if (value.kind == Kind::kDict) {
      for (size_t i = 0; i + 1 < value.items.size(); i += 2) {
        const PickleValue& key = *value.items[i];
        if (key.kind == Kind::kString) {
          visit(*value.items[i + 1], join(prefix, key.text), depth + 1);
        } else if (key.kind == Kind::kInt) {
          visit(*value.items[i + 1], join(prefix, std::to_string(key.number)), depth + 1);
        }
      }
    } else if (value.kind == Kind::kList || value.kind == Kind::kTuple) {
      for (size_t i = 0; i < value.items.size(); ++i)
        visit(*value.items[i], join(prefix, std::to_string(i)), depth + 1);
    }
  }

  std::string join(const std::string& prefix, std::string_view key) const {
    if (prefix.size() + key.size() + 1 > kMaxNameLength)
      bad(file_, "expected names of at most 512 characters");
    return prefix.empty() ? std::string(key) : prefix + "." + std::string(key);
  }

  void put(const std::string& name, const PickleValue& value) {
    if (out_.size() >= kMaxTensors)
      fail(ErrorCode::kResourceLimit, "pth", file_ + ": expected at most a million tensors");
    if (!out_.emplace(name, storages_.tensor(value, name)).second)
      bad(file_, "tensor \"" + name + "\" appears twice");
  }

  const std::string& file_;
  Storages& storages_;
  size_t visited_ = 0;
  TensorMap out_;
};

TensorMap parse_zip(Bytes bytes, std::shared_ptr<const void> owner, const std::string& file) {
  std::map<std::string, ZipEntry> entries = read_zip(bytes, file);
  static constexpr std::string_view kPickle = "/data.pkl";
  std::string folder;
  bool found = false;
  for (const auto& [name, entry] : entries) {
    if (!name.ends_with(kPickle) || name.find('/') != name.size() - kPickle.size()) continue;
    folder = name.substr(0, name.size() - kPickle.size()) + "/";
    found = true;
  }
  if (!found) bad(file, "expected a data.pkl in the archive, got none");
  if (entries.count(folder + "constants.pkl")) {
    bad(file, "expected saved weights, got a TorchScript program; save its state_dict instead");
  }
  for (const auto& [name, entry] : entries) {
    if (!entry.stored) bad(file, "expected stored entries only, got a compressed one");
  }
  if (auto order = entries.find(folder + "byteorder"); order != entries.end()) {
    std::string text(order->second.bytes.begin(), order->second.bytes.end());
    if (text != "little") bad(file, "expected little-endian data");
  }
  Storages storages(file, std::move(owner));
  std::string data = folder + "data/";
  for (const auto& [name, entry] : entries) {
    if (name.starts_with(data)) storages.add(name.substr(data.size()), entry.bytes);
  }
  PickleMachine machine(entries.at(folder + "data.pkl").bytes, file);
  return Flattener(file, storages).run(machine.load());
}

/// PyTorch before 1.6: pickles of a magic number, a protocol, the machine, the object and the keys
/// of its storages, then for each key its length and its data.
TensorMap parse_legacy(Bytes bytes, std::shared_ptr<const void> owner, const std::string& file) {
  static constexpr char kMagic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  PickleMachine machine(bytes, file);
  if (machine.load().text != std::string_view(kMagic, 10))
    bad(file, "expected a PyTorch file, got another pickle");
  const PickleValue& protocol = machine.load();
  if (protocol.kind != Kind::kInt || protocol.number != 1001)
    bad(file, "expected version 1001 of the old format");
  const PickleValue& system = machine.load();
  for (size_t i = 0; i + 1 < system.items.size(); i += 2) {
    if (system.items[i]->text == "little_endian" && system.items[i + 1]->number == 0)
      bad(file, "expected little-endian data");
  }
  const PickleValue& root = machine.load();
  const PickleValue& keys = machine.load();
  if (keys.kind != Kind::kList) bad(file, "expected a list of storages");

  std::map<std::string_view, size_t> element_sizes = machine.storage_element_sizes();
  Storages storages(file, std::move(owner));
  size_t position = machine.position();
  for (const PickleValue* key : keys.items) {
    auto element = element_sizes.find(key->text);
    if (key->kind != Kind::kString || element == element_sizes.end())
      bad(file, "expected the key of a storage in use");
    int64_t count = 0;
    uint64_t size = 0;
    if (bytes.size() - position < 8) bad(file, "expected the length of a storage, got the end");
    std::memcpy(&count, bytes.data() + position, 8);
    position += 8;
    if (count < 0 || __builtin_mul_overflow(static_cast<uint64_t>(count), element->second, &size) ||
        size > bytes.size() - position) {
      bad(file,
          "expected the data of a storage of " + std::to_string(count) + " elements, got the end");
    }
    storages.add(std::string(key->text), bytes.subspan(position, size));
    position += size;
  }
  return Flattener(file, storages).run(root);
}

TensorMap parse(Bytes bytes, std::shared_ptr<const void> owner, const std::string& file) {
  if (looks_like_zip(bytes)) return parse_zip(bytes, std::move(owner), file);
  if (!bytes.empty() && bytes[0] == 0x80) return parse_legacy(bytes, std::move(owner), file);
  bad(file, "expected a PyTorch file (a zip archive or a pickle), got something else");
}

}  // namespace

TensorMap load_pth(const std::string& path) {
  auto map = MappedFile::open(path);
  return parse(map->bytes(), map, path);
}

TensorMap parse_pth(const std::string& bytes, const std::string& name) {
  auto copy = std::make_shared<const std::string>(bytes);
  return parse({reinterpret_cast<const uint8_t*>(copy->data()), copy->size()}, copy, name);
}

}  // namespace plait
