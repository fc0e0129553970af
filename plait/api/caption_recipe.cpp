#include "plait/api/caption_recipe.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <sstream>

#include "plait/api/caption_scores.h"
#include "plait/core/error.h"
#include "plait/train/captions.h"
#include "plait/train/trainer.h"

namespace plait::api {
namespace {

constexpr const char* kUnit = "caption_recipe";
constexpr size_t kEncodedAtOnce = 16, kWrittenAtOnce = 16;

CaptionerParts parts_of(const CaptionRecipe& recipe) {
  CaptionerParts parts;
  parts.encoder = recipe.encoder;
  parts.decoder = recipe.decoder;
  parts.join.grid = recipe.grid;
  parts.prompts.caption = {{"en", "{image}Caption:"}, {"zh", "{image}标题："}};
  parts.prompts.ask = "{image}Question: {question} Answer:";
  return parts;
}

void tell(const StageProgress& progress, const std::string& stage, size_t done, size_t total) {
  if (progress) progress(stage, static_cast<double>(done), static_cast<double>(total), "");
}

/// What the frozen encoder sees [N, grid², E], once for all steps.
at::Tensor features_of(const Captioner& captioner, const std::vector<Value>& pictures,
                       const StageProgress& progress) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> out;
  for (size_t i = 0; i < pictures.size(); i += kEncodedAtOnce) {
    tell(progress, "features", i, pictures.size());
    std::vector<Value> decoded;
    std::vector<const Value*> rows;
    for (size_t j = i; j < std::min(pictures.size(), i + kEncodedAtOnce); ++j)
      decoded.push_back(data::decode(pictures[j], Modality::kImage, "picture"));
    for (const Value& value : decoded) rows.push_back(&value);
    out.push_back(
        captioner.model()->encode(captioner.processor()->process(rows, "pictures")).tokens);
  }
  tell(progress, "features", pictures.size(), pictures.size());
  return at::cat(out).contiguous();
}

/// The text that the model is to go on from, with a place for every token of the picture.
std::string prompt_text(const Captioner& captioner, const CaptionExample& example, int64_t tokens) {
  std::string text = example.question.empty()
                         ? captioner.prompts().caption.at(example.kind.substr(8))
                         : captioner.prompts().ask;
  const std::string image = "{image}", question = "{question}";
  std::string places;
  for (int64_t i = 0; i < tokens; ++i) places += captioner.image_token();
  text.replace(text.find(image), image.size(), places);
  if (size_t at = text.find(question); at != std::string::npos)
    text.replace(at, question.size(), example.question);
  return text;
}

/// The part of all that one training run and its texts need.
struct Study {
  const CaptionRecipe& recipe;
  Captioner& captioner;
  const CaptionData& data;
  at::Tensor train, test;
  const StageProgress& progress;

  std::vector<train::CaptionItem> items() const {
    std::vector<train::CaptionItem> out;
    const int64_t end = captioner.text()->end_of_text().front();
    for (const CaptionExample& example : data.train.examples) {
      train::CaptionItem item;
      item.picture = example.picture;
      item.prompt = captioner.text()->encode(prompt_text(captioner, example, train.size(1)), false);
      item.answer = captioner.text()->encode(" " + example.answer, false);
      item.answer.push_back(end);
      if (static_cast<int64_t>(item.answer.size()) <= recipe.max_answer_tokens)
        out.push_back(std::move(item));
    }
    require(!out.empty(), kUnit, "expected texts of at most max_answer_tokens");
    return out;
  }

  /// Draws the projector and fresh adapters; these alone learn.
  void start_anew() const {
    models::MultimodalLm& model = *captioner.model();
    models::remove_lora(*model.decoder());
    model.requires_grad_(false);
    if (!recipe.lora.is_null()) {
      models::add_lora(*model.decoder(), read_config<models::LoraConfig>(recipe.lora, "lora"),
                       static_cast<uint64_t>(recipe.seed));
    }
    at::NoGradGuard no_grad;
    at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(recipe.seed));
    model.visit([&](const std::string& name, models::Module& module) {
      if (name.starts_with("projector.")) module.reset_parameters(generator);
      if (name == "projector") module.requires_grad_(true);
    });
  }

  train::TrainResult learn(const at::Tensor& features, const std::string& output_dir,
                           const std::string& resume, const std::string& stage) const {
    train::TrainingArguments args;
    args.output_dir = output_dir;
    args.overwrite_output_dir = resume == "none";
    args.resume = resume;
    args.learning_rate = recipe.learning_rate;
    args.max_steps = recipe.max_steps;
    args.per_device_train_batch_size = recipe.batch_size;
    args.warmup_ratio = recipe.warmup_ratio;
    args.save_steps = recipe.save_steps;
    args.save_total_limit = 1;
    args.bf16 = recipe.bf16;
    args.seed = recipe.seed;
    auto trainable = std::make_shared<train::CaptionTrainable>(captioner.model());
    train::Trainer trainer(trainable, args,
                           std::make_shared<train::CaptionSource>(features, items()));
    if (progress) {
      trainer.set_callback([&](const train::Progress& p) {
        std::ostringstream note;
        note.precision(3);
        note << "loss " << p.loss;
        progress(stage, static_cast<double>(p.step), static_cast<double>(p.total_steps),
                 note.str());
        return true;
      });
    }
    train::TrainResult result = trainer.train();
    captioner.model()->train(false);
    return result;
  }

