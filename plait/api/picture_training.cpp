#include "plait/api/picture_training.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "plait/api/auto_model.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/data/dataset.h"
#include "plait/data/decode.h"
#include "plait/models/diffusion/published_diffusion.h"

namespace plait::api {
namespace {

namespace fs = std::filesystem;
constexpr const char* kUnit = "picture_training";
constexpr size_t kTextBatch = 32;
constexpr size_t kMaxKeywords = 64;
const std::vector<std::string> kNames = {"text", "text_zh"};
const std::vector<std::string> kKeywords = {"keywords", "keywords_zh"};

std::string text_of(const Sample& sample, const std::string& stream) {
  auto found = sample.streams.find(stream);
  if (found == sample.streams.end()) return "";
  return data::decode_text_value(found->second, stream);
}

/// "face, grin" → {"face", "grin"}
std::vector<std::string> split_commas(const std::string& list) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin < list.size() && out.size() < kMaxKeywords;) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const size_t first = list.find_first_not_of(' ', begin);
    if (first < end) {
      const size_t last = list.find_last_not_of(' ', end - 1);
      out.push_back(list.substr(first, last + 1 - first));
    }
    begin = end + 1;
  }
  return out;
}

/// A share in [0, 1) that follows from the text.
double share_of(const std::string& keyword) {
  const std::string digest = content_hash(keyword);
  return static_cast<double>(std::stoull(digest.substr(0, 8), nullptr, 16)) / 4294967296.0;
}

std::vector<Sample> load_samples(const PictureRecipe& recipe, const StageProgress& progress) {
  std::vector<Sample> samples;
  if (recipe.dataset.ends_with(".jsonl")) {
    data::JsonLinesDataset lines({recipe.dataset}, {{"image", Modality::kImage},
                                                    {"text", Modality::kText},
                                                    {"text_zh", Modality::kText},
                                                    {"keywords", Modality::kText},
                                                    {"keywords_zh", Modality::kText}});
    for (int64_t i = 0; i < lines.size(); ++i) samples.push_back(lines.get(i));
  } else {
    const data::DatasetInfo& info = data::dataset_info(recipe.dataset);
    data::DatasetOptions options;
    for (const data::StreamList* list : {&info.streams, &info.more_streams}) {
      for (const auto& [name, modality] : *list) {
        if (name == "image" || modality == Modality::kText) options.streams.push_back(name);
      }
    }
    auto told = [&](const data::ProgressEvent& e) {
      if (progress)
        progress("fetch", static_cast<double>(e.done), static_cast<double>(e.total),
                 e.step + " " + e.what);
    };
    data::DatasetSplits splits = data::load_dataset(recipe.dataset, options, told);
    // All of it: what is held out are words, not pictures.
    for (auto* part : {&splits.train, &splits.validation, &splits.test})
      samples.insert(samples.end(), part->begin(), part->end());
    std::sort(samples.begin(), samples.end(),
              [](const Sample& a, const Sample& b) { return a.id < b.id; });
  }
  std::erase_if(samples, [](const Sample& sample) {
    return !sample.streams.count("image") || picture_prompts(sample, 0).training.empty();
  });
  const size_t all = samples.size(), wanted = static_cast<size_t>(recipe.items);
  if (wanted > 0 && all > wanted) {
    std::vector<Sample> some;
    for (size_t i = 0; i < wanted; ++i) some.push_back(samples[i * all / wanted]);
    samples = std::move(some);
  }
  require(!samples.empty(), kUnit, "expected pictures with texts, got none");
  return samples;
}

/// The tokens of every text, [S, E] in half precision: they are many.
std::vector<at::Tensor> encode_texts(const AutoModel& encoder,
                                     const std::vector<std::string>& texts,
                                     const StageProgress& progress) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> out;
  for (size_t begin = 0; begin < texts.size(); begin += kTextBatch) {
    const size_t end = std::min(begin + kTextBatch, texts.size());
    std::vector<Value> values(texts.begin() + static_cast<std::ptrdiff_t>(begin),
                              texts.begin() + static_cast<std::ptrdiff_t>(end));
    TensorMap encoded = encoder(values);
    const at::Tensor states = get(encoded, "last_hidden_state", kUnit).to(at::kCPU);
    const at::Tensor mask = get_or_undefined(encoded, "mask");
    for (size_t i = 0; i < values.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      at::Tensor tokens = states[row];
      if (mask.defined()) tokens = tokens.slice(0, 0, mask[row].sum().item<int64_t>());
      out.push_back(tokens.to(at::kHalf).clone());
    }
    if (progress)
      progress("Encoding texts", static_cast<double>(end), static_cast<double>(texts.size()), "");
  }
  return out;
}

