#include "plait/runtime/generate/grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "plait/core/error.h"
#include "plait/models/decoders/causal_lm.h"
#include "plait/runtime/generate/grammar_constraint.h"

namespace plait::runtime {
namespace {

/// "yes": the grammar accepts the text; "more": a begin of one; "no": neither.
std::string verdict(const Grammar& grammar, const std::string& text) {
  auto stacks = grammar.walk(grammar.start(), [&](int32_t state, auto step) {
    for (char c : text) {
      if (state != Grammar::kDead) state = step(state, static_cast<unsigned char>(c));
    }
    return state == Grammar::kDead ? Grammar::Stacks() : grammar.stacks_of(state);
  });
  if (stacks.empty()) return "no";
  return Grammar::may_end(stacks) ? "yes" : "more";
}

TEST(Grammar, ReadsGbnf) {
  auto g = Grammar::from_gbnf(R"(
# a list
root  ::= item ("," item){0,2} "."?
item  ::= "a\n" | [b-d]+ | [^a-z,.\x22]
        | "\u00e9" .
)");
  for (const char* text : {"a\n", "bcd", "b,c,d", "b,c,d.", "1", "\xC3\xA9x",
                           "\xC3\xA9\xF0\x9F\x98\x80", "\xE4\xBD\xA0,b", "\xC3\xA9"})
    EXPECT_EQ(verdict(*g, text), "yes") << text;
  for (const char* text : {"", "a", "b,", "\xE4\xBD"}) EXPECT_EQ(verdict(*g, text), "more") << text;
  for (const char* text : {"e", "b,c,d,b", "b..", "\"", "\xFF", "\xE4q", "\xED\xA0\x80", "aa"})
    EXPECT_EQ(verdict(*g, text), "no") << text;
}

TEST(Grammar, ReadsEveryRangeOfCharacters) {
  auto g = Grammar::from_gbnf("root ::= [\\u0250-\\U00010437]");
  EXPECT_EQ(verdict(*g, "\xC9\x90"), "yes");
  EXPECT_EQ(verdict(*g, "\xC9\x8F"), "no");
  EXPECT_EQ(verdict(*g, "\xF0\x90\x90\xB7"), "yes");
  EXPECT_EQ(verdict(*g, "\xF0\x90\x90\xB8"), "no");
  EXPECT_EQ(verdict(*g, "\xE0\xA0\x80"), "yes");
  EXPECT_EQ(verdict(*g, "\xEF\xBF\xBF"), "yes");
  EXPECT_EQ(verdict(*g, "a"), "no");
}

TEST(Grammar, NestsWithoutEnd) {
  auto g = Grammar::from_gbnf("root ::= \"(\" root \")\" | \"x\"*");
  EXPECT_EQ(verdict(*g, std::string(300, '(') + "xx" + std::string(300, ')')), "yes");
  EXPECT_EQ(verdict(*g, std::string(300, '(') + std::string(299, ')')), "more");
  EXPECT_EQ(verdict(*g, std::string(3, '(') + std::string(4, ')')), "no");
  EXPECT_EQ(verdict(*g, std::string(20000, 'x')), "yes");
}

TEST(Grammar, RefusesWhatIsWrong) {
  for (const char* text :
       {"", "root ::= missing", "a ::= \"x\"", "root ::= root \"x\" | \"y\"", "root ::= \"x",
        "root ::= [a", "root ::= (\"a\"", "root ::= \"a\"{3,1}", "root ::= [z-a]", "root = \"a\"",
        "root ::= \"a\"\nroot ::= \"b\"", "root ::= \"a\" ?? $",
        "root ::= x root\nx ::= \"\" | \"a\"", "root ::= \"a\"{99999}", "root ::= \"\\xZZ\"",
        "root ::= ((((\"a\"{999}){999}){999}){999}"})
    EXPECT_THROW(Grammar::from_gbnf(text), Error) << text;
}

Json schema_of(const char* text) { return Json::parse(text); }

TEST(JsonSchema, AcceptsWhatTheSchemaDoes) {
  auto g = Grammar::from_json_schema(schema_of(R"({
    "type": "object", "title": "A person",
    "properties": {
      "name": {"type": "string", "minLength": 1, "maxLength": 5},
      "age": {"type": "integer"},
      "tags": {"type": "array", "items": {"enum": ["a", "b\"", 3]}, "minItems": 1, "maxItems": 2},
      "mail": {"type": ["string", "null"]},
      "place": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"const": {"k": [1]}}}, "required": ["x"]},
      "other": {"anyOf": [{"type": "boolean"}, {"type": "array", "maxItems": 0}]}
    },
    "required": ["name", "tags"], "additionalProperties": false})"));
  for (
      const char* text :
      {R"({"name":"Al","tags":["a"]})", R"({"name": "Al", "tags": ["a", 3]})",
       R"({"name":"Al","age":-12,"tags":["b\""],"mail":null,"place":{"x":1.5e3,"y":{"k":[1]}},"other":true})",
       R"({"name":"é\n","tags":[3],"other":[]})"})
    EXPECT_EQ(verdict(*g, text), "yes") << text;
  for (const char* text :
       {R"({"tags")", R"({"name":""})", R"({"name":"toolong")", R"({"name":"Al","tags":[]})",
        R"({"name":"Al"})", R"({"name":"Al","tags":["a","a","a"])", R"({"name":"Al","age":1.5)",
        R"({"name":"Al","age":01)", R"({"name":"Al","tags":["c")",
        R"({"name":"Al","tags":["a"],"place":{"y")", R"({"name":"Al","tags":["a"],})",
        R"({"name":"Al","tags":["a"],"new")", R"([)"})
    EXPECT_EQ(verdict(*g, text), "no") << text;
  auto any = Grammar::from_json_schema(Json::object({}));
  EXPECT_EQ(verdict(*any, R"([{"a":[1,true,null,"x",{}],"b":-0.5}])"), "yes");
  auto map = Grammar::from_json_schema(
      schema_of(R"({"type":"object","additionalProperties":{"type":"integer"}})"));
  EXPECT_EQ(verdict(*map, R"({"a":1,"b":2})"), "yes");
  EXPECT_EQ(verdict(*map, R"({"a":"x)"), "no");
}

