#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/api/captioner.h"
#include "plait/api/recipe.h"
#include "plait/models/layers/lora.h"

namespace plait::api {

/// How a captioner is made: a frozen picture encoder and a frozen language model, joined by a
/// projector and low-rank adapters that are trained.
struct CaptionRecipe {
  std::string encoder = "efficientnet-lite0";
  std::string decoder = "smollm2";
  std::vector<std::string> data = {"scenes", "emoji", "stamps"};
  int64_t grid = 3;  ///< A picture is grid · grid tokens
  std::string placeholder = "<reponame>";
  int64_t scenes = 2000;
  int64_t max_pictures = 0;  ///< Of each data set; 0: all
  int64_t held_out = 150;    ///< Of each data set
  int64_t max_answer_tokens = 24;
  Json lora = Json::object({{"rank", 8},
                            {"alpha", 16.0},
                            {"target_modules", Json::array({"q_proj", "v_proj", "down_proj"})}});
  int64_t max_steps = 2000;
  int64_t batch_size = 8;
  double learning_rate = 1e-3;
  double warmup_ratio = 0.03;
  int64_t save_steps = 200;
  bool bf16 = false;
  int64_t seed = 1;
  bool without_picture =
      true;  ///< Train a language model without the picture beside it, to compare

  void visit(ConfigVisitor& v);
  static CaptionRecipe tiny();
  void validate() const;
};

/// A text about a picture, to learn from or to be judged by.
struct CaptionExample {
  int64_t picture = 0;
  std::string kind;      ///< "caption_en", "caption_zh", or a question's: "what", "colour" ...
  std::string question;  ///< Empty for captions
  std::string answer;
};

/// Pictures and texts of one side of the split.
struct CaptionExamples {
  std::vector<Value> pictures;
  std::vector<std::string> sources;  ///< Data set of every picture
  std::vector<CaptionExample> examples;
};
struct CaptionData {
  CaptionExamples train, test;
};
/// Scenes are synthetic, each with a caption in English and in Chinese and all of its questions;
/// "emoji" and "stamps" are data sets with captions in both languages where they have them. No
/// caption of the training side is on the other. @throws Error kInvalidArgument for other names.
CaptionData caption_data(const CaptionRecipe& recipe, const StageProgress& progress = {});

/// Trains, judges on the held-out side and writes `output_dir`: model/ (for
/// Captioner::from_pretrained), run/ with checkpoints, report.json. `resume` as TrainingArguments
/// has it. The report tells by kind of text the score (CIDEr-D for captions, share of right answers
/// for questions) of the model, of retrieval (the nearest training picture's text) and of the
/// language model trained without the picture, with paired bootstrap differences.
Json train_captioner(const CaptionRecipe& recipe, const std::string& output_dir,
                     const std::string& resume = "none", const StageProgress& progress = {});

}  // namespace plait::api