struct Prepared {
  std::shared_ptr<train::PromptedPictures> data;
  Json listing = Json::array();  ///< prompts.json
};

Prepared prepare(const PictureRecipe& recipe, const AutoModel& encoder,
                 const std::vector<Sample>& samples, const StageProgress& progress) {
  Prepared out;
  out.data = std::make_shared<train::PromptedPictures>();
  std::vector<at::Tensor> pictures;
  std::vector<std::string> texts = {""};
  std::map<std::string, int64_t> known;
  for (const Sample& sample : samples) {
    const PicturePrompts prompts = picture_prompts(sample, recipe.held_out);
    const Value& value = sample.streams.at("image");
    pictures.push_back(square_picture(data::decode_image_value(value, "image"), recipe.size));
    std::vector<int64_t> rows;
    for (const std::string& text : prompts.training) {
      auto [found, fresh] = known.try_emplace(text, static_cast<int64_t>(texts.size()) - 1);
      if (fresh) texts.push_back(text);
      rows.push_back(found->second);
    }
    out.data->prompts.push_back(std::move(rows));
    const Path* path = std::get_if<Path>(&value);
    out.listing.push_back(Json::object({{"id", sample.id},
                                        {"image", path ? path->path : ""},
                                        {"training", Json(prompts.training)},
                                        {"held_out", Json(prompts.held_out)}}));
    if (progress && pictures.size() % 100 == 0)
      progress("Reading pictures", static_cast<double>(pictures.size()),
               static_cast<double>(samples.size()), "");
  }
  out.data->pictures = at::stack(pictures);
  std::vector<at::Tensor> states = encode_texts(encoder, texts, progress);
  out.data->nothing = states.front();
  out.data->states.assign(states.begin() + 1, states.end());
  return out;
}

/// scheduler_config.json of what the network was trained with.
Json scheduler_config(const models::NoiseSchedule& schedule) {
  Json config = write_config(schedule.settings());
  if (schedule.settings().trained_betas.empty()) config["trained_betas"] = Json();
  config["_class_name"] = "DDIMScheduler";
  config["clip_sample"] = true;
  config["timestep_spacing"] = "trailing";
  return config;
}

}  // namespace

void PictureRecipe::visit(ConfigVisitor& v) {
  v.field("dataset", dataset, "Name of a data set, or a .jsonl file with image and text");
  v.field("size", size, "Width and height of the pictures", {.min = 8, .max = 1024});
  v.field("items", items, "So many pictures, spread over the data set; 0: all",
          {.min = 0, .max = 1e7});
  v.field("text_encoder", text_encoder, "Frozen encoder of the prompts");
  v.field("held_out", held_out, "Share of the keywords that no prompt has", {.min = 0, .max = 1});
  v.field("unet", unet, "Config of the U-Net");
  v.field("schedule", schedule, "Config of the noise schedule");
  v.field("denoising", denoising, "Prompt dropout, min-SNR, moving average");
  v.field("training", training, "Training arguments");
  v.field("seed", seed, "Of weights, order and noise", {.min = 0, .max = 9e15});
}

PictureRecipe PictureRecipe::tiny() {
  PictureRecipe recipe;
  recipe.size = 8;
  return recipe;
}

void PictureRecipe::validate() const {
  require(!dataset.empty() && !text_encoder.empty(), kUnit,
          "expected a dataset and a text_encoder");
}

PictureRecipe PictureRecipe::read(const std::string& path) {
  auto recipe = read_config<PictureRecipe>(Json::read(path, 1 << 20), path);
  if (recipe.dataset.ends_with(".jsonl") && !fs::path(recipe.dataset).is_absolute())
    recipe.dataset = (fs::path(path).parent_path() / recipe.dataset).string();
  return recipe;
}

bool is_picture_recipe(const std::string& path) {
  const Json json = Json::read(path, 1 << 20);
  return json.is_object() && json.contains("unet");
}

