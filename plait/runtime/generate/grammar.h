#pragma once
#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "plait/core/json.h"

namespace plait::runtime {

/// A context-free grammar over bytes as a pushdown automaton. Configurations (sets of stacks) are
/// numbered when they are first met and their steps remembered, so that walking a vocabulary costs
/// a table look-up a byte. Thread-safe.
class Grammar {
 public:
  /// One place in the grammar: a set of bytes, a rule to go through, or the end of a sequence.
  struct Element {
    enum class Kind : uint8_t { kBytes, kRule, kEnd } kind;
    int32_t value = 0;  ///< Index of the set or of the rule
  };
  struct Rule {
    std::vector<int32_t> alternatives;  ///< First elements of its sequences
  };
  using Bytes = std::bitset<256>;
  using Stack = std::vector<int32_t>;  ///< Elements to go on with, the next one last
  using Stacks = std::vector<Stack>;   ///< Sorted, without duplicates

  /// GBNF as llama.cpp has it: `root ::= "yes" | "no" [0-9]{1,3}`. @throws Error kCorruptData with
  /// the line; kInvalidArgument for a rule that begins with itself or is missing; kResourceLimit.
  static std::shared_ptr<const Grammar> from_gbnf(const std::string& text);
  /// Texts of JSON that the schema accepts: type, properties, required, additionalProperties,
  /// items, minItems, maxItems, minLength, maxLength, pattern, minimum and maximum of integers
  /// (exclusive ones too), enum, const, anyOf, oneOf, $ref within the schema; one blank at most
  /// between parts, properties in the schema's order. @throws Error kInvalidArgument naming a key
  /// that is not supported.
  static std::shared_ptr<const Grammar> from_json_schema(const Json& schema);

  Grammar(std::vector<Element> elements, std::vector<Rule> rules, std::vector<Bytes> sets,
          int32_t root);

  static constexpr int32_t kDead = -1;
  /// The first configuration.
  const Stacks& start() const { return start_; }
  /// Calls f(state, step) under the lock: `state` is the number of `stacks`, step(state, byte) the
  /// number after a byte, or kDead.
  template <class F>
  auto walk(const Stacks& stacks, F f) const {
    std::lock_guard lock(mutex_);
    forget_if_full();
    const int32_t state = number(stacks);
    return f(state, [this](int32_t from, unsigned char byte) { return step(from, byte); });
  }
  /// The stacks of a number, for use inside of `walk`.
  Stacks stacks_of(int32_t state) const { return states_[static_cast<size_t>(state)].stacks; }

  /// The text may end here.
  static bool may_end(const Stacks& stacks);
  /// Nothing may follow.
  static bool must_end(const Stacks& stacks);

 private:
  struct State {
    Stacks stacks;
    std::array<int32_t, 256> next;
  };
  void check_left_recursion() const;
  void forget_if_full() const;
  int32_t number(const Stacks& stacks) const;
  int32_t step(int32_t state, unsigned char byte) const;
  void expand(Stack stack, Stacks& out, int depth) const;

  std::vector<Element> elements_;
  std::vector<Rule> rules_;
  std::vector<Bytes> sets_;
  Stacks start_;
  mutable std::mutex mutex_;
  mutable std::vector<State> states_;
  mutable std::unordered_map<std::string, int32_t> numbers_;
};

/// The GBNF text that from_json_schema goes by.
std::string json_schema_to_gbnf(const Json& schema);

}  // namespace plait::runtime
