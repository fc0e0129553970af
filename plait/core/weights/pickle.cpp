#include "plait/core/weights/pickle.h"

#include <bit>
#include <charconv>
#include <cstring>

#include "plait/core/error.h"

namespace plait {
namespace {

constexpr size_t kMaxValues = 4'000'000;
constexpr size_t kMaxCopied = 16'000'000;

struct StorageName {
  std::string_view storage;  ///< torch.<storage>
  std::string_view dtype;    ///< torch.<dtype>
  c10::ScalarType type;
};
constexpr StorageName kStorages[] = {
    {"FloatStorage", "float32", c10::kFloat},
    {"HalfStorage", "float16", c10::kHalf},
    {"BFloat16Storage", "bfloat16", c10::kBFloat16},
    {"DoubleStorage", "float64", c10::kDouble},
    {"LongStorage", "int64", c10::kLong},
    {"IntStorage", "int32", c10::kInt},
    {"ShortStorage", "int16", c10::kShort},
    {"CharStorage", "int8", c10::kChar},
    {"ByteStorage", "uint8", c10::kByte},
    {"BoolStorage", "bool", c10::kBool},
    {"", "uint16", c10::kUInt16},
    {"", "uint32", c10::kUInt32},
    {"", "uint64", c10::kUInt64},
    {"", "float8_e4m3fn", c10::kFloat8_e4m3fn},
    {"", "float8_e5m2", c10::kFloat8_e5m2},
};

constexpr std::string_view kGlobals[] = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.Size",
    "torch.device",
    "_codecs.encode",
    "__builtin__.set",
    "builtins.set",
};

/// A name from the file, made safe to show.
std::string shown(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 60)) out += c > ' ' && c < 0x7f ? c : '?';
  return text.size() > 60 ? out + "..." : out;
}

}  // namespace

const PickleValue& PickleMachine::load() {
  stack_.clear();
  marks_.clear();
  memo_.clear();
  while (step()) {
  }
  return *pop();
}

std::map<std::string_view, size_t> PickleMachine::storage_element_sizes() const {
  std::map<std::string_view, size_t> out;
  for (const PickleValue& value : values_) {
    if (value.kind == Kind::kStorage) out.emplace(value.text, c10::elementSize(value.dtype));
  }
  return out;
}

void PickleMachine::bad(const std::string& what) const {
  fail(ErrorCode::kCorruptData, "pickle",
       name_ + ": " + what + " (at byte " + std::to_string(position_) + ")");
}

std::string_view PickleMachine::take(uint64_t size) {
  if (size > bytes_.size() - position_)
    bad("expected " + std::to_string(size) + " more bytes, got the end");
  std::string_view out(reinterpret_cast<const char*>(bytes_.data()) + position_, size);
  position_ += size;
  return out;
}

std::string_view PickleMachine::take_line() {
  std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_,
                        bytes_.size() - position_);
  size_t end = rest.find('\n');
  if (end == std::string_view::npos) bad("expected the end of a line, got the end");
  position_ += end + 1;
  return rest.substr(0, end);
}

uint64_t PickleMachine::unsigned_number(int bytes) {
  std::string_view raw = take(static_cast<uint64_t>(bytes));
  uint64_t out = 0;
  for (size_t i = raw.size(); i-- > 0;) out = out << 8 | static_cast<uint8_t>(raw[i]);
  return out;
}

PickleValue* PickleMachine::make(Kind kind) {
  if (values_.size() >= kMaxValues) {
    fail(ErrorCode::kResourceLimit, "pickle", name_ + ": expected at most four million values");
  }
  PickleValue& value = values_.emplace_back();
  value.kind = kind;
  return &value;
}

PickleValue* PickleMachine::pop() {
  size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor) bad("expected a value on the stack, got none");
  PickleValue* value = stack_.back();
  stack_.pop_back();
  return value;
}

PickleValue* PickleMachine::top(Kind kind, const char* expected) {
  size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor || stack_.back()->kind != kind)
    bad(std::string("expected ") + expected + " on the stack");
  return stack_.back();
}

