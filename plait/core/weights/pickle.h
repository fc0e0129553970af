#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace plait {

/// A value of the part of Python that weight files need. Plain data, owned by its PickleMachine;
/// containers refer to other values and may share them or even contain themselves.
struct PickleValue {
  enum class Kind {
    kNone,
    kBool,
    kInt,
    kFloat,
    kString,
    kBytes,  ///< bytes, and integers of more than 64 bits (little endian)
    kTuple,
    kList,     ///< also sets
    kDict,     ///< `items` holds key, value, key, value ...
    kGlobal,   ///< one of the permitted names
    kDtype,    ///< torch.float32 ..., and the storage types of the same name
    kStorage,  ///< `text` is its key, `number` its count of elements, `number2` the offset of a
               ///< view
    kTensor,   ///< `items` is {storage}, `sizes`, `strides`, `number` the offset in elements
    kOpaque,   ///< something that is not weights and is dropped
    kCall,     ///< a call that is only written down: `text` names what would be called, `items` is
               ///< {arguments} or {arguments, state}
  };
  Kind kind = Kind::kNone;
  int64_t number = 0;
  int64_t number2 = 0;
  double real = 0;
  std::string_view text;  ///< Points into the pickle.
  c10::ScalarType dtype = c10::ScalarType::Undefined;
  std::vector<PickleValue*> items;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
};

/// Runs pickles of protocol 2 to 5 as torch.save writes them, as data: a global is a name in a
/// table, and REDUCE knows what to build from each. Nothing is imported or called; every other
/// global is refused. Memory is at most a fixed multiple of the input and bounded; there is no
/// recursion. Format: CPython's Lib/pickletools.py.
class PickleMachine {
 public:
  /// Views in the values point into `bytes`. `name` stands for the file in messages. `recorded`
  /// are further globals that the pickle may name, such as "numpy.dtype"; they outlive the machine.
  /// A call of one becomes a kCall value: for data in other libraries' classes.
  PickleMachine(std::span<const uint8_t> bytes, std::string name,
                std::span<const std::string_view> recorded = {})
      : bytes_(bytes), name_(std::move(name)), recorded_(recorded) {}

  /// Runs one pickle from the current position to its STOP; the values live as long as the machine.
  /// @throws Error kCorruptData with the position; kResourceLimit beyond four million values.
  const PickleValue& load();
  /// Where the last pickle ended.
  size_t position() const { return position_; }
  /// Bytes per element of every storage seen so far, by key.
  std::map<std::string_view, size_t> storage_element_sizes() const;

 private:
  using Kind = PickleValue::Kind;
  [[noreturn]] void bad(const std::string& what) const;
  uint64_t unsigned_number(int bytes);
  std::string_view take(uint64_t size);
  std::string_view take_line();
  PickleValue* make(Kind kind);
  void push(PickleValue* value) { stack_.push_back(value); }
  PickleValue* pop();
  PickleValue* top(Kind kind, const char* expected);
  std::vector<PickleValue*> pop_to_mark();
  void push_text(Kind kind, uint64_t size);
  void push_long(uint64_t size);
  void push_line(std::string_view digits);
  void push_tuple(size_t count);
  void put(uint64_t index);
  void get(uint64_t index);
  void push_global(std::string_view module, std::string_view attribute);
  /// Counts what instructions copy: an instruction of one byte may copy a long list, again and
  /// again.
  void spend(size_t items);
  void set_items(PickleValue* dict, const std::vector<PickleValue*>& pairs);
  void reduce();
  void build();
  void persistent_id();
  PickleValue* rebuild_tensor(std::string_view function,
                              const std::vector<PickleValue*>& arguments);
  /// Runs one instruction; false at STOP.
  bool step();
  bool step_number(uint8_t code);
  bool step_text(uint8_t code);
  bool step_container(uint8_t code);
  bool step_memo(uint8_t code);

  std::span<const uint8_t> bytes_;
  std::string name_;
  std::span<const std::string_view> recorded_;
  size_t position_ = 0;
  size_t copied_ = 0;
  std::deque<PickleValue> values_;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleValue*> memo_;
};

}  // namespace plait
