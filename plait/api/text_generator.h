#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "plait/api/multimodal_model.h"
#include "plait/data/packages/cache.h"
#include "plait/data/text/chat_template.h"
#include "plait/data/text/tokenizer.h"
#include "plait/models/decoders/decoder.h"
#include "plait/runtime/generate/generate.h"
#include "plait/runtime/generate/grammar_constraint.h"

namespace plait::api {

/// How a text is written.
struct TextOptions : runtime::GenerateOptions {
  bool add_special_tokens = true;              ///< Those that the tokenizer puts around a prompt
  Json json_schema;                            ///< The text is JSON that it accepts; null: free
  std::string grammar;                         ///< The text follows this GBNF grammar; empty: free
  Json template_variables = Json::object({});  ///< For chats: "tools", "enable_thinking" ...

  /// From an object with the names of GenerateOptions and of these; unknown ones are errors.
  static TextOptions from_json(const Json& json);
};

/// One token of a result, with the bytes that it stands for.
struct TextToken : runtime::GeneratedToken {
  std::string text;
};

/// What was written.
struct GeneratedText {
  std::string text;  ///< Without the end-of-text token and without the stop text
  std::vector<TextToken> tokens;
  runtime::Finish finish = runtime::Finish::kLength;
  double score = 0;                   ///< See runtime::Generation
  int64_t prompt_tokens = 0;          ///< Tokens of the prompt
  double seconds = 0;                 ///< Of the whole call
  double first_token_seconds = 0;     ///< Until the first token was chosen
  std::vector<GeneratedText> others;  ///< Further sequences, where asked for
  Json to_json() const;
};

/// Called with each piece of text as it becomes sure: whole characters; false cancels.
using OnPiece = std::function<bool(const std::string& piece)>;

/// A published language model with its tokenizer. Thread-safe after loading.
class TextGenerator {
 public:
  /// A folder in the Hugging Face layout (config.json, weights, tokenizer.json), a .gguf file, or a
  /// name from `plait models list`, fetched when needed. `options.backend` and `dtype` are used.
  /// @throws Error naming what is missing or not supported.
  static std::shared_ptr<TextGenerator> from_pretrained(const std::string& name_or_path,
                                                        const ModelOptions& options = {},
                                                        const data::Progress& progress = {});
  /// The tokenizer, chat template and end-of-text tokens of such a folder around a decoder that is
  /// there (one that stands inside of a larger model).
  static std::shared_ptr<TextGenerator> around(std::shared_ptr<models::Decoder> decoder,
                                               const std::string& dir);
  /// `chat_template` may be null; `special_tokens` are its variables ("bos_token", "eos_token").
  TextGenerator(std::shared_ptr<models::Decoder> decoder,
                std::shared_ptr<const data::Tokenizer> tokenizer, std::vector<int64_t> end_of_text,
                std::shared_ptr<const data::ChatTemplate> chat_template = nullptr,
                Json special_tokens = Json::object({}));

  /// Continues the prompt. `on_piece` gets the text while it is written (with beams, at the end).
  GeneratedText generate(const std::string& prompt, const TextOptions& options = {},
                         const OnPiece& on_piece = {}, std::stop_token cancel = {}) const;

  /// Continues several prompts at once (runtime::generate_batch): the same texts as one by one.
  std::vector<GeneratedText> generate_batch(const std::vector<std::string>& prompts,
                                            const TextOptions& options = {},
                                            std::stop_token cancel = {}) const;

  /// Continues prompts that are tokens already, with embeddings in front or in their places; ends
  /// of text and constraints are filled in.
  GeneratedText run(runtime::Prompt prompt, const TextOptions& options,
                    const OnPiece& on_piece = {}, std::stop_token cancel = {}) const;
  std::vector<GeneratedText> run_batch(std::vector<runtime::Prompt> prompts,
                                       const TextOptions& options,
                                       std::stop_token cancel = {}) const;
  std::vector<int64_t> encode(const std::string& prompt, bool add_special_tokens) const;

  /// Puts a low-rank adapter (a folder in the PEFT layout) into the decoder's weights. Needs
  /// exclusive access. @throws Error as models::load_lora does.
  void merge_adapter(const std::string& dir);

  /// Answers the last of `messages`, an array of {"role": "system" | "user" | "assistant",
  /// "content": text}, by the model's chat template. @throws Error kUnavailable when it has none.
  GeneratedText chat(const Json& messages, const TextOptions& options = {},
                     const OnPiece& on_piece = {}, std::stop_token cancel = {}) const;
  /// The prompt that `chat` makes of the messages.
  std::string apply_chat_template(const Json& messages, const Json& variables = Json::object({}),
                                  bool add_generation_prompt = true) const;
  bool has_chat_template() const { return chat_template_ != nullptr; }

  const std::shared_ptr<models::Decoder>& decoder() const { return decoder_; }
  const std::shared_ptr<const data::Tokenizer>& tokenizer() const { return tokenizer_; }
  const Json& special_tokens() const { return special_tokens_; }
  const std::vector<int64_t>& end_of_text() const { return end_of_text_; }

 private:
  GeneratedText described(runtime::Generation made, const TextOptions& options,
                          size_t prompt_tokens) const;
  std::shared_ptr<const runtime::TokenConstraint> constraint(const TextOptions& options) const;

  std::shared_ptr<models::Decoder> decoder_;
  std::shared_ptr<const data::Tokenizer> tokenizer_;
  std::vector<int64_t> end_of_text_;
  std::shared_ptr<const data::ChatTemplate> chat_template_;
  Json special_tokens_;
  mutable std::once_flag tree_once_;
  mutable std::shared_ptr<const runtime::TokenTree> tree_;  ///< Made when first needed
};

}  // namespace plait::api
