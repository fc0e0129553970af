#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/api/recipe.h"
#include "plait/core/config.h"
#include "plait/train/diffusion/denoising.h"
#include "plait/train/trainer.h"

namespace plait::api {

/// How a model that draws is trained: pictures with texts, a frozen text encoder, a U-Net of the
/// pixels.
struct PictureRecipe {
  std::string dataset = "emoji";  ///< A name, or a .jsonl file with "image" and "text" in each line
  int64_t size = 48;              ///< Width and height of the pictures
  int64_t items = 0;              ///< So many pictures, spread over the data set; 0: all
  std::string text_encoder = "multilingual-e5-small";
  double held_out = 0.3;              ///< Share of the keywords that no prompt has
  Json unet = Json::object({});       ///< models::UNet2dCondition's config
  Json schedule = Json::object({});   ///< models::NoiseSchedule's config
  Json denoising = Json::object({});  ///< train::DenoisingOptions
  Json training = Json::object({});   ///< train::TrainingArguments without output_dir
  int64_t seed = 0;

  void visit(ConfigVisitor& v);
  static PictureRecipe tiny();
  void validate() const;
  /// A data set's file is looked up beside the recipe.
  static PictureRecipe read(const std::string& path);
};

/// Whether a recipe's file is one of these: it has the key "unet".
bool is_picture_recipe(const std::string& path);

/// What a picture is called: its names and most of its keywords, in every language it has them in.
/// Whether a keyword is held out follows from it alone, so that no other picture has it either.
struct PicturePrompts {
  std::vector<std::string> training;  ///< The first is the (English) name
  std::vector<std::string> held_out;
};
PicturePrompts picture_prompts(const Sample& sample, double held_out);

/// A decoded picture, white around it where it is not square → uint8 [3, size, size].
at::Tensor square_picture(const at::Tensor& rgb, int64_t size);

/// Trains by the recipe and writes a folder that PictureGenerator loads to `output_dir`/model, with
/// prompts.json ([{"id", "image", "training", "held_out"}]) beside it; the log and checkpoints are
/// in `output_dir`. `resume` is "none", "auto" or a checkpoint's folder. @throws Error as the data
/// set, the text encoder and the trainer do.
train::TrainResult train_pictures(const PictureRecipe& recipe, const std::string& output_dir,
                                  const StageProgress& progress = {},
                                  const std::string& resume = "none",
                                  const std::string& backend = "cpu");

}  // namespace plait::api
