#include "fuzz/target.h"
#include "plait/runtime/generate/grammar.h"

/// GBNF, or a JSON schema: a grammar that can be walked, or an Error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using plait::runtime::Grammar;
  const std::string text(plait::fuzz::text(data, size));
  return plait::fuzz::guarded([&] {
    auto grammar = text.starts_with('{') ? Grammar::from_json_schema(plait::Json::parse(text))
                                         : Grammar::from_gbnf(text);
    grammar->walk(grammar->start(), [](int32_t state, auto step) {
      for (int i = 0; i < 64 && state != Grammar::kDead; ++i) {
        int32_t next = Grammar::kDead;
        for (int b = 0; b < 256 && next == Grammar::kDead; ++b)
          next = step(state, static_cast<unsigned char>((b * 7 + i * 31) & 255));
        state = next;
      }
      return state;
    });
  });
}
