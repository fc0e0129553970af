#include <cstdlib>

#include "fuzz/target.h"
#include "plait/data/text/tokenizer.h"

// The bytes up to the first NUL are a tokenizer.json; the rest is a text for it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    std::string_view input = plait::fuzz::text(data, size);
    size_t end = std::min(input.find('\0'), input.size());
    auto tokenizer = plait::data::Tokenizer::parse(std::string(input.substr(0, end)), "input");
    std::string_view text = input.substr(std::min(end + 1, input.size()));
    auto encoding = tokenizer->encode(text, {.max_length = 0, .padding = false});
    tokenizer->decode(encoding.ids, false);
    // Ill-formed parts become three bytes for at least one.
    for (auto [begin, finish] : encoding.offsets) {
      if (begin > finish || finish > text.size() * 3) std::abort();
    }
  });
}
