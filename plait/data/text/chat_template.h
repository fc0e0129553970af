#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "plait/core/json.h"

namespace plait::data {

/// A chat template: the subset of the Jinja language that published templates use, giving what
/// transformers' apply_chat_template gives (trim_blocks and lstrip_blocks on): for with filter and
/// else, if, set, macros, break, continue, raw, filter and generation blocks; Python's operators,
/// slices and methods of strings, mappings and lists; namespace(), range(), dict(),
/// raise_exception(), strftime_now(); the filters and tests of jinja_builtins.h. Letters beyond
/// ASCII keep their case. Immutable, thread-safe.
class ChatTemplate {
 public:
  static constexpr size_t kMaxSource = size_t{1} << 20;
  static constexpr size_t kMaxText = size_t{16} << 20;
  /// Statements, expressions and items gone through by one rendering.
  static constexpr int64_t kMaxSteps = 2'000'000;

  /// @throws Error kCorruptData with the line; kResourceLimit for a template over kMaxSource or
  /// nested too deep.
  static std::shared_ptr<const ChatTemplate> parse(const std::string& source);
  /// The template of a model's folder: chat_template.jinja, else tokenizer_config.json's
  /// "chat_template" (the one named "default" of several); null when there is none.
  static std::shared_ptr<const ChatTemplate> from_folder(const std::string& dir);
  /// The same from a parsed tokenizer_config.json.
  static std::shared_ptr<const ChatTemplate> from_config(const Json& tokenizer_config);
  ~ChatTemplate();

  /// The text of a chat. `variables` are the template's: "messages", "add_generation_prompt",
  /// "tools", "bos_token" ...
  /// @throws Error kInvalidArgument with the words of raise_exception, or saying what went wrong;
  /// kResourceLimit beyond kMaxText or kMaxSteps.
  std::string render(const Json& variables) const;
  const std::string& source() const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace plait::data
