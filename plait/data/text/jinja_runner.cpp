#include "plait/data/text/jinja_runner.h"

#include <algorithm>
#include <ctime>
#include <map>

#include "plait/core/error.h"
#include "plait/data/text/jinja_builtins.h"

namespace plait::data::jinja {
namespace {

using Kind = Expression::Kind;

/// Names of one block; the outer ones are seen through it.
struct Scope {
  std::map<std::string, Value> names;
  Scope* outer = nullptr;
  const Value* find(const std::string& name) const {
    for (const Scope* s = this; s; s = s->outer) {
      if (auto it = s->names.find(name); it != s->names.end()) return &it->second;
    }
    return nullptr;
  }
};

enum class Flow { kOn, kBreak, kContinue };

Value range(const Arguments& a) {
  int64_t begin = 0, end = 0, step = 1;
  if (a.values.empty() || a.values.size() > 3) fail_template("range: expected 1 to 3 numbers");
  if (a.values.size() == 1) {
    end = a.values[0].integer();
  } else {
    begin = a.values[0].integer();
    end = a.values[1].integer();
    if (a.values.size() == 3) step = a.values[2].integer();
  }
  if (step == 0) fail_template("range: expected a step other than 0");
  std::vector<Value> out;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (out.size() >= 100000) fail(ErrorCode::kResourceLimit, "template", "the range is too long");
    out.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::list(std::move(out));
}

Value now(const Arguments& a) {
  const Value* format = a.get(0, "format");
  if (!format || format->text().size() > 200) fail_template("strftime_now: expected a format");
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  localtime_r(&time, &parts);
  char text[1024];
  return std::string(text, std::strftime(text, sizeof text, format->text().c_str(), &parts));
}

Value made(const char* name, std::function<Value(const Arguments&)> call) {
  return std::make_shared<Callable>(Callable{name, std::move(call)});
}

int64_t clamped(int64_t index, int64_t length, int64_t low, int64_t high) {
  if (index < 0) index += length;
  return std::clamp(index, low, high);
}

class Runner {
 public:
  Runner(const Json& variables, const Limits& limits) : limits_(limits) {
    globals_.names["range"] = made("range", range);
    globals_.names["strftime_now"] = made("strftime_now", now);
    globals_.names["raise_exception"] = made("raise_exception", [](const Arguments& a) -> Value {
      const Value* message = a.get(0, "message");
      fail_template(message ? message->str() : "raise_exception");
    });
    for (bool is_namespace : {false, true}) {
      globals_.names[is_namespace ? "namespace" : "dict"] =
          made(is_namespace ? "namespace" : "dict", [is_namespace](const Arguments& a) -> Value {
            auto dict = std::make_shared<Dict>();
            dict->is_namespace = is_namespace;
            for (const Value& v : a.values) {
              if (Dict* d = v.dict_of())
                dict->items.insert(dict->items.end(), d->items.begin(), d->items.end());
            }
            for (const auto& [key, value] : a.named) dict->items.emplace_back(key, value);
            return dict;
          });
    }
    for (const auto& [key, value] : variables.members())
      globals_.names[key] = Value::from_json(value);
  }

  std::string run(const std::vector<Statement>& statements) {
    std::string out;
    execute(statements, globals_, out);
    return out;
  }

 private:
  struct Deeper {
    explicit Deeper(Runner& r) : runner(r) {
      if (++runner.depth_ > 400)
        fail(ErrorCode::kResourceLimit, "template", "expected calls nested less deep");
    }
    ~Deeper() { --runner.depth_; }
    Runner& runner;
  };

  void count(int64_t steps = 1) {
    if ((steps_ += steps) > limits_.steps)
      fail(ErrorCode::kResourceLimit, "template", "the template does not come to an end");
  }
  /// Texts cost by their length too, or a loop could copy gigabytes.
  void count_text(const Value& value) {
    if (value.is_string()) count(static_cast<int64_t>(value.text().size() / 256));
  }
  void append(std::string& out, const std::string& text) {
    if (out.size() + text.size() > limits_.text)
      fail(ErrorCode::kResourceLimit, "template", "the text is too long");
    out += text;
  }

