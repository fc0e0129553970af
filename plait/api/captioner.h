#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plait/api/text_generator.h"
#include "plait/core/sample.h"
#include "plait/data/processor.h"
#include "plait/models/decoders/multimodal_lm.h"

namespace plait::api {

/// A language model that sees: it describes pictures and answers questions about them. Thread-safe
/// after loading.
class Captioner {
 public:
  /// A folder of LLaVA's type in the Hugging Face layout (config.json with model_type "llava",
  /// weights, tokenizer.json, preprocessor_config.json), a folder that `save` wrote, or a name
  /// below the model cache. `options.backend` and `dtype` are used.
  /// @throws Error naming what is missing or not supported.
  static std::shared_ptr<Captioner> from_pretrained(const std::string& name_or_path,
                                                    const ModelOptions& options = {},
                                                    const data::Progress& progress = {});

  /// How questions are put to the model: texts in which "{image}" stands for the picture and
  /// "{question}" for the question. `caption` is by language. Without `ask` the chat template is
  /// used.
  struct Prompts {
    std::map<std::string, std::string> caption;
    std::string ask;
    static Prompts from_json(const Json& json);
    Json to_json() const;
  };
  Captioner(std::shared_ptr<models::MultimodalLm> model,
            std::shared_ptr<const data::Processor> processor,
            std::shared_ptr<const TextGenerator> text, Prompts prompts);

  /// What a picture (file, bytes, tensor) shows, in a language of `languages()`.
  GeneratedText caption(const Value& picture, const std::string& language = "en",
                        const TextOptions& options = {}, const OnPiece& on_piece = {},
                        std::stop_token cancel = {}) const;
  GeneratedText ask(const Value& picture, const std::string& question,
                    const TextOptions& options = {}, const OnPiece& on_piece = {},
                    std::stop_token cancel = {}) const;
  /// A question each for several pictures, at once.
  std::vector<GeneratedText> ask_batch(const std::vector<Value>& pictures,
                                       const std::vector<std::string>& questions,
                                       const TextOptions& options = {},
                                       std::stop_token cancel = {}) const;
  /// Answers messages of the model's chat template: {"role", "content": [{"type": "image"},
  /// {"type": "text", "text": ...}]}; the pictures in the order of their places.
  /// @throws Error kUnavailable without a template; kInvalidArgument for another number of
  /// pictures.
  GeneratedText chat(const Json& messages, const std::vector<Value>& pictures,
                     const TextOptions& options = {}, const OnPiece& on_piece = {},
                     std::stop_token cancel = {}) const;
  /// Continues a prompt in which image_token() stands for each picture.
  GeneratedText generate(const std::string& prompt, const std::vector<Value>& pictures,
                         const TextOptions& options = {}, const OnPiece& on_piece = {},
                         std::stop_token cancel = {}) const;

  std::vector<std::string> languages() const;
  const std::string& image_token() const { return image_token_; }
  const std::shared_ptr<models::MultimodalLm>& model() const { return model_; }
  const std::shared_ptr<const data::Processor>& processor() const { return processor_; }
  const std::shared_ptr<const TextGenerator>& text() const { return text_; }
  const Prompts& prompts() const { return prompts_; }

 private:
  runtime::Prompt prompt_of(const std::string& text, const std::vector<Value>& pictures,
                            bool add_special_tokens) const;
  std::string question_text(const std::string& question) const;
  at::Tensor features_of(const Value& picture) const;

  std::shared_ptr<models::MultimodalLm> model_;
  std::shared_ptr<const data::Processor> processor_;
  std::shared_ptr<const TextGenerator> text_;
  Prompts prompts_;
  std::string image_token_;
};

/// What a small captioner folder refers to: the frozen parts by name ("efficientnet-lite0" or
/// "plait-base:image"; "smollm2"), and the config of what joins them (its encoder and decoder are
/// filled in).
struct CaptionerParts {
  std::string encoder = "efficientnet-lite0";
  std::string decoder = "smollm2";
  models::MultimodalLm::Config join;
  Captioner::Prompts prompts;
};

/// A captioner of these parts; the projector's weights are zeros until they are drawn or loaded.
std::shared_ptr<Captioner> join_captioner(const CaptionerParts& parts,
                                          const ModelOptions& options = {},
                                          const data::Progress& progress = {});

/// Writes a small folder: config.json naming the parts, model.safetensors with the projector alone,
/// adapter/ in the PEFT layout where the decoder has adapters. `lora` may be null (JSON).
/// @throws Error kIo.
void save_captioner(const std::string& dir, const Captioner& captioner, const CaptionerParts& parts,
                    const Json& lora);

}  // namespace plait::api
