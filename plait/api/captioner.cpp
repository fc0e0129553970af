#include "plait/api/captioner.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <filesystem>

#include "plait/api/auto_model.h"
#include "plait/api/locate.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/data/image/image_processor.h"
#include "plait/models/decoders/published_multimodal.h"
#include "plait/models/layers/lora.h"

namespace plait::api {
namespace {

namespace fs = std::filesystem;
constexpr const char* kUnit = "captioner";
constexpr const char* kOwnType = "plait-captioner";

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
  return text;
}

/// The picture processor of a published folder: a file of its own, or inside of the whole's since
/// transformers 5.
std::shared_ptr<const data::Processor> published_processor(const ModelFolder& folder) {
  const std::string own = folder.file("preprocessor_config.json"),
                    whole = folder.file("processor_config.json");
  Json json;
  if (!own.empty()) {
    json = Json::read(own, 1 << 20);
  } else if (!whole.empty()) {
    const Json all = Json::read(whole, 1 << 20);
    if (const Json* part = all.find("image_processor")) json = *part;
  }
  if (!json.is_object()) {
    fail(ErrorCode::kNotFound, kUnit,
         folder.dir() + ": expected preprocessor_config.json or processor_config.json");
  }
  return std::make_shared<data::ImageProcessor>(
      data::ImageProcessor::from_published(json, folder.dir()));
}

void settle(models::MultimodalLm& model, const ModelOptions& options) {
  model.train(false);
  model.requires_grad_(false);
  model.to(dtype_from_string(options.dtype));
  model.to(device_from_string(options.backend));
}

std::shared_ptr<Captioner> load_published(const std::string& dir, const ModelOptions& options) {
  auto model = models::load_published_multimodal(dir);
  require(model->encoder()->modality() == Modality::kImage, kUnit,
          "expected a model that sees pictures");
  settle(*model, options);
  Captioner::Prompts prompts;
  prompts.caption["en"] = "Describe this picture in one sentence.";
  prompts.caption["zh"] = "用一句话描述这张图片。";
  return std::make_shared<Captioner>(model, published_processor(ModelFolder::open(dir)),
                                     TextGenerator::around(model->decoder(), dir), prompts);
}

std::shared_ptr<Captioner> load_own(const std::string& dir, const ModelOptions& options,
                                    const data::Progress& progress) {
  ModelFolder folder = ModelFolder::open(dir);
  const Json& config = folder.config();
  if (config.get("format_version", 1) > 1) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         dir + ": expected a captioner of format 1, got a newer one");
  }
  CaptionerParts parts;
  parts.encoder = config.at("encoder").as_string();
  parts.decoder = config.at("decoder").as_string();
  parts.join = read_config<models::MultimodalLm::Config>(config.at("join"), dir + ":join");
  parts.prompts = Captioner::Prompts::from_json(config.at("prompts"));
  auto made = join_captioner(parts, options, progress);
  const models::LoadReport report =
      made->model()->load_state_dict(folder.weights(), /*strict=*/false);
  for (const std::string& name : report.missing) {
    if (name.starts_with("projector."))
      fail(ErrorCode::kCorruptData, kUnit, dir + ": expected the tensor " + name);
  }
  if (!report.unexpected.empty())
    fail(ErrorCode::kCorruptData, kUnit, dir + ": unexpected " + report.unexpected.front());
  if (fs::exists(dir + "/adapter")) {
    models::Module& decoder = *made->model()->decoder();
    models::load_lora(dir + "/adapter", decoder);
    models::merge_lora(decoder);
    models::remove_lora(decoder);
  }
  return made;
}

}  // namespace

Captioner::Prompts Captioner::Prompts::from_json(const Json& json) {
  Prompts prompts;
  for (const auto& [language, text] : json.at("caption").members())
    prompts.caption[language] = text.as_string();
  prompts.ask = json.get("ask", "");
  return prompts;
}

Json Captioner::Prompts::to_json() const {
  Json by_language = Json::object({});
  for (const auto& [language, text] : caption) by_language[language] = text;
  return Json::object({{"caption", by_language}, {"ask", ask}});
}

std::shared_ptr<Captioner> Captioner::from_pretrained(const std::string& name_or_path,
                                                      const ModelOptions& options,
                                                      const data::Progress& progress) {
  const std::string dir = locate_model(name_or_path);
  const ModelFolder folder = ModelFolder::open(dir);
  const bool described = folder.config().is_object() && folder.config().contains("model_type");
  const bool own = described && folder.config().get("model_type", "") == kOwnType;
  return own ? load_own(dir, options, progress) : load_published(dir, options);
}

Captioner::Captioner(std::shared_ptr<models::MultimodalLm> model,
                     std::shared_ptr<const data::Processor> processor,
                     std::shared_ptr<const TextGenerator> text, Prompts prompts)
    : model_(std::move(model)),
      processor_(std::move(processor)),
      text_(std::move(text)),
      prompts_(std::move(prompts)),
      image_token_(text_->tokenizer()->token_of(model_->placeholder())) {}

at::Tensor Captioner::features_of(const Value& picture) const {
  const Value decoded = data::decode(picture, Modality::kImage, "picture");
  TensorMap inputs = processor_->process({&decoded}, "picture");
  for (auto& [name, tensor] : inputs) {
    tensor = tensor.to(model_->decoder()->device());
    if (tensor.is_floating_point()) tensor = tensor.to(model_->parameters().front().scalar_type());
  }
  return model_->features(inputs).flat();
}