  Flow execute(const std::vector<Statement>& statements, Scope& scope, std::string& out) {
    Deeper deeper(*this);
    for (const Statement& s : statements) {
      count();
      Flow flow = Flow::kOn;
      switch (s.kind) {
        case Statement::Kind::kText: append(out, s.text); break;
        case Statement::Kind::kOutput: append(out, evaluate(*s.expression, scope).str()); break;
        case Statement::Kind::kIf: flow = choose(s, scope, out); break;
        case Statement::Kind::kFor: loop(s, scope, out); break;
        case Statement::Kind::kSet: assign(s, scope); break;
        case Statement::Kind::kMacro: define(s, scope); break;
        case Statement::Kind::kFilter: {
          std::string body;
          Scope inner{{}, &scope};
          flow = execute(s.body, inner, body);
          append(out, filtered(*s.expression, body, scope).str());
          break;
        }
        case Statement::Kind::kBlock: flow = execute(s.body, scope, out); break;
        case Statement::Kind::kBreak: return Flow::kBreak;
        case Statement::Kind::kContinue: return Flow::kContinue;
      }
      if (flow != Flow::kOn) return flow;
    }
    return Flow::kOn;
  }

  Flow choose(const Statement& s, Scope& scope, std::string& out) {
    for (const auto& [condition, body] : s.branches) {
      if (!condition || evaluate(*condition, scope).truthy()) return execute(body, scope, out);
    }
    return Flow::kOn;
  }

  static void bind(const std::vector<std::string>& names, const Value& value, Scope& scope) {
    if (names.size() == 1) {
      scope.names[names[0]] = value;
      return;
    }
    std::vector<Value> parts = iterate(value);
    if (parts.size() != names.size()) fail_template("expected as many values as names");
    for (size_t i = 0; i < names.size(); ++i) scope.names[names[i]] = parts[i];
  }

  void loop(const Statement& s, Scope& scope, std::string& out) {
    std::vector<Value> items = iterate(evaluate(*s.expression, scope));
    if (s.condition) {
      std::vector<Value> kept;
      for (const Value& item : items) {
        count();
        Scope inner{{}, &scope};
        bind(s.names, item, inner);
        if (evaluate(*s.condition, inner).truthy()) kept.push_back(item);
      }
      items = std::move(kept);
    }
    if (items.empty()) {
      Scope inner{{}, &scope};
      execute(s.otherwise, inner, out);
      return;
    }
    const auto length = static_cast<int64_t>(items.size());
    for (int64_t i = 0; i < length; ++i) {
      count();
      const auto at = [&](int64_t place) -> Value {
        if (place < 0 || place >= length) return Undefined{"loop item"};
        return items[static_cast<size_t>(place)];
      };
      Scope inner{{}, &scope};
      inner.names["loop"] =
          Value::dict({{"index", i + 1},
                       {"index0", i},
                       {"first", i == 0},
                       {"last", i + 1 == length},
                       {"length", length},
                       {"revindex", length - i},
                       {"revindex0", length - i - 1},
                       {"previtem", at(i - 1)},
                       {"nextitem", at(i + 1)},
                       {"cycle", made("cycle", [i](const Arguments& a) -> Value {
                          if (a.values.empty()) fail_template("cycle: expected values");
                          return a.values[static_cast<size_t>(i) % a.values.size()];
                        })}});
      bind(s.names, items[static_cast<size_t>(i)], inner);
      if (execute(s.body, inner, out) == Flow::kBreak) break;
    }
  }

  void assign(const Statement& s, Scope& scope) {
    Value value;
    if (s.expression) {
      value = evaluate(*s.expression, scope);
    } else {
      std::string body;
      Scope inner{{}, &scope};
      execute(s.body, inner, body);
      value = s.condition ? filtered(*s.condition, body, scope) : Value(std::move(body));
    }
    const size_t dot = s.names[0].find('.');
    if (dot == std::string::npos) return bind(s.names, value, scope);
    const Value* object = scope.find(s.names[0].substr(0, dot));
    Dict* dict = object ? object->dict_of() : nullptr;
    if (!dict || !dict->is_namespace) fail_template("expected a namespace to set an attribute of");
    const std::string key = s.names[0].substr(dot + 1);
    if (value.list_of() || value.dict_of()) {
      // A namespace that held itself would never be freed.
      if (holds(value, dict, 0)) fail_template("a namespace cannot hold itself");
    }
    if (Value* old = dict->find(key)) {
      *old = std::move(value);
    } else {
      dict->items.emplace_back(key, std::move(value));
    }
  }