  /// The model's own words for every example of the held-out side.
  std::vector<std::string> write(const at::Tensor& features, const std::string& stage) const {
    c10::InferenceMode inference;
    TextOptions options;
    options.max_new_tokens = recipe.max_answer_tokens;
    const auto& examples = data.test.examples;
    std::vector<std::string> out;
    for (size_t i = 0; i < examples.size(); i += kWrittenAtOnce) {
      tell(progress, stage, i, examples.size());
      std::vector<runtime::Prompt> prompts;
      for (size_t j = i; j < std::min(examples.size(), i + kWrittenAtOnce); ++j) {
        runtime::Prompt prompt;
        prompt.ids =
            captioner.text()->encode(prompt_text(captioner, examples[j], features.size(1)), false);
        const at::Tensor seen =
            captioner.model()->project(features.narrow(0, examples[j].picture, 1));
        prompt.embeddings = captioner.model()->embed(at::tensor(prompt.ids, at::kLong).unsqueeze(0),
                                                     seen.flatten(0, 1))[0];
        prompts.push_back(std::move(prompt));
      }
      for (const GeneratedText& text : captioner.text()->run_batch(std::move(prompts), options))
        out.push_back(text.text);
    }
    tell(progress, stage, examples.size(), examples.size());
    return out;
  }
};

/// A few held-out texts as they were written, for the reader of the report.
Json shown(const CaptionExamples& test, const std::vector<std::string>& texts) {
  Json rows = Json::array();
  const size_t step = std::max<size_t>(1, test.examples.size() / 40);
  for (size_t i = 0; i < test.examples.size(); i += step) {
    const CaptionExample& example = test.examples[i];
    rows.push_back(Json::object({{"data", test.sources[static_cast<size_t>(example.picture)]},
                                 {"kind", example.kind},
                                 {"question", example.question},
                                 {"expected", example.answer},
                                 {"written", texts[i]}}));
  }
  return rows;
}

}  // namespace

Json train_captioner(const CaptionRecipe& recipe, const std::string& output_dir,
                     const std::string& resume, const StageProgress& progress) {
  recipe.validate();
  require(!output_dir.empty(), kUnit, "expected a folder to write to");
  std::filesystem::create_directories(output_dir);
  const CaptionData data = caption_data(recipe, progress);
  CaptionerParts parts = parts_of(recipe);
  {
    // The placeholder's id is the tokenizer's to tell.
    auto text = TextGenerator::from_pretrained(recipe.decoder);
    parts.join.placeholder = text->tokenizer()->id_of(recipe.placeholder);
    if (parts.join.placeholder < 0) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           "expected a placeholder among the tokens of " + recipe.decoder + ", got " +
               recipe.placeholder.substr(0, 40));
    }
    require(!text->end_of_text().empty(), kUnit,
            "expected a language model with an end-of-text token");
  }
  auto captioner = join_captioner(parts);
  const at::Tensor seen = features_of(*captioner, data.train.pictures, progress),
                   asked = features_of(*captioner, data.test.pictures, progress);
  const Study study{recipe, *captioner, data, seen, asked, progress};
  std::vector<std::pair<std::string, std::vector<std::string>>> systems;

  study.start_anew();
  const train::TrainResult result = study.learn(seen, output_dir + "/run", resume, "train");
  save_captioner(output_dir + "/model", *captioner, parts, recipe.lora);
  systems.emplace_back("model", study.write(asked, "write"));
  systems.emplace_back("retrieval", retrieved_texts(data.train, seen, data.test, asked));
  if (recipe.without_picture) {
    const at::Tensor mean = seen.mean(0, true);
    study.start_anew();
    study.learn(mean.expand_as(seen), output_dir + "/run_without_picture", resume,
                "train without the picture");
    systems.emplace_back("without_picture",
                         study.write(mean.expand_as(asked), "write without the picture"));
  }
  Json report = Json::object({{"recipe", write_config(recipe)},
                              {"training", result.to_json()},
                              {"texts", data.train.examples.size()},
                              {"pictures", data.train.pictures.size()},
                              {"results", judge(data.test, systems, 1)},
                              {"examples", shown(data.test, systems.front().second)}});
  report.write(output_dir + "/report.json");
  return report;
}

}  // namespace plait::api
