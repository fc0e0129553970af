#include <algorithm>

#include "plait/api/caption_recipe.h"
#include "plait/core/error.h"
#include "plait/data/datasets/datasets.h"
#include "plait/data/simulate/scenes.h"

namespace plait::api {
namespace {

constexpr const char* kUnit = "caption_recipe";
/// Held-out scenes come from other seeds.
constexpr int64_t kTestSeeds = 1'000'000'000;

void add_scenes(CaptionExamples& into, int64_t first, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    data::Scene scene = data::make_scene(static_cast<uint64_t>(first + i));
    const auto picture = static_cast<int64_t>(into.pictures.size());
    into.pictures.emplace_back(scene.picture);
    into.sources.emplace_back("scenes");
    into.examples.push_back({picture, "caption_en", "", scene.caption});
    into.examples.push_back({picture, "caption_zh", "", scene.caption_zh});
    for (const data::SceneQuestion& q : scene.questions)
      into.examples.push_back({picture, q.kind, q.question, q.answer});
  }
}

void add_samples(CaptionExamples& into, const std::string& name, const std::vector<Sample>& samples,
                 int64_t most) {
  for (const Sample& sample : samples) {
    if (most-- == 0) break;
    const auto picture = static_cast<int64_t>(into.pictures.size());
    into.pictures.push_back(sample.streams.at("image"));
    into.sources.push_back(name);
    for (const auto& [stream, kind] :
         {std::pair{"text", "caption_en"}, std::pair{"text_zh", "caption_zh"}}) {
      auto found = sample.streams.find(stream);
      if (found == sample.streams.end()) continue;
      if (const auto* text = std::get_if<std::string>(&found->second); text && !text->empty())
        into.examples.push_back({picture, kind, "", *text});
    }
  }
}

}  // namespace

void CaptionRecipe::visit(ConfigVisitor& v) {
  v.field("encoder", encoder, "Picture encoder: a name from plait models list, or model:stream");
  v.field("decoder", decoder, "Language model: a name from plait models list, or a folder");
  v.field("data", data, "What it learns from: scenes (synthetic), emoji, stamps");
  v.field("grid", grid, "A picture becomes so many tokens to a side", {.min = 1, .max = 64});
  v.field("placeholder", placeholder, "A special token of the language model that it never writes");
  v.field("scenes", scenes, "Scenes to train on", {.min = 1, .max = 1e8});
  v.field("max_pictures", max_pictures, "Most pictures of each data set; 0: all",
          {.min = 0, .max = 1e8});
  v.field("held_out", held_out, "Pictures of each data set to judge by", {.min = 1, .max = 1e6});
  v.field("max_answer_tokens", max_answer_tokens, "Longer texts are not learned",
          {.min = 2, .max = 512});
  v.field("lora", lora, "Adapters of the language model (models::LoraConfig); null: none");
  v.field("max_steps", max_steps, "Steps of the optimizer", {.min = 1, .max = 1e9});
  v.field("batch_size", batch_size, "Texts of a step", {.min = 1, .max = 4096});
  v.field("learning_rate", learning_rate, "At its highest", {.min = 0, .max = 10});
  v.field("warmup_ratio", warmup_ratio, "Share of the steps in which it rises",
          {.min = 0, .max = 1});
  v.field("save_steps", save_steps, "Steps between checkpoints; 0: none", {.min = 0, .max = 1e9});
  v.field("bf16", bf16, "Multiply matrices in bfloat16");
  v.field("seed", seed, "Of everything that is random", {.min = 0, .max = 1e15});
  v.field("without_picture", without_picture,
          "Train the language model without the picture too, to compare");
}

CaptionRecipe CaptionRecipe::tiny() {
  CaptionRecipe recipe;
  recipe.data = {"scenes"};
  recipe.scenes = 32;
  recipe.held_out = 8;
  recipe.max_steps = 4;
  recipe.save_steps = 0;
  return recipe;
}

void CaptionRecipe::validate() const {
  require(!data.empty(), kUnit, "expected data to learn from");
  if (!lora.is_null()) read_config<models::LoraConfig>(lora, "lora");
}

CaptionData caption_data(const CaptionRecipe& recipe, const StageProgress& progress) {
  CaptionData out;
  for (const std::string& name : recipe.data) {
    if (name == "scenes") {
      const int64_t count =
          recipe.max_pictures > 0 ? std::min(recipe.scenes, recipe.max_pictures) : recipe.scenes;
      add_scenes(out.train, recipe.seed * 10'000'000, count);
      add_scenes(out.test, kTestSeeds, recipe.held_out);
    } else if (name == "emoji" || name == "stamps") {
      data::DatasetOptions options;
      options.streams = {"image", "text", "text_zh"};
      options.seed = recipe.seed;
      data::Progress fetch;
      if (progress) {
        fetch = [&](const data::ProgressEvent& e) {
          progress("fetch", static_cast<double>(e.done), static_cast<double>(e.total), e.what);
        };
      }
      const data::DatasetSplits splits = data::load_dataset(name, options, fetch);
      add_samples(out.train, name, splits.train,
                  recipe.max_pictures > 0 ? recipe.max_pictures : -1);
      add_samples(out.test, name, splits.test, recipe.held_out);
    } else {
      fail(ErrorCode::kInvalidArgument, kUnit,
           "expected data of scenes, emoji, stamps; got " + name.substr(0, 40));
    }
  }
  return out;
}

}  // namespace plait::api