runtime::Prompt Captioner::prompt_of(const std::string& text, const std::vector<Value>& pictures,
                                     bool add_special_tokens) const {
  c10::InferenceMode inference;
  std::vector<at::Tensor> features;
  std::string expanded;
  size_t from = 0;
  for (const Value& picture : pictures) {
    features.push_back(features_of(picture));
    const size_t place = text.find(image_token_, from);
    if (place == std::string::npos) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           "expected " + image_token_ + " for each of " + std::to_string(pictures.size()) +
               " pictures");
    }
    expanded += text.substr(from, place - from);
    for (int64_t i = 0; i < features.back().size(0); ++i) expanded += image_token_;
    from = place + image_token_.size();
  }
  expanded += text.substr(from);
  runtime::Prompt prompt;
  prompt.ids = text_->encode(expanded, add_special_tokens);
  const at::Tensor ids =
      at::tensor(prompt.ids, at::kLong).unsqueeze(0).to(model_->decoder()->device());
  prompt.embeddings = model_->embed(ids, features.empty() ? at::Tensor() : at::cat(features))[0];
  return prompt;
}

std::string Captioner::question_text(const std::string& question) const {
  if (!prompts_.ask.empty())
    return replaced(replaced(prompts_.ask, "{image}", image_token_), "{question}", question);
  if (!text_->has_chat_template())
    return "USER: " + image_token_ + "\n" + question + " ASSISTANT:";  // LLaVA 1.5's own
  const Json content = Json::array(
      {Json::object({{"type", "image"}}), Json::object({{"type", "text"}, {"text", question}})});
  return text_->apply_chat_template(
      Json::array({Json::object({{"role", "user"}, {"content", content}})}));
}

GeneratedText Captioner::generate(const std::string& prompt, const std::vector<Value>& pictures,
                                  const TextOptions& options, const OnPiece& on_piece,
                                  std::stop_token cancel) const {
  // A template may have written the first token already.
  const std::string bos = text_->special_tokens().get("bos_token", "");
  const bool special = options.add_special_tokens && !(!bos.empty() && prompt.starts_with(bos));
  return text_->run(prompt_of(prompt, pictures, special), options, on_piece, cancel);
}

GeneratedText Captioner::chat(const Json& messages, const std::vector<Value>& pictures,
                              const TextOptions& options, const OnPiece& on_piece,
                              std::stop_token cancel) const {
  return generate(text_->apply_chat_template(messages, options.template_variables), pictures,
                  options, on_piece, cancel);
}

GeneratedText Captioner::ask(const Value& picture, const std::string& question,
                             const TextOptions& options, const OnPiece& on_piece,
                             std::stop_token cancel) const {
  require(!question.empty(), kUnit, "expected a question");
  return generate(question_text(question), {picture}, options, on_piece, cancel);
}

GeneratedText Captioner::caption(const Value& picture, const std::string& language,
                                 const TextOptions& options, const OnPiece& on_piece,
                                 std::stop_token cancel) const {
  auto given = prompts_.caption.find(language);
  if (given == prompts_.caption.end()) {
    std::string known;
    for (const auto& [name, text] : prompts_.caption) known += (known.empty() ? "" : ", ") + name;
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected a language of " + known + ", got " + language.substr(0, 40));
  }
  const bool whole = given->second.find("{image}") != std::string::npos;
  const std::string prompt =
      whole ? replaced(given->second, "{image}", image_token_) : question_text(given->second);
  return generate(prompt, {picture}, options, on_piece, cancel);
}

std::vector<GeneratedText> Captioner::ask_batch(const std::vector<Value>& pictures,
                                                const std::vector<std::string>& questions,
                                                const TextOptions& options,
                                                std::stop_token cancel) const {
  require(pictures.size() == questions.size(), kUnit, "expected a question for every picture");
  std::vector<runtime::Prompt> prompts;
  for (size_t i = 0; i < pictures.size(); ++i)
    prompts.push_back(
        prompt_of(question_text(questions[i]), {pictures[i]}, options.add_special_tokens));
  return text_->run_batch(std::move(prompts), options, cancel);
}

std::vector<std::string> Captioner::languages() const {
  std::vector<std::string> out;
  for (const auto& [name, text] : prompts_.caption) out.push_back(name);
  return out;
}

std::shared_ptr<Captioner> join_captioner(const CaptionerParts& parts, const ModelOptions& options,
                                          const data::Progress& progress) {
  auto seen = AutoModel::from_pretrained(parts.encoder);
  require(seen->encoder()->modality() == Modality::kImage, kUnit,
          "expected an encoder of pictures");
  auto text = TextGenerator::from_pretrained(parts.decoder, {}, progress);
  models::MultimodalLm::Config join = parts.join;
  join.encoder = seen->encoder_config();
  join.decoder = text->decoder()->config();
  auto model = std::make_shared<models::MultimodalLm>(join, seen->encoder(), text->decoder());
  settle(*model, options);
  return std::make_shared<Captioner>(model, seen->processor(), text, parts.prompts);
}

void save_captioner(const std::string& dir, const Captioner& captioner, const CaptionerParts& parts,
                    const Json& lora) {
  TensorMap projector;
  for (const auto& [name, tensor] : captioner.model()->state_dict()) {
    if (name.starts_with("projector.")) projector[name] = tensor;
  }
  Json join = write_config(parts.join);
  for (const char* part : {"encoder", "decoder"}) join.erase(part);
  save_model_folder(dir,
                    Json::object({{"model_type", kOwnType},
                                  {"format_version", 1},
                                  {"encoder", parts.encoder},
                                  {"decoder", parts.decoder},
                                  {"join", join},
                                  {"prompts", parts.prompts.to_json()}}),
                    projector);
  if (!lora.is_null()) {
    models::save_lora(dir + "/adapter", *captioner.model()->decoder(),
                      read_config<models::LoraConfig>(lora, "lora"), parts.decoder);
  }
}

}  // namespace plait::api