TEST(JsonSchema, RefusesWhatItLacks) {
  for (const char* text :
       {R"({"$ref":"#/x"})", R"({"$ref":"other.json"})", R"({"$ref":"#"})",
        R"({"$ref":"#/$defs/a","type":"string","$defs":{"a":{}}})",
        R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}})",
        R"({"type":"number","minimum":3})", R"({"minimum":3})",
        R"({"type":"integer","minimum":3.2,"maximum":3.8})", R"({"type":"integer","minimum":"a"})",
        R"({"type":"integer","minimum":1e300})", R"({"enum":[1,2],"minimum":2})",
        R"({"type":"integer","multipleOf":3})", R"({"allOf":[{}]})", R"({"type":"thing"})",
        R"({"enum":[]})", R"({"type":"array","minItems":-1})",
        R"({"type":"object","properties":{"a":{}},"required":["b"]})", R"(false)", R"(3)"})
    EXPECT_THROW(Grammar::from_json_schema(schema_of(text)), Error) << text;
}

TEST(JsonSchema, HoldsIntegersInTheirRange) {
  const std::pair<double, double> kRanges[] = {
      {0, 0},     {0, 9},       {3, 7},      {8, 9},      {0, 255},
      {17, 4321}, {99, 100},    {-5, 5},     {-120, -7},  {-1000, 999},
      {105, 199}, {1990, 2030}, {-0.5, 2.5}, {100, 1000}, {-2999, 3001}};
  for (const auto& [low, high] : kRanges) {
    auto closed = Grammar::from_json_schema(
        Json::object({{"type", "integer"}, {"minimum", low}, {"maximum", high}}));
    auto open = Grammar::from_json_schema(Json::object(
        {{"type", "integer"}, {"exclusiveMinimum", low - 1}, {"exclusiveMaximum", high + 1}}));
    for (int64_t n = -3100; n <= 4500; ++n) {
      const double value = static_cast<double>(n);
      ASSERT_EQ(verdict(*closed, std::to_string(n)) == "yes", value >= low && value <= high)
          << n << " in " << low << " to " << high;
      ASSERT_EQ(verdict(*open, std::to_string(n)) == "yes", value > low - 1 && value < high + 1)
          << n << " in " << low << " to " << high;
    }
    EXPECT_NE(verdict(*closed, "007"), "yes");
    EXPECT_NE(verdict(*closed, "1.0"), "yes");
  }
  auto from = Grammar::from_json_schema(schema_of(R"({"type":"integer","minimum":12})"));
  for (const char* text : {"12", "999999999999999", "100"}) EXPECT_EQ(verdict(*from, text), "yes");
  for (const char* text : {"11", "-12", "1000000000000000"}) EXPECT_NE(verdict(*from, text), "yes");
  auto either = Grammar::from_json_schema(
      schema_of(R"({"type":["integer","string","null"],"minimum":5,"maximum":6})"));
  for (const char* text : {"5", "\"x\"", "null"}) EXPECT_EQ(verdict(*either, text), "yes") << text;
  EXPECT_EQ(verdict(*either, "7"), "no");
}