  static bool holds(const Value& value, const Dict* wanted, int depth) {
    if (depth > 100) return true;
    if (Dict* dict = value.dict_of()) {
      return dict == wanted ||
             std::any_of(dict->items.begin(), dict->items.end(),
                         [&](const auto& item) { return holds(item.second, wanted, depth + 1); });
    }
    List* list = value.list_of();
    return list && std::any_of(list->items.begin(), list->items.end(),
                               [&](const Value& v) { return holds(v, wanted, depth + 1); });
  }

  void define(const Statement& s, Scope& scope) {
    scope.names[s.text] = made(s.text.c_str(), [this, &s](const Arguments& a) -> Value {
      Scope inner{{}, &globals_};
      if (a.values.size() > s.parameters.size())
        fail_template(s.text.substr(0, 40) + ": expected fewer arguments");
      for (const auto& [name, value] : a.named) {
        if (std::none_of(s.parameters.begin(), s.parameters.end(),
                         [&](const auto& p) { return p.first == name; }))
          fail_template(s.text.substr(0, 40) + ": no argument " + name.substr(0, 40));
      }
      for (size_t i = 0; i < s.parameters.size(); ++i) {
        const auto& [name, fallback] = s.parameters[i];
        const Value* given = a.get(i, name.c_str());
        inner.names[name] = given      ? *given
                            : fallback ? evaluate(*fallback, inner)
                                       : Value(Undefined{name});
      }
      std::string out;
      execute(s.body, inner, out);
      return out;
    });
  }

  /// A chain of filters whose innermost operand is a text.
  Value filtered(const Expression& chain, const std::string& text, Scope& scope) {
    const Expression* inner = chain.children[0].get();
    Value operand = inner ? filtered(*inner, text, scope) : Value(text);
    return apply_filter(chain.name, operand, arguments(chain, scope));
  }

  Arguments arguments(const Expression& e, Scope& scope) {
    Arguments out;
    for (size_t i = 1; i < e.children.size(); ++i)
      out.values.push_back(evaluate(*e.children[i], scope));
    for (const auto& [name, value] : e.named) out.named.emplace_back(name, evaluate(*value, scope));
    return out;
  }

  Value evaluate(const Expression& e, Scope& scope) {
    Deeper deeper(*this);
    count();
    Value out = compute(e, scope);
    count_text(out);
    return out;
  }

  Value compute(const Expression& e, Scope& scope) {
    const auto child = [&](size_t i) { return evaluate(*e.children[i], scope); };
    switch (e.kind) {
      case Kind::kLiteral: return e.value;
      case Kind::kName: {
        const Value* found = scope.find(e.name);
        return found ? *found : Value(Undefined{e.name});
      }
      case Kind::kList: {
        std::vector<Value> items;
        for (const auto& item : e.children) items.push_back(evaluate(*item, scope));
        return e.name.empty() ? Value::list(std::move(items)) : Value::tuple(std::move(items));
      }
      case Kind::kDict: {
        auto dict = std::make_shared<Dict>();
        for (size_t i = 0; i < e.children.size(); i += 2) {
          std::string key = child(i).str();
          Value value = child(i + 1);
          if (Value* old = dict->find(key)) {
            *old = std::move(value);
          } else {
            dict->items.emplace_back(std::move(key), std::move(value));
          }
        }
        return dict;
      }
      case Kind::kAttribute: return attribute(child(0), e.name);
      case Kind::kItem: return item(child(0), child(1));
      case Kind::kSlice: return slice(e, scope);
      case Kind::kCall: return call(e, scope);
      case Kind::kFilter: {
        Value operand = child(0);
        if (List* list = operand.list_of()) count(static_cast<int64_t>(list->items.size()));
        return apply_filter(e.name, operand, arguments(e, scope));
      }
      case Kind::kTest: return apply_test(e.name, child(0), arguments(e, scope));
      case Kind::kNot: return !child(0).truthy();
      case Kind::kNegative: return arithmetic("*", child(0), int64_t{-1});
      case Kind::kPositive: return arithmetic("*", child(0), int64_t{1});
      case Kind::kBinary: return arithmetic(e.name, child(0), child(1));
      case Kind::kAnd: {
        Value first = child(0);
        return first.truthy() ? child(1) : first;
      }
      case Kind::kOr: {
        Value first = child(0);
        return first.truthy() ? first : child(1);
      }
      case Kind::kCompare: return compare(e, scope);
      case Kind::kChoice:
        if (child(1).truthy()) return child(0);
        return e.children[2] ? child(2) : Value(Undefined{});
    }
    return {};
  }

