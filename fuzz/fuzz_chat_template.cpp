#include "fuzz/target.h"
#include "plait/data/text/chat_template.h"

/// Any template over a small chat: a text, or an Error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using plait::Json;
  static const Json variables = Json::object(
      {{"messages", Json::array({Json::object({{"role", "user"}, {"content", "Hi \xC3\xA9"}}),
                                 Json::object({{"role", "assistant"}, {"content", "Yes."}})})},
       {"add_generation_prompt", true},
       {"bos_token", "<s>"}});
  return plait::fuzz::guarded([&] {
    plait::data::ChatTemplate::parse(std::string(plait::fuzz::text(data, size)))->render(variables);
  });
}