TEST(JsonSchema, FollowsReferences) {
  auto g = Grammar::from_json_schema(schema_of(R"({
    "$ref": "#/$defs/node",
    "$defs": {
      "node": {"type": "object", "properties": {
          "value": {"$ref": "#/$defs/a~1b~0c"},
          "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
          "same": {"$ref": "#/$defs/node/properties/next/anyOf/1", "title": "null, too"}},
        "required": ["value", "next"]},
      "a/b~c": {"type": "integer", "minimum": 0, "maximum": 3}}})"));
  for (const char* text :
       {R"({"value":1,"next":null})", R"({"value":0,"next":{"value":3,"next":null,"same":null}})"})
    EXPECT_EQ(verdict(*g, text), "yes") << text;
  for (const char* text :
       {R"({"value":4)", R"({"value":1,"next":3)", R"({"value":1,"next":{"value":3}})"})
    EXPECT_EQ(verdict(*g, text), "no") << text;
  auto whole =
      Grammar::from_json_schema(schema_of(R"({"type":"array","items":{"$ref":"#"},"maxItems":2})"));
  EXPECT_EQ(verdict(*whole, "[[],[[],[]]]"), "yes");
  EXPECT_EQ(verdict(*whole, "[[],[],"), "no");
}

/// The pattern's verdict of the text between quotes.
std::string matches(const char* pattern, const std::string& text) {
  auto grammar =
      Grammar::from_json_schema(Json::object({{"type", "string"}, {"pattern", pattern}}));
  return verdict(*grammar, Json(text).dump());
}

TEST(JsonSchema, HoldsTextsToTheirPattern) {
  struct Case {
    const char* pattern;
    std::vector<const char*> yes, no;
  };
  const Case kCases[] = {
      {"^[A-Z]{2}-\\d{3,4}$", {"AB-123", "ZZ-0000"}, {"AB-12", "ab-123", "AB-12345", "xAB-123"}},
      {"b",
       {"b", "abc",
        "\xC3\xA9"
        "b\n"},
       {"", "ac"}},
      {"^a|b$", {"a", "axyz", "xyzb", "b"}, {"xa", "bx"}},
      {"^(?:ab|c)*d?$", {"", "abc", "cabd", "d"}, {"a", "dd", "abx"}},
      {"^[^a-c\\d]+$", {"xyz", "\n\"\\ "}, {"", "xa", "x5"}},
      {"^.{2}$", {"ab", "\xC3\xA9\xE4\xBD\xA0", "\"\\"}, {"a", "abc", "a\n"}},
      {"^\\w+@\\w+\\.(com|org)$", {"a_1@b.com"}, {"a@b.net", "a@bxcom"}},
      {"^[\\u4e00-\\u9fff]+?$", {"\xE4\xBD\xA0\xE5\xA5\xBD"}, {"a", ""}},
      {"^[\\]\\-x]$", {"]", "-", "x"}, {"\\", "y"}},
      {"^\\x41\\t[\"\\\\]$", {"A\t\"", "A\t\\"}, {"A\t/"}},
      {"^[+-]\\S\\s\\W\\D$", {"-a %b", "+a\t.."}, {"-a b1"}},
  };
  for (const Case& c : kCases) {
    for (const char* text : c.yes) EXPECT_EQ(matches(c.pattern, text), "yes") << c.pattern << text;
    for (const char* text : c.no) EXPECT_NE(matches(c.pattern, text), "yes") << c.pattern << text;
  }
  for (const char* pattern :
       {"(",       ")",     "a)",      "[",       "[]",    "a**",    "*a",   "a{2,1}",
        "a{1001}", "a{",    "(?=a)",   "(a)\\1",  "\\bx",  "x^",     "(^a)", "a$b",
        "\\",      "[b-a]", "[a-\\d]", "\\ud800", "\\xg0", "\\p{L}", "\x01"})
    EXPECT_THROW(matches(pattern, ""), Error) << pattern;
  EXPECT_THROW(matches(std::string(3000, 'a').c_str(), ""), Error);
  EXPECT_THROW(
      Grammar::from_json_schema(schema_of(R"({"type":"string","pattern":"a","minLength":2})")),
      Error);
}

/// All bytes, and texts of several bytes, as tokenizers have them.
std::shared_ptr<const TokenTree> some_tokens() {
  std::vector<std::string> bytes;
  for (int b = 0; b < 256; ++b) bytes.emplace_back(1, static_cast<char>(b));
  for (const char* text :
       {"{\"", "\":", "\", \"", "true", "false", "null", "tru", "name", "\"name\": \"", "\xC3\xA9",
        "\xE4\xBD\xA0\xE5\xA5\xBD", "12", "],", "}}", "\n\n", " the", "\"}", "\x9F\x98"})
    bytes.emplace_back(text);
  bytes.emplace_back("");  // the end of the text
  return std::make_shared<TokenTree>(std::move(bytes));
}

TEST(GrammarConstraint, MasksAsTheGrammarSays) {
  auto tree = some_tokens();
  const auto end = static_cast<int64_t>(256 + 18);
  auto grammar = Grammar::from_json_schema(schema_of(
      R"({"type":"object","properties":{"name":{"type":"string"},"ok":{"type":"boolean"}},"required":["name"]})"));
  std::mt19937_64 generator(3);
  for (int round = 0; round < 20; ++round) {
    GrammarConstraint constraint(grammar, tree, {end});
    std::string text;
    for (int i = 0; i < 40 && !constraint.finished(); ++i) {
      std::vector<float> scores(300, 0.0F);
      constraint.mask(scores);
      std::vector<int64_t> allowed;
      for (int64_t id = 0; id < 300; ++id) {
        const bool may = scores[static_cast<size_t>(id)] == 0;
        const std::string& bytes = tree->bytes(id);
        const bool expected = id == end ? verdict(*grammar, text) == "yes"
                                        : !bytes.empty() && verdict(*grammar, text + bytes) != "no";
        ASSERT_EQ(may, expected) << text << " + " << bytes;
        if (may && id != end) allowed.push_back(id);
      }
      ASSERT_FALSE(allowed.empty()) << text;
      const int64_t id = allowed[generator() % allowed.size()];
      constraint.accept(id);
      text += tree->bytes(id);
    }
    std::vector<float> scores(300, 0.0F);
    constraint.mask(scores);
    if (constraint.finished()) {
      EXPECT_TRUE(std::isinf(scores['a']));
    }
    EXPECT_THROW(constraint.accept(end), Error);
  }
}

TEST(GrammarConstraint, RandomModelsWriteValidJson) {
  auto tree = some_tokens();
  const int64_t end = 256 + 18;
  auto grammar = Grammar::from_json_schema(schema_of(R"({
    "type": "object",
    "properties": {
      "name": {"type": "string", "maxLength": 12},
      "count": {"type": "integer"},
      "kinds": {"type": "array", "items": {"enum": ["red", "green", null]}, "maxItems": 3},
      "at": {"type": "object", "properties": {"x": {"type": "number"}, "on": {"type": "boolean"}}, "required": ["x", "on"]}
    },
    "required": ["name", "at"]})"));
  auto config = models::CausalLm::Config::tiny();
  config.vocab_size = end + 1;
  config.max_position_embeddings = 1024;
  models::CausalLm decoder(config);
  int beams = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    decoder.initialize(seed);
    Prompt prompt;
    prompt.ids = {static_cast<int64_t>(seed)};
    prompt.end_of_text = {end};
    prompt.constraint = std::make_shared<GrammarConstraint>(grammar, tree, prompt.end_of_text);
    GenerateOptions options;
    options.max_new_tokens = 900;
    options.temperature = seed % 4 == 0 ? 0 : 1;
    options.seed = static_cast<int64_t>(seed);
    if (seed % 8 == 0) {
      options.num_beams = 3;
      ++beams;
    }
    Generation made = generate(decoder, prompt, options).front();
    ASSERT_EQ(made.finish, Finish::kStop) << seed;
    std::string text;
    for (int64_t id : made.ids()) text += tree->bytes(id);
    Json json = Json::parse(text);
    EXPECT_LE(json.at("name").as_string().size(), 48U) << text;
    EXPECT_TRUE(json.at("at").at("x").is_number()) << text;
    EXPECT_TRUE(json.at("at").at("on").is_bool()) << text;
    EXPECT_TRUE(json.get("count", 0) < INT64_MAX) << text;
    if (const Json* kinds = json.find("kinds")) {
      EXPECT_LE(kinds->size(), 3U) << text;
      for (const Json& kind : kinds->items())
        EXPECT_TRUE(kind.is_null() || kind == Json("red") || kind == Json("green")) << text;
    }
    for (const auto& [key, value] : json.members())
      EXPECT_THAT(key, testing::AnyOf("name", "count", "kinds", "at"));
  }
  EXPECT_EQ(beams, 5);
}

}  // namespace
}  // namespace plait::runtime
