#include "plait/runtime/generate/grammar.h"

#include <algorithm>

#include "plait/core/error.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "grammar";
constexpr size_t kMaxStacks = 2048, kMaxStack = 1024, kMaxStates = 8192;
constexpr int kMaxDepth = 2000;

/// Stacks as bytes, to find them again.
std::string key_of(const Grammar::Stacks& stacks) {
  std::string key;
  for (const Grammar::Stack& stack : stacks) {
    const auto size = static_cast<uint32_t>(stack.size());
    key.append(reinterpret_cast<const char*>(&size), sizeof size);
    key.append(reinterpret_cast<const char*>(stack.data()), stack.size() * sizeof(int32_t));
  }
  return key;
}

void tidy(Grammar::Stacks& stacks) {
  std::sort(stacks.begin(), stacks.end());
  stacks.erase(std::unique(stacks.begin(), stacks.end()), stacks.end());
}

}  // namespace

Grammar::Grammar(std::vector<Element> elements, std::vector<Rule> rules, std::vector<Bytes> sets,
                 int32_t root)
    : elements_(std::move(elements)), rules_(std::move(rules)), sets_(std::move(sets)) {
  check_left_recursion();
  for (int32_t first : rules_[static_cast<size_t>(root)].alternatives) expand({first}, start_, 0);
  tidy(start_);
}

/// A rule that can begin with itself would be gone through for ever.
void Grammar::check_left_recursion() const {
  const auto element = [&](int32_t at) { return elements_[static_cast<size_t>(at)]; };
  std::vector<bool> nullable(rules_.size());
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t r = 0; r < rules_.size(); ++r) {
      if (nullable[r]) continue;
      for (int32_t at : rules_[r].alternatives) {
        while (element(at).kind == Element::Kind::kRule &&
               nullable[static_cast<size_t>(element(at).value)])
          ++at;
        if (element(at).kind != Element::Kind::kEnd) continue;
        nullable[r] = changed = true;
        break;
      }
    }
  }
  std::vector<std::vector<size_t>> begins(rules_.size());
  for (size_t r = 0; r < rules_.size(); ++r) {
    for (int32_t at : rules_[r].alternatives) {
      for (; element(at).kind == Element::Kind::kRule; ++at) {
        begins[r].push_back(static_cast<size_t>(element(at).value));
        if (!nullable[begins[r].back()]) break;
      }
    }
  }
  // Depth first, without recursion of our own: 1 is open, 2 is done.
  std::vector<int> seen(rules_.size());
  for (size_t root = 0; root < rules_.size(); ++root) {
    std::vector<std::pair<size_t, size_t>> path;
    if (seen[root] == 0) path.emplace_back(root, 0);
    while (!path.empty()) {
      auto& [rule, next] = path.back();
      seen[rule] = 1;
      if (next == begins[rule].size()) {
        seen[rule] = 2;
        path.pop_back();
        continue;
      }
      const size_t child = begins[rule][next++];
      if (seen[child] == 1)
        fail(ErrorCode::kInvalidArgument, kUnit,
             "expected rules that do not begin with themselves");
      if (seen[child] == 0) path.emplace_back(child, 0);
    }
  }
}

/// Between walks no number of a state is in use.
void Grammar::forget_if_full() const {
  if (states_.size() <= kMaxStates) return;
  states_.clear();
  numbers_.clear();
}

/// Goes through rules until every stack has a set of bytes on top, or is empty.
void Grammar::expand(Stack stack, Stacks& out, int depth) const {
  if (depth > kMaxDepth)
    fail(ErrorCode::kInvalidArgument, kUnit, "expected rules that do not begin with themselves");
  if (out.size() > kMaxStacks)
    fail(ErrorCode::kResourceLimit, kUnit, "expected a grammar with fewer ways at once");
  while (!stack.empty() && elements_[static_cast<size_t>(stack.back())].kind == Element::Kind::kEnd)
    stack.pop_back();
  if (stack.empty() || elements_[static_cast<size_t>(stack.back())].kind == Element::Kind::kBytes) {
    out.push_back(std::move(stack));
    return;
  }
  // What follows the rule stays on the stack, unless it is an end: then the stack does not grow in
  // loops.
  const Element rule = elements_[static_cast<size_t>(stack.back())];
  ++stack.back();
  while (!stack.empty() && elements_[static_cast<size_t>(stack.back())].kind == Element::Kind::kEnd)
    stack.pop_back();
  if (stack.size() > kMaxStack) return;
  for (int32_t first : rules_[static_cast<size_t>(rule.value)].alternatives) {
    Stack longer = stack;
    longer.push_back(first);
    expand(std::move(longer), out, depth + 1);
  }
}

int32_t Grammar::number(const Stacks& stacks) const {
  if (stacks.empty()) return kDead;
  std::string key = key_of(stacks);
  if (auto it = numbers_.find(key); it != numbers_.end()) return it->second;
  const auto number = static_cast<int32_t>(states_.size());
  states_.push_back({stacks, {}});
  states_.back().next.fill(kDead - 1);
  numbers_.emplace(std::move(key), number);
  return number;
}

int32_t Grammar::step(int32_t state, unsigned char byte) const {
  int32_t known = states_[static_cast<size_t>(state)].next[byte];
  if (known >= kDead) return known;
  Stacks next;
  for (const Stack& stack : states_[static_cast<size_t>(state)].stacks) {
    if (stack.empty()) continue;
    const Element& top = elements_[static_cast<size_t>(stack.back())];
    if (!sets_[static_cast<size_t>(top.value)][byte]) continue;
    Stack after = stack;
    ++after.back();
    expand(std::move(after), next, 0);
  }
  tidy(next);
  known = number(next);
  states_[static_cast<size_t>(state)].next[byte] = known;
  return known;
}

bool Grammar::may_end(const Stacks& stacks) {
  return std::any_of(stacks.begin(), stacks.end(), [](const Stack& s) { return s.empty(); });
}

bool Grammar::must_end(const Stacks& stacks) {
  return std::all_of(stacks.begin(), stacks.end(), [](const Stack& s) { return s.empty(); });
}

}  // namespace plait::runtime