PicturePrompts picture_prompts(const Sample& sample, double held_out) {
  PicturePrompts out;
  const auto add = [](std::vector<std::string>& list, const std::string& text) {
    if (!text.empty() && std::find(list.begin(), list.end(), text) == list.end())
      list.push_back(text);
  };
  for (const std::string& stream : kNames) add(out.training, text_of(sample, stream));
  const std::vector<std::string> names = out.training;
  for (const std::string& stream : kKeywords) {
    std::string kept;
    for (const std::string& keyword : split_commas(text_of(sample, stream))) {
      if (std::find(names.begin(), names.end(), keyword) != names.end()) continue;
      if (share_of(keyword) < held_out) {
        add(out.held_out, keyword);
      } else {
        add(out.training, keyword);
        kept += (kept.empty() ? "" : ", ") + keyword;
      }
    }
    add(out.training, kept);
  }
  return out;
}

at::Tensor square_picture(const at::Tensor& rgb, int64_t size) {
  const int64_t side = std::max(rgb.size(0), rgb.size(1));
  at::Tensor square = at::full({side, side, 3}, 255, at::kByte);
  square.slice(0, (side - rgb.size(0)) / 2, (side - rgb.size(0)) / 2 + rgb.size(0))
      .slice(1, (side - rgb.size(1)) / 2, (side - rgb.size(1)) / 2 + rgb.size(1))
      .copy_(rgb);
  return data::resize_image(square, size, size, data::Resample::kBicubic)
      .permute({2, 0, 1})
      .contiguous();
}

train::TrainResult train_pictures(const PictureRecipe& recipe, const std::string& output_dir,
                                  const StageProgress& progress, const std::string& resume,
                                  const std::string& backend) {
  require(!output_dir.empty(), kUnit, "expected an output folder");
  const c10::Device device = device_from_string(backend);
  const auto denoising = read_config<train::DenoisingOptions>(recipe.denoising, "denoising");
  auto args = read_config<train::TrainingArguments>(recipe.training, "training");
  args.output_dir = output_dir;
  args.resume = resume;
  args.seed = recipe.seed;
  auto schedule = std::make_shared<const models::NoiseSchedule>(
      read_config<models::NoiseSchedule::Config>(recipe.schedule, "schedule"));
  ModelOptions how;
  how.backend = backend;
  auto encoder = AutoModel::from_pretrained(recipe.text_encoder, how);
  require(encoder->encoder()->modality() == Modality::kText, kUnit,
          "expected a text_encoder, got an encoder of another modality");
  Json config = recipe.unet;
  config["in_channels"] = 3;
  config["out_channels"] = 3;
  config["sample_size"] = recipe.size;
  config["cross_attention_dim"] = encoder->encoder()->width();
  auto unet = std::make_shared<models::UNet2dCondition>(
      read_config<models::UNet2dCondition::Config>(config, "unet"));
  unet->initialize(static_cast<uint64_t>(recipe.seed));
  unet->to(device);

  const std::vector<Sample> samples = load_samples(recipe, progress);
  Prepared prepared = prepare(recipe, *encoder, samples, progress);
  auto trainable = std::make_shared<train::DenoisingTrainable>(unet, schedule, denoising);
  train::Trainer trainer(
      trainable, args,
      std::make_shared<train::DenoisingSource>(prepared.data, schedule->steps(), denoising));
  trainer.set_callback([&](const train::Progress& p) {
    if (progress) {
      progress("Training the U-Net", static_cast<double>(p.step),
               static_cast<double>(p.total_steps), "loss " + std::to_string(p.loss).substr(0, 6));
    }
    return true;
  });
  train::TrainResult result = trainer.train();
  trainable->use_average();
  unet->to(at::Device(at::kCPU));

  models::LoadedDiffusion parts;
  parts.unet = unet;
  parts.scheduler = scheduler_config(*schedule);
  parts.index = Json::object({{"_class_name", "PlaitPicturePipeline"},
                              {"text_encoder", Json::array({"plait", recipe.text_encoder})},
                              {"unet", Json::array({"diffusers", "UNet2DConditionModel"})},
                              {"scheduler", Json::array({"diffusers", "DDIMScheduler"})}});
  models::save_diffusion(output_dir + "/model", parts);
  prepared.listing.write(output_dir + "/model/prompts.json");
  write_config(recipe).write(output_dir + "/model/recipe.json");
  return result;
}

}  // namespace plait::api
