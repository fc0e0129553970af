// A small language model learns to name the colours of scenes, from pictures that a frozen encoder
// saw.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>

#include "plait/core/error.h"
#include "plait/data/simulate/scenes.h"
#include "plait/models/decoders/causal_lm.h"
#include "plait/models/encoders/vit.h"
#include "plait/models/layers/lora.h"
#include "plait/train/captions.h"
#include "plait/train/text_metrics.h"
#include "plait/train/trainer.h"
#include "tests/train/toy.h"

namespace plait::train {
namespace {

constexpr int64_t kSide = 48, kPlaceholder = 66;

std::shared_ptr<models::MultimodalLm> small_model() {
  auto config = models::MultimodalLm::Config::tiny();
  config.encoder["image_size"] = kSide;
  config.encoder["patch_size"] = 12;
  auto model = std::make_shared<models::MultimodalLm>(config);
  model->initialize(3);
  // The words' embeddings score the words too, and stay as they are: so small, all would score
  // alike.
  model->state_dict().at("decoder.model.embed_tokens.weight").mul_(40);
  return model;
}

/// Features of the scenes and "what colour?" about their first group.
struct Scenes {
  at::Tensor features;
  std::vector<CaptionItem> items;
};
Scenes scenes(models::MultimodalLm& model, uint64_t first, int64_t count) {
  at::NoGradGuard no_grad;
  std::map<std::string, int64_t> words;
  for (const std::string& colour : data::scene_colours())
    words[colour] = 10 + static_cast<int64_t>(words.size());
  std::vector<at::Tensor> pictures;
  Scenes out;
  for (uint64_t seed = first; static_cast<int64_t>(out.items.size()) < count; ++seed) {
    const data::Scene scene = data::make_scene(seed, kSide);
    if (scene.truth.at("groups").size() != 1) continue;
    CaptionItem item;
    item.picture = static_cast<int64_t>(pictures.size());
    item.prompt.assign(16, kPlaceholder);
    item.prompt.push_back(5);
    item.answer = {words.at(scene.truth.at("groups").at(size_t{0}).at("colour").as_string()), 7};
    out.items.push_back(item);
    pictures.push_back(scene.picture.permute({2, 0, 1}).to(at::kFloat) / 127.5 - 1);
  }
  out.features = model.encode({{"pixel_values", at::stack(pictures)}}).tokens;
  return out;
}

TEST(Captions, LearnFromThePicture) {
  auto model = small_model();
  Scenes train = scenes(*model, 0, 2048), held_out = scenes(*model, 5000, 64);
  models::LoraConfig lora;
  lora.rank = 8;
  model->requires_grad_(false);
  models::add_lora(*model->decoder(), lora, 1);
  for (auto& [name, parameter] : model->named_parameters()) {
    if (name.starts_with("projector.")) parameter.set_requires_grad(true);
  }
  TensorMap before;
  for (const auto& [name, tensor] : model->state_dict()) before[name] = tensor.clone();

  toy::Folder folder("captions");
  TrainingArguments args = TrainingArguments::tiny();
  args.output_dir = folder.path;
  args.learning_rate = 1e-2;
  args.max_steps = 1000;
  args.per_device_train_batch_size = 32;
  args.lr_scheduler = "cosine";
  args.seed = 1;
  auto trainable = std::make_shared<CaptionTrainable>(model);
  auto source = std::make_shared<CaptionSource>(train.features, train.items);
  auto seen = std::make_shared<CaptionSource>(held_out.features, held_out.items);
  auto blind = std::make_shared<CaptionSource>(
      train.features.mean(0, true).expand_as(held_out.features).contiguous(), held_out.items);
  Trainer trainer(trainable, args, source);
  const double first = trainer.evaluate(*seen).at("loss");
  trainer.train();
  const double last = trainer.evaluate(*seen).at("loss"),
               without = trainer.evaluate(*blind).at("loss");
  // Two tokens an answer, of which the second is always the same: without the picture the mean loss
  // is at least half of ln 7.
  EXPECT_GT(first, 2);
  EXPECT_LT(last, 0.7);
  EXPECT_GT(without, 0.9);
  EXPECT_GT(without, 1.3 * last);
  // Frozen parts are as they were.
  for (const auto& [name, tensor] : model->state_dict()) {
    const bool learned = name.starts_with("projector.") || name.find(".lora_") != std::string::npos;
    EXPECT_EQ(tensor.equal(before.at(name)), !learned) << name;
  }
}

TEST(Captions, RefuseWhatCannotBe) {
  const at::Tensor features = at::zeros({2, 3, 4});
  EXPECT_THROW(CaptionSource(features, {{.picture = 2, .prompt = {1}, .answer = {1}}}), Error);
  EXPECT_THROW(CaptionSource(features, {{.picture = 0, .prompt = {1}, .answer = {}}}), Error);
  EXPECT_THROW(CaptionSource(at::zeros({2, 3}), {}), Error);
  CaptionSource source(features, {{.picture = 1, .prompt = {9, 9, 9, 1}, .answer = {4, 7}},
                                  {.picture = 0, .prompt = {9, 9, 9}, .answer = {5}}});
  const Batch batch = source.batch({0, 1}, 1);
  EXPECT_EQ(batch.targets.at("labels").sizes(), (std::vector<int64_t>{2, 6}));
  EXPECT_EQ(batch.targets.at("labels")[0][4].item<int64_t>(), 4);
  EXPECT_EQ(batch.targets.at("labels")[1][3].item<int64_t>(), 5);
  EXPECT_EQ(batch.targets.at("labels").ge(0).sum().item<int64_t>(), 3);
  EXPECT_EQ(batch.targets.at("attention_mask").sum().item<int64_t>(), 10);
}

}  // namespace
}  // namespace plait::train