std::vector<PickleValue*> PickleMachine::pop_to_mark() {
  if (marks_.empty()) bad("expected a mark on the stack, got none");
  auto begin = stack_.begin() + static_cast<ptrdiff_t>(marks_.back());
  std::vector<PickleValue*> out(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return out;
}

bool PickleMachine::step() {
  uint8_t code = static_cast<uint8_t>(take(1)[0]);
  switch (code) {
    case 0x80: {  // PROTO
      uint64_t protocol = unsigned_number(1);
      if (protocol < 2 || protocol > 5)
        bad("expected a pickle of protocol 2 to 5, got " + std::to_string(protocol));
      return true;
    }
    case 0x95:  // FRAME
      unsigned_number(8);
      return true;
    case '.': return false;
    case 'c': {
      std::string_view module = take_line();
      push_global(module, take_line());
      return true;
    }
    case 0x93: {  // STACK_GLOBAL
      std::string_view attribute = top(Kind::kString, "a string")->text;
      pop();
      std::string_view module = top(Kind::kString, "a string")->text;
      pop();
      push_global(module, attribute);
      return true;
    }
    case 'R': reduce(); return true;
    case 'b': build(); return true;
    case 'Q': persistent_id(); return true;
  }
  if (step_number(code) || step_text(code) || step_container(code) || step_memo(code)) return true;
  static constexpr char kHex[] = "0123456789abcdef";
  bad(std::string("expected an instruction that weights need, got 0x") + kHex[code >> 4] +
      kHex[code & 15]);
}

bool PickleMachine::step_number(uint8_t code) {
  auto integer = [&](int64_t v) {
    PickleValue* value = make(Kind::kInt);
    value->number = v;
    push(value);
  };
  switch (code) {
    case 'N': push(make(Kind::kNone)); return true;
    case 'I': push_line(take_line()); return true;
    case 0x88:
    case 0x89: {
      PickleValue* value = make(Kind::kBool);
      value->number = code == 0x88;
      push(value);
      return true;
    }
    case 'J': integer(static_cast<int32_t>(unsigned_number(4))); return true;
    case 'K': integer(static_cast<int64_t>(unsigned_number(1))); return true;
    case 'M': integer(static_cast<int64_t>(unsigned_number(2))); return true;
    case 0x8a: push_long(unsigned_number(1)); return true;
    case 0x8b: push_long(unsigned_number(4)); return true;
    case 'G': {
      PickleValue* value = make(Kind::kFloat);
      value->real = std::bit_cast<double>(__builtin_bswap64(unsigned_number(8)));
      push(value);
      return true;
    }
  }
  return false;
}

void PickleMachine::push_long(uint64_t size) {
  std::string_view raw = take(size);
  PickleValue* value = make(raw.size() > 8 ? Kind::kBytes : Kind::kInt);
  value->text = raw;
  if (raw.size() <= 8) {
    uint64_t v = !raw.empty() && (raw.back() & 0x80) ? ~uint64_t{0} : 0;
    for (size_t i = raw.size(); i-- > 0;) v = v << 8 | static_cast<uint8_t>(raw[i]);
    value->number = static_cast<int64_t>(v);
  }
  push(value);
}

void PickleMachine::push_line(std::string_view digits) {
  const bool truth = digits == "00" || digits == "01";
  PickleValue* value = make(truth ? Kind::kBool : Kind::kInt);
  auto [end, error] = std::from_chars(digits.begin(), digits.end(), value->number);
  if (error != std::errc() || end != digits.end()) bad("expected a number in a line");
  push(value);
}

bool PickleMachine::step_text(uint8_t code) {
  switch (code) {
    case 'X':
    case 'T': push_text(Kind::kString, unsigned_number(4)); return true;
    case 0x8c:
    case 'U': push_text(Kind::kString, unsigned_number(1)); return true;
    case 0x8d: push_text(Kind::kString, unsigned_number(8)); return true;
    case 'B': push_text(Kind::kBytes, unsigned_number(4)); return true;
    case 'C': push_text(Kind::kBytes, unsigned_number(1)); return true;
    case 0x8e:
    case 0x96: push_text(Kind::kBytes, unsigned_number(8)); return true;
  }
  return false;
}

void PickleMachine::push_text(Kind kind, uint64_t size) {
  std::string_view text = take(size);
  PickleValue* value = make(kind);
  value->text = text;
  push(value);
}

bool PickleMachine::step_container(uint8_t code) {
  switch (code) {
    case '(': marks_.push_back(stack_.size()); return true;
    case ')': push(make(Kind::kTuple)); return true;
    case 0x85:
    case 0x86:
    case 0x87: push_tuple(code - 0x84u); return true;
    case 't':
    case 'l':
    case 0x91: {  // TUPLE, LIST, FROZENSET
      auto items = pop_to_mark();
      PickleValue* value = make(code == 't' ? Kind::kTuple : Kind::kList);
      value->items = std::move(items);
      push(value);
      return true;
    }
    case ']':
    case 0x8f: push(make(Kind::kList)); return true;
    case 'a': {
      PickleValue* item = pop();
      top(Kind::kList, "a list")->items.push_back(item);
      return true;
    }
    case 'e':
    case 0x90: {  // APPENDS, ADDITEMS
      auto items = pop_to_mark();
      auto& list = top(Kind::kList, "a list")->items;
      list.insert(list.end(), items.begin(), items.end());
      return true;
    }
    case '}': push(make(Kind::kDict)); return true;
    case 'd': {
      auto pairs = pop_to_mark();
      PickleValue* dict = make(Kind::kDict);
      set_items(dict, pairs);
      push(dict);
      return true;
    }
    case 's': {
      PickleValue* value = pop();
      PickleValue* key = pop();
      set_items(top(Kind::kDict, "a dictionary"), {key, value});
      return true;
    }
    case 'u': {
      auto pairs = pop_to_mark();
      set_items(top(Kind::kDict, "a dictionary"), pairs);
      return true;
    }
  }
  return false;
}

void PickleMachine::push_tuple(size_t count) {
  std::vector<PickleValue*> items(count);
  for (size_t i = count; i-- > 0;) items[i] = pop();
  PickleValue* value = make(Kind::kTuple);
  value->items = std::move(items);
  push(value);
}

void PickleMachine::spend(size_t items) {
  copied_ += items;
  if (copied_ > kMaxCopied)
    fail(ErrorCode::kResourceLimit, "pickle", name_ + ": expected fewer copies of long lists");
}

void PickleMachine::set_items(PickleValue* dict, const std::vector<PickleValue*>& pairs) {
  if (pairs.size() % 2) bad("expected keys with values, got an odd number of them");
  dict->items.insert(dict->items.end(), pairs.begin(), pairs.end());
}

bool PickleMachine::step_memo(uint8_t code) {
  switch (code) {
    case 'q': put(unsigned_number(1)); return true;
    case 'r': put(unsigned_number(4)); return true;
    case 0x94: put(memo_.size()); return true;
    case 'h': get(unsigned_number(1)); return true;
    case 'j': get(unsigned_number(4)); return true;
    case '0': pop(); return true;
    case '1': pop_to_mark(); return true;
    case '2':
      push(pop());
      push(stack_.back());
      return true;
  }
  return false;
}

void PickleMachine::put(uint64_t index) {
  PickleValue* value = pop();
  push(value);
  memo_[index] = value;
}

void PickleMachine::get(uint64_t index) {
  auto it = memo_.find(index);
  if (it == memo_.end()) bad("expected a remembered value, got an unknown number");
  push(it->second);
}

void PickleMachine::push_global(std::string_view module, std::string_view attribute) {
  bool torch = module == "torch" || module == "torch.cuda";
  for (const StorageName& s : kStorages) {
    if (torch && !attribute.empty() && (attribute == s.storage || attribute == s.dtype)) {
      PickleValue* value = make(Kind::kDtype);
      value->dtype = s.type;
      push(value);
      return;
    }
  }
  if (module == "torch.storage" && attribute == "UntypedStorage") {
    PickleValue* value = make(Kind::kDtype);
    value->dtype = c10::kByte;
    push(value);
    return;
  }
  const bool dotted = attribute.find('.') != std::string_view::npos;
  for (auto [names, recorded] : {std::pair{recorded_, 1}, {std::span(kGlobals), 0}}) {
    for (std::string_view name : names) {
      if (!dotted && name.size() == module.size() + 1 + attribute.size() &&
          name.starts_with(module) && name.ends_with(attribute) && name[module.size()] == '.') {
        PickleValue* value = make(Kind::kGlobal);
        value->text = name;
        value->number = recorded;
        push(value);
        return;
      }
    }
  }
  bad("expected only tensors and containers, got the global " + shown(module) + "." +
      shown(attribute) + ", which is refused because loading it would run code");
}

void PickleMachine::reduce() {
  PickleValue* tuple = top(Kind::kTuple, "a tuple");
  const std::vector<PickleValue*>& arguments = tuple->items;
  pop();
  const PickleValue* global = top(Kind::kGlobal, "a permitted function");
  std::string_view function = global->text;
  pop();
  if (global->number == 1) {
    PickleValue* call = make(Kind::kCall);
    call->text = function;
    call->items = {tuple};
    return push(call);
  }
  if (function == "collections.OrderedDict") {
    PickleValue* dict = make(Kind::kDict);
    if (!arguments.empty()) {
      spend(arguments[0]->items.size());
      for (PickleValue* pair : arguments[0]->items) {
        if (pair->items.size() != 2) bad("expected pairs in an OrderedDict");
        set_items(dict, pair->items);
      }
    }
    return push(dict);
  }
  if (function.ends_with(".set") || function == "torch.Size") {
    PickleValue* list = make(function == "torch.Size" ? Kind::kTuple : Kind::kList);
    if (!arguments.empty()) {
      spend(arguments[0]->items.size());
      list->items = arguments[0]->items;
    }
    return push(list);
  }
  if (function == "torch.device" || function == "_codecs.encode") return push(make(Kind::kOpaque));
  if (function.starts_with("torch._utils._rebuild_parameter")) {
    if (arguments.empty() || arguments[0]->kind != Kind::kTensor)
      bad("expected a tensor in a parameter");
    return push(arguments[0]);
  }
  push(rebuild_tensor(function, arguments));
}

PickleValue* PickleMachine::rebuild_tensor(std::string_view function,
                                           const std::vector<PickleValue*>& arguments) {
  bool v3 = function.ends_with("_v3");
  if (arguments.size() < (v3 ? 7u : 4u) || arguments[0]->kind != Kind::kStorage ||
      arguments[1]->kind != Kind::kInt || arguments[2]->kind != Kind::kTuple ||
      arguments[3]->kind != Kind::kTuple) {
    bad("expected a storage, an offset, sizes and strides in a tensor");
  }
  PickleValue* tensor = make(Kind::kTensor);
  tensor->items = {arguments[0]};
  tensor->dtype = arguments[0]->dtype;
  if (v3) {
    if (arguments[6]->kind != Kind::kDtype) bad("expected a dtype in a tensor");
    tensor->dtype = arguments[6]->dtype;
  }
  tensor->number = arguments[1]->number;
  for (auto [from, to] :
       {std::pair{arguments[2], &tensor->sizes}, std::pair{arguments[3], &tensor->strides}}) {
    if (from->items.size() > 64) bad("expected at most 64 dimensions");
    for (PickleValue* extent : from->items) {
      if (extent->kind != Kind::kInt) bad("expected integers as sizes and strides");
      to->push_back(extent->number);
    }
  }
  return tensor;
}

void PickleMachine::build() {
  PickleValue* state = pop();
  if (size_t floor = marks_.empty() ? 0 : marks_.back();
      stack_.size() > floor && stack_.back()->kind == Kind::kCall) {
    if (stack_.back()->items.size() > 1) bad("expected one state of an object");
    stack_.back()->items.push_back(state);
    return;
  }
  // A state dict carries its `_metadata` this way: versions of modules, which weights do not need.
  top(Kind::kDict, "a dictionary");
  if (state->kind != Kind::kDict && state->kind != Kind::kTuple)
    bad("expected a dictionary as state");
}

void PickleMachine::persistent_id() {
  const std::vector<PickleValue*>& id = top(Kind::kTuple, "a tuple")->items;
  pop();
  bool valid = id.size() >= 5 && id[0]->kind == Kind::kString && id[0]->text == "storage" &&
               id[1]->kind == Kind::kDtype && id[2]->kind == Kind::kString &&
               id[4]->kind == Kind::kInt;
  if (!valid) bad("expected the id of a storage");
  PickleValue* storage = make(Kind::kStorage);
  storage->dtype = id[1]->dtype;
  storage->text = id[2]->text;
  storage->number = id[4]->number;
  if (id.size() > 5 && id[5]->kind == Kind::kTuple) {
    const auto& view =
        id[5]->items;  // (key, offset, size): a storage that is part of another, before PyTorch 0.4
    if (view.size() != 3 || view[1]->kind != Kind::kInt || view[2]->kind != Kind::kInt)
      bad("expected a storage view");
    storage->number2 = view[1]->number;
  }
  push(storage);
}

}  // namespace plait
