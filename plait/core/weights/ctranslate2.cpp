#include "plait/core/weights/ctranslate2.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <span>
#include <string_view>

#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait {
namespace {

constexpr uint32_t kMaxVariables = 1'000'000;
constexpr c10::ScalarType kTypes[] = {at::kFloat, at::kChar, at::kShort,
                                      at::kInt,   at::kHalf, at::kBFloat16};

class Reader {
 public:
  Reader(std::span<const uint8_t> bytes, std::shared_ptr<const void> owner, const std::string& file)
      : bytes_(bytes), owner_(std::move(owner)), file_(file) {}

  CTranslate2Model run() {
    CTranslate2Model model;
    auto version = number<uint32_t>("version");
    if (version < 4 || version > 6)
      bad("expected binary version 4 to 6, got " + std::to_string(version));
    model.spec = text("name of the model");
    model.revision = number<uint32_t>("revision");
    auto variables = number<uint32_t>("number of variables");
    if (variables > kMaxVariables)
      bad("expected at most a million variables, got " + std::to_string(variables));
    for (uint32_t i = 0; i < variables; ++i) {
      std::string name = text("name of a variable");
      at::Tensor value = tensor(name);
      if (!model.variables.emplace(name, value).second)
        bad("variable \"" + name + "\" appears twice");
    }
    auto aliases = number<uint32_t>("number of aliases");
    if (aliases > kMaxVariables)
      bad("expected at most a million aliases, got " + std::to_string(aliases));
    for (uint32_t i = 0; i < aliases; ++i) {
      std::string alias = text("name of an alias");
      std::string name = text("target of an alias");
      auto target = model.variables.find(name);
      if (target == model.variables.end())
        bad("alias \"" + alias + "\": expected a variable \"" + name + "\", got none");
      model.variables.emplace(alias, target->second);
      auto scale = model.variables.find(name + "_scale");
      if (scale != model.variables.end()) model.variables.emplace(alias + "_scale", scale->second);
    }
    return model;
  }

 private:
  [[noreturn]] void bad(const std::string& what) const {
    fail(ErrorCode::kCorruptData, "ctranslate2", file_ + ": " + what);
  }

  std::span<const uint8_t> take(size_t size, const std::string& what) {
    if (size > bytes_.size() - position_) {
      bad("expected " + std::to_string(size) + " bytes for the " + what +
          ", got the end of the file");
    }
    auto out = bytes_.subspan(position_, size);
    position_ += size;
    return out;
  }

  template <class T>
  T number(const std::string& what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  /// The stored length counts a closing zero byte.
  std::string text(const std::string& what) {
    auto size = number<uint16_t>(what);
    auto raw = take(size, what);
    if (raw.empty() || raw.back() != 0) bad("expected the " + what + " to end with a zero byte");
    return {reinterpret_cast<const char*>(raw.data()), raw.size() - 1};
  }

  at::Tensor tensor(const std::string& name) {
    std::string what = "variable \"" + name + "\"";
    std::vector<int64_t> shape(number<uint8_t>(what));
    if (shape.size() > 64)
      bad(what + ": expected at most 64 dimensions, got " + std::to_string(shape.size()));
    for (int64_t& extent : shape) extent = number<uint32_t>(what);
    auto type = number<uint8_t>(what);
    if (type >= std::size(kTypes))
      bad(what + ": expected a known dtype, got number " + std::to_string(type));
    uint64_t size = number<uint32_t>(what);
    uint64_t expected = c10::elementSize(kTypes[type]);
    uint64_t volume = 1;  // as if no extent were 0: LibTorch multiplies them without a check
    bool fits = true;
    for (int64_t extent : shape) {
      fits = fits &&
             !__builtin_mul_overflow(volume, static_cast<uint64_t>(std::max<int64_t>(extent, 1)),
                                     &volume) &&
             volume < (uint64_t{1} << 62) &&
             !__builtin_mul_overflow(expected, static_cast<uint64_t>(extent), &expected);
    }
    if (!fits || expected != size) {
      bad(what + ": expected as many bytes as its shape needs, got " + std::to_string(size));
    }
    auto raw = take(size, what);
    auto options = at::TensorOptions(kTypes[type]);
    if (size > 0 && reinterpret_cast<uintptr_t>(raw.data()) % c10::elementSize(kTypes[type]) == 0) {
      auto owner = owner_;
      return at::from_blob(
          const_cast<uint8_t*>(raw.data()), shape, [owner](void*) {}, options);
    }
    at::Tensor copy = at::empty(shape, options);
    if (size > 0) std::memcpy(copy.data_ptr(), raw.data(), size);
    return copy;
  }

  std::span<const uint8_t> bytes_;
  std::shared_ptr<const void> owner_;
  const std::string& file_;
  size_t position_ = 0;
};

}  // namespace

CTranslate2Model load_ctranslate2(const std::string& path) {
  auto map = MappedFile::open(path);
  return Reader(map->bytes(), map, path).run();
}

CTranslate2Model parse_ctranslate2(const std::string& bytes, const std::string& name) {
  auto copy = std::make_shared<const std::string>(bytes);
  return Reader({reinterpret_cast<const uint8_t*>(copy->data()), copy->size()}, copy, name).run();
}

}  // namespace plait
