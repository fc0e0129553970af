#include "fuzz/target.h"
#include "plait/core/weights/gguf.h"
#include "plait/data/text/gguf_tokenizer.h"
#include "plait/data/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    auto bytes = std::make_shared<const std::string>(plait::fuzz::text(data, size));
    plait::Json metadata = plait::GgufFile::parse(bytes, "input").metadata();
    plait::data::tokenizer_config_from_gguf(metadata);
    std::string json = plait::data::tokenizer_json_from_gguf(metadata).dump();
    plait::data::Tokenizer::parse(json)->encode("abba 12 <s> \xE2\x96\x81");
  });
}