  Value compare(const Expression& e, Scope& scope) {
    Value left = evaluate(*e.children[0], scope);
    for (size_t i = 0; i < e.operators.size(); ++i) {
      Value right = evaluate(*e.children[i + 1], scope);
      const std::string& op = e.operators[i];
      if (List* list = right.list_of()) count(static_cast<int64_t>(list->items.size()));
      const bool holds = op == "=="   ? equal(left, right)
                         : op == "!=" ? !equal(left, right)
                         : op == "<"  ? less(left, right)
                         : op == ">"  ? less(right, left)
                         : op == "<=" ? !less(right, left)
                         : op == ">=" ? !less(left, right)
                         : op == "in" ? contains(right, left)
                                      : !contains(right, left);
      if (!holds) return false;
      left = std::move(right);
    }
    return true;
  }

  static Value item(const Value& object, const Value& index) {
    if (List* list = object.list_of()) {
      if (!index.is_integer()) return Undefined{"item"};
      int64_t i = index.integer();
      const auto length = static_cast<int64_t>(list->items.size());
      if (i < 0) i += length;
      return i >= 0 && i < length ? list->items[static_cast<size_t>(i)] : Value(Undefined{"item"});
    }
    if (object.is_string() && index.is_integer()) {
      std::vector<std::string> all = characters(object.text());
      int64_t i = index.integer();
      if (i < 0) i += static_cast<int64_t>(all.size());
      return i >= 0 && i < static_cast<int64_t>(all.size()) ? Value(all[static_cast<size_t>(i)])
                                                            : Value(Undefined{"item"});
    }
    return attribute(object, index.str());
  }

  Value slice(const Expression& e, Scope& scope) {
    const Value object = evaluate(*e.children[0], scope);
    const auto bound = [&](size_t i) {
      return e.children[i] ? evaluate(*e.children[i], scope) : Value();
    };
    const Value begin = bound(1), end = bound(2), stride = bound(3);
    const int64_t step = stride.is_none() ? 1 : stride.integer();
    if (step == 0) fail_template("expected a slice with a step other than 0");
    if (!object.is_string() && !object.list_of()) {
      if (object.is_undefined()) fail_template(object.type_name() + " cannot be sliced");
      fail_template("expected a list or a string to slice, got " + object.type_name());
    }
    std::vector<Value> items = iterate(object);
    count(static_cast<int64_t>(items.size() / 16));
    const auto length = static_cast<int64_t>(items.size());
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? length : length - 1;
    int64_t from =
        begin.is_none() ? (step > 0 ? low : high) : clamped(begin.integer(), length, low, high);
    const int64_t to =
        end.is_none() ? (step > 0 ? high : low) : clamped(end.integer(), length, low, high);
    std::vector<Value> out;
    while (step > 0 ? from < to : from > to) {
      out.push_back(items[static_cast<size_t>(from)]);
      if (__builtin_add_overflow(from, step, &from)) break;
    }
    Value list = Value::list(std::move(out));
    return object.is_string() ? apply_filter("join", list, {}) : list;
  }

  Value call(const Expression& e, Scope& scope) {
    const Expression& callee = *e.children[0];
    Value function;
    if (callee.kind == Kind::kAttribute) {
      Value object = evaluate(*callee.children[0], scope);
      Arguments given = arguments(e, scope);
      Value out;
      count_text(object);
      if (call_method(object, callee.name, given, out)) return out;
      function = attribute(object, callee.name);
      if (Callable* c = function.callable_of()) return c->call(given);
      fail_template(object.type_name() + " has no method " + callee.name.substr(0, 40));
    }
    function = evaluate(callee, scope);
    Callable* c = function.callable_of();
    if (!c) fail_template("expected a function, got " + function.type_name());
    return c->call(arguments(e, scope));
  }

  Limits limits_;
  Scope globals_;
  int64_t steps_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string run(const std::vector<Statement>& statements, const Json& variables,
                const Limits& limits) {
  return Runner(variables, limits).run(statements);
}

}  // namespace plait::data::jinja
