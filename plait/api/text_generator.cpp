#include "plait/api/text_generator.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "plait/api/locate.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/models/catalogue.h"
#include "plait/models/decoders/gguf_decoder.h"
#include "plait/models/decoders/published_decoders.h"
#include "plait/models/layers/lora.h"
#include "plait/models/registry.h"
#include "plait/runtime/generate/text_stream.h"

namespace plait::api {
namespace {

namespace fs = std::filesystem;
constexpr const char* kUnit = "text_generator";
constexpr size_t kMaxConfig = size_t{16} << 20;

/// A small JSON file of the folder; an empty object when there is none.
Json read_beside(const ModelFolder& folder, const char* name) {
  const std::string path = folder.file(name);
  return path.empty() ? Json::object({}) : Json::read(path, kMaxConfig);
}

void add_ids(std::vector<int64_t>& ids, const Json& config) {
  const Json* given = config.find("eos_token_id");
  if (!given || given->is_null()) return;
  for (int64_t id : given->is_array() ? given->as_ints() : std::vector<int64_t>{given->as_int()}) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
}

/// The text of a special token, which tokenizer_config.json gives plainly or as an object.
std::string special_text(const Json& config, const char* name) {
  const Json* given = config.find(name);
  if (!given || given->is_null()) return "";
  return given->is_object() ? given->get("content", "") : given->as_string();
}

struct Parts {
  std::shared_ptr<models::Decoder> decoder;
  std::shared_ptr<const data::Tokenizer> tokenizer;
  Json generation, tokenizer_config, config;
  std::shared_ptr<const data::ChatTemplate> chat_template;
};

Parts read_gguf(const std::string& path, c10::ScalarType dtype) {
  models::DecoderFolder folder = models::folder_from_gguf(GgufFile::open(path), path);
  models::TranslatedModel model =
      models::translate_published_decoder(folder.config, folder.weights, path);
  Parts parts;
  parts.decoder = models::create_as<models::Decoder>(model.config, path);
  parts.decoder->to(dtype);
  parts.decoder->load_state_dict(model.weights);
  parts.tokenizer = data::Tokenizer::parse(folder.files.at("tokenizer.json"), path);
  parts.generation = Json::parse(folder.files.at("generation_config.json"), path);
  parts.tokenizer_config = Json::parse(folder.files.at("tokenizer_config.json"), path);
  parts.config = folder.config;
  parts.chat_template = data::ChatTemplate::from_config(parts.tokenizer_config);
  return parts;
}

Parts read_around(std::shared_ptr<models::Decoder> decoder, const std::string& dir) {
  ModelFolder folder = ModelFolder::open(dir);
  Parts parts;
  parts.decoder = std::move(decoder);
  parts.tokenizer = data::Tokenizer::from_file(dir);
  parts.generation = read_beside(folder, "generation_config.json");
  parts.tokenizer_config = read_beside(folder, "tokenizer_config.json");
  parts.config = folder.config();
  parts.chat_template = data::ChatTemplate::from_folder(dir);
  return parts;
}

Parts read_folder(const std::string& dir, c10::ScalarType dtype) {
  return read_around(models::load_published_decoder(dir, dtype).decoder, dir);
}

std::shared_ptr<TextGenerator> assemble(Parts parts) {
  std::vector<int64_t> end_of_text;
  add_ids(end_of_text, parts.generation);
  if (end_of_text.empty()) add_ids(end_of_text, parts.config);
  const std::string eos = special_text(parts.tokenizer_config, "eos_token");
  if (int64_t id = eos.empty() ? -1 : parts.tokenizer->id_of(eos);
      id >= 0 && std::find(end_of_text.begin(), end_of_text.end(), id) == end_of_text.end())
    end_of_text.push_back(id);
  Json special = Json::object({});
  for (const char* name : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
    if (std::string text = special_text(parts.tokenizer_config, name); !text.empty())
      special[name] = text;
  }
  return std::make_shared<TextGenerator>(parts.decoder, parts.tokenizer, std::move(end_of_text),
                                         parts.chat_template, std::move(special));
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::shared_ptr<TextGenerator> TextGenerator::from_pretrained(const std::string& name_or_path,
                                                              const ModelOptions& options,
                                                              const data::Progress& progress) {
  const c10::Device device = device_from_string(options.backend);
  const c10::ScalarType dtype = dtype_from_string(options.dtype);
  const bool gguf = name_or_path.ends_with(".gguf") && fs::is_regular_file(name_or_path);
  Parts parts = gguf ? read_gguf(name_or_path, dtype)
                     : read_folder(fs::is_directory(name_or_path)
                                       ? name_or_path
                                       : models::resolve_model(name_or_path, progress),
                                   dtype);
  parts.decoder->to(device);
  return assemble(std::move(parts));
}

std::shared_ptr<TextGenerator> TextGenerator::around(std::shared_ptr<models::Decoder> decoder,
                                                     const std::string& dir) {
  return assemble(read_around(std::move(decoder), dir));
}

TextOptions TextOptions::from_json(const Json& json) {
  Json plain = json.is_null() ? Json::object({}) : json;
  TextOptions out;
  out.add_special_tokens = plain.get("add_special_tokens", true);
  if (const Json* variables = plain.find("template_variables"); variables && !variables->is_null())
    out.template_variables = *variables;
  require(out.template_variables.is_object(), kUnit, "expected template_variables by name");
  if (const Json* schema = plain.find("json_schema")) out.json_schema = *schema;
  out.grammar = plain.get("grammar", "");
  for (const char* own : {"add_special_tokens", "json_schema", "grammar"}) plain.erase(own);
  plain.erase("template_variables");
  static_cast<runtime::GenerateOptions&>(out) =
      read_config<runtime::GenerateOptions>(plain, "options");
  return out;
}

TextGenerator::TextGenerator(std::shared_ptr<models::Decoder> decoder,
                             std::shared_ptr<const data::Tokenizer> tokenizer,
                             std::vector<int64_t> end_of_text,
                             std::shared_ptr<const data::ChatTemplate> chat_template,
                             Json special_tokens)
    : decoder_(std::move(decoder)),
      tokenizer_(std::move(tokenizer)),
      end_of_text_(std::move(end_of_text)),
      chat_template_(std::move(chat_template)),
      special_tokens_(std::move(special_tokens)) {
  require(decoder_ != nullptr && tokenizer_ != nullptr, kUnit,
          "expected a decoder and its tokenizer");
}

std::vector<int64_t> TextGenerator::encode(const std::string& prompt,
                                           bool add_special_tokens) const {
  return tokenizer_
      ->encode(prompt,
               {.add_special_tokens = add_special_tokens, .max_length = 0, .padding = false})
      .ids;
}

GeneratedText TextGenerator::generate(const std::string& prompt, const TextOptions& options,
                                      const OnPiece& on_piece, std::stop_token cancel) const {
  runtime::Prompt given;
  given.ids = encode(prompt, options.add_special_tokens);
  return run(std::move(given), options, on_piece, cancel);
}

std::vector<GeneratedText> TextGenerator::generate_batch(const std::vector<std::string>& prompts,
                                                         const TextOptions& options,
                                                         std::stop_token cancel) const {
  std::vector<runtime::Prompt> given(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i)
    given[i].ids = encode(prompts[i], options.add_special_tokens);
  return run_batch(std::move(given), options, cancel);
}

void TextGenerator::merge_adapter(const std::string& dir) {
  models::load_lora(dir, *decoder_);
  models::merge_lora(*decoder_);
  models::remove_lora(*decoder_);
}

std::string TextGenerator::apply_chat_template(const Json& messages, const Json& variables,
                                               bool add_generation_prompt) const {
  if (!chat_template_)
    fail(ErrorCode::kUnavailable, kUnit, "expected a model with a chat template, got one without");
  require(messages.is_array() && messages.size() > 0, kUnit, "expected a list of messages");
  for (const Json& message : messages.items()) {
    require(message.is_object() && message.contains("role"), kUnit,
            "expected messages {\"role\", \"content\"}");
  }
  Json all = special_tokens_;
  all["messages"] = messages;
  all["add_generation_prompt"] = add_generation_prompt;
  all["tools"] = Json();
  all["documents"] = Json();
  for (const auto& [name, value] : variables.members()) all[name] = value;
  return chat_template_->render(all);
}

GeneratedText TextGenerator::chat(const Json& messages, const TextOptions& options,
                                  const OnPiece& on_piece, std::stop_token cancel) const {
  // The template has written the special tokens already.
  TextOptions as_is = options;
  as_is.add_special_tokens = false;
  return generate(apply_chat_template(messages, options.template_variables), as_is, on_piece,
                  cancel);
}

std::shared_ptr<const runtime::TokenConstraint> TextGenerator::constraint(
    const TextOptions& options) const {
  if (options.json_schema.is_null() && options.grammar.empty()) return nullptr;
  require(options.json_schema.is_null() || options.grammar.empty(), kUnit,
          "expected a JSON schema or a grammar, got both");
  std::call_once(tree_once_, [&] { tree_ = runtime::TokenTree::of(*tokenizer_); });
  auto grammar = options.grammar.empty() ? runtime::Grammar::from_json_schema(options.json_schema)
                                         : runtime::Grammar::from_gbnf(options.grammar);
  return std::make_shared<runtime::GrammarConstraint>(grammar, tree_, end_of_text_);
}

GeneratedText TextGenerator::run(runtime::Prompt prompt, const TextOptions& options,
                                 const OnPiece& on_piece, std::stop_token cancel) const {
  const auto start = std::chrono::steady_clock::now();
  prompt.end_of_text = end_of_text_;
  prompt.constraint = constraint(options);
  double first = 0;
  runtime::TextStream live(tokenizer_, options.stop);
  auto tell = [&](const std::string& piece) {
    return piece.empty() || !on_piece || on_piece(piece);
  };
  auto made = runtime::generate(
      *decoder_, prompt, options,
      [&](const runtime::GeneratedToken& token) {
        if (first == 0) first = seconds_since(start);
        return tell(live.push(token.id)) && !live.stopped();
      },
      cancel);
  tell(live.finish());

  GeneratedText best = described(std::move(made.front()), options, prompt.ids.size());
  for (size_t i = 1; i < made.size(); ++i)
    best.others.push_back(described(std::move(made[i]), options, prompt.ids.size()));
  best.first_token_seconds = first;
  best.seconds = seconds_since(start);
  return best;
}

std::vector<GeneratedText> TextGenerator::run_batch(std::vector<runtime::Prompt> prompts,
                                                    const TextOptions& options,
                                                    std::stop_token cancel) const {
  const auto start = std::chrono::steady_clock::now();
  for (runtime::Prompt& prompt : prompts) {
    prompt.end_of_text = end_of_text_;
    prompt.constraint = constraint(options);
  }
  auto made = runtime::generate_batch(*decoder_, prompts, options, cancel);
  std::vector<GeneratedText> texts;
  for (size_t i = 0; i < made.size(); ++i) {
    texts.push_back(described(std::move(made[i]), options, prompts[i].ids.size()));
    texts.back().seconds = seconds_since(start);
  }
  return texts;
}

GeneratedText TextGenerator::described(runtime::Generation made, const TextOptions& options,
                                       size_t prompt_tokens) const {
  GeneratedText text;
  runtime::TextStream stream(tokenizer_, options.stop);
  for (runtime::GeneratedToken& token : made.tokens) {
    TextToken described;
    static_cast<runtime::GeneratedToken&>(described) = std::move(token);
    described.text = stream.push(described.id);
    text.tokens.push_back(std::move(described));
    if (stream.stopped()) break;
  }
  stream.finish();
  text.text = stream.text();
  text.finish = stream.stopped() ? runtime::Finish::kStop : made.finish;
  text.score = made.score;
  text.prompt_tokens = static_cast<int64_t>(prompt_tokens);
  return text;
}

Json GeneratedText::to_json() const {
  Json out = Json::object({{"text", text},
                           {"finish", runtime::to_string(finish)},
                           {"score", score},
                           {"prompt_tokens", prompt_tokens},
                           {"generated_tokens", tokens.size()},
                           {"seconds", seconds},
                           {"first_token_seconds", first_token_seconds},
                           {"tokens", Json::array()}});
  for (const TextToken& token : tokens) {
    Json row = Json::object({{"id", token.id}, {"text", token.text}, {"logprob", token.logprob}});
    if (!token.top.empty()) row["top"] = Json::array();
    for (const auto& [id, logprob] : token.top)
      row["top"].push_back(Json::object({{"id", id}, {"logprob", logprob}}));
    out["tokens"].push_back(std::move(row));
  }
  for (const GeneratedText& other : others) {
    if (!out.contains("others")) out["others"] = Json::array();
    out["others"].push_back(other.to_json());
  }
  return out;
}

}  // namespace plait::api
