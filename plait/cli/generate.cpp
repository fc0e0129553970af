#include <cstdio>

#include "plait/api/text_generator.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/file.h"

namespace plait::cli {

int generate(const GenerateArgs& args) {
  api::ModelOptions how;
  how.backend = args.backend;
  how.dtype = args.dtype;
  Stages stages;
  auto model =
      api::TextGenerator::from_pretrained(args.model, how, stages.fetch("Model: " + args.model));
  stages.finish();
  if (!args.adapter.empty()) model->merge_adapter(args.adapter);

  Json given = Json::object({});
  for (const auto& [name, value] : args.numbers) given[name] = value;
  for (const auto& [name, value] : args.integers) given[name] = static_cast<int64_t>(value);
  given["early_stopping"] = args.early_stopping;
  given["stop"] = Json(args.stop);
  given["ignore_eos"] = args.ignore_eos;
  if (!args.json_schema.empty()) given["json_schema"] = Json::read(args.json_schema, 1 << 20);
  if (!args.grammar.empty()) given["grammar"] = read_file(args.grammar, 1 << 20);
  const api::TextOptions options = api::TextOptions::from_json(given);

  const bool stream = args.stream && !args.json;
  api::OnPiece show;
  if (stream) {
    show = [](const std::string& piece) {
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      return std::fflush(stdout) == 0;
    };
  }
  Json messages = Json::array();
  if (!args.system.empty())
    messages.push_back(Json::object({{"role", "system"}, {"content", args.system}}));
  messages.push_back(Json::object({{"role", "user"}, {"content", args.prompt}}));
  api::GeneratedText made = args.chat ? model->chat(messages, options, show)
                                      : model->generate(args.prompt, options, show);
  if (args.json) {
    std::printf("%s\n", made.to_json().dump().c_str());
    return 0;
  }
  std::printf("%s\n", stream ? "" : made.text.c_str());
  for (const api::GeneratedText& other : made.others) std::printf("\n%s\n", other.text.c_str());
  if (args.stats) {
    const auto tokens = static_cast<double>(made.tokens.size());
    std::fprintf(stderr, "%lld + %.0f tokens, first after %.2f s, then %.1f a second (%s)\n",
                 static_cast<long long>(made.prompt_tokens), tokens, made.first_token_seconds,
                 tokens > 1 ? (tokens - 1) / (made.seconds - made.first_token_seconds) : 0,
                 runtime::to_string(made.finish).c_str());
  }
  return 0;
}

}  // namespace plait::cli
