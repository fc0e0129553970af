#pragma once
#include <map>
#include <string>
#include <vector>

/// What each subcommand does, free of command-line parsing (that is command_line.h's). All return
/// the exit code: 0 done, 1 failed; errors are thrown and printed once, in main.
namespace plait::cli {

struct PredictArgs {
  std::string model = "plait-base";
  std::vector<std::string> streams;  ///< "name=value"; a value that names a file is read as one
  std::string task, backend = "cpu", dtype = "float32";
  std::vector<std::string> labels;  ///< Zero-shot label set
  std::string gallery;              ///< A folder, or a file with one item a line, to search
  long top = 10;                    ///< So many of it are shown
  double coverage = 0.9, risk = 0.1;
  double early_exit_loss = 0.005, max_multiply_adds = 0, max_latency_ms = 0;
  bool early_exit = false, explain = false, class_conditional = false;
  bool untrained = false;
  bool json = false;
};
int predict(const PredictArgs& args);

struct GenerateArgs {
  std::string model = "smollm2", prompt, backend = "cpu", dtype = "float32";
  std::map<std::string, double> numbers;  ///< Of runtime::GenerateOptions, by name
  std::map<std::string, long> integers;
  std::vector<std::string> stop;
  std::string early_stopping = "false";
  std::string json_schema, grammar;  ///< Files that the text has to follow
  std::string system;                ///< With chat: what the model is told first
  std::string adapter;               ///< Folder of a low-rank adapter; empty: none
  bool chat = false, ignore_eos = false, stream = false, stats = false, json = false;
};
int generate(const GenerateArgs& args);

struct TranscribeArgs {
  std::vector<std::string> files;
  std::string model = "whisper-base", language, prompt, backend = "cpu", dtype = "float32";
  long beam_size = 1;
  bool translate = false, words = false, speech_only = false, independent = false;
  bool srt = false, vtt = false;
  bool json = false;
};
int transcribe(const TranscribeArgs& args);

struct SpeakArgs {
  std::string text, file, output;
  std::string voice = "joe", front_end, backend = "cpu", dtype = "float32";
  double speed = 1, noise = -1, noise_duration = -1, pause = 0.2;
  long seed = 0, speaker = 0;
  bool phonemes = false;  ///< Print them instead
  bool json = false;
};
int speak(const SpeakArgs& args);

struct ProsodyArgs {
  std::string sentences, held_out, output, voice = "joe";
  long seeds = 1, epochs = 40;
  bool json = false;
};
int prosody(const ProsodyArgs& args);

struct OcrArgs {
  std::vector<std::string> files;
  std::string model = "pp-ocrv4", backend = "cpu";
  std::string draw;  ///< Picture with the boxes; empty: none
  double min_score = 0.5;
  bool json = false;
};
int ocr(const OcrArgs& args);

struct DrawArgs {
  std::string model, prompt, output = "picture.png", negative, scheduler;
  std::string image, mask;  ///< Files; empty: none
  std::string backend = "cpu", dtype = "float32";
  std::map<std::string, double> numbers;  ///< Of runtime::DiffusionOptions, by name
  std::map<std::string, long> integers;   ///< Of them and of api::PictureOptions
  bool json = false;
};
int draw(const DrawArgs& args);

struct DetectArgs {
  std::vector<std::string> files;
  std::string model, backend = "cpu";  ///< Model: empty for the usual one
  std::string draw;                    ///< Picture with the boxes; empty: none
  double min_score = -1;               ///< Below 0: the model's own
  bool faces = false;
  bool json = false;
};
int detect(const DetectArgs& args);

struct TrainDetectorArgs {
  std::string annotations, pictures, output, architecture = "yolox", backend = "cpu";
  std::map<std::string, double> numbers;  ///< Of api::DetectorRecipe, by name
  std::map<std::string, long> integers;
  bool json = false;
};
int train_detector(const TrainDetectorArgs& args);

struct ClassifyArgs {
  std::vector<std::string> files;
  std::string model = "imagenet-classifier", backend = "cpu";
  long top = 5;
  bool json = false;
};
int classify(const ClassifyArgs& args);

struct CaptionArgs {
  std::vector<std::string> files;
  std::string model, question, language = "en", backend = "cpu", dtype = "float32";
  long max_new_tokens = 48, num_beams = 1, seed = 0;
  double temperature = 0;
  bool json = false;
};
int caption(const CaptionArgs& args);
int ask(const CaptionArgs& args);

struct TrainCaptionerArgs {
  std::string recipe, output, resume = "auto";
  std::vector<std::string> data;      ///< Empty: the recipe's
  std::map<std::string, long> sizes;  ///< Of api::CaptionRecipe, by name
  bool json = false;
};
int train_captioner(const TrainCaptionerArgs& args);

struct LoraMergeArgs {
  std::string base, adapter, destination;
  bool json = false;
};
int lora_merge(const LoraMergeArgs& args);

struct PerceiveArgs {
  std::string audio, image;  ///< Empty: none
  std::string speech_model = "whisper-base", ocr_model = "pp-ocrv4", object_model = "centernet";
  std::string language, backend = "cpu";
  bool json = false;
};
int perceive(const PerceiveArgs& args);

struct TrainArgs {
  std::string recipe, output, resume = "none";
  std::string compute_share;  ///< "image=0.85,speech=0.15" or "importance"; empty: the recipe's
  double compute_budget = 0;  ///< Multiply-adds of one item; 0: the recipe's
  std::string backend = "cpu";
  long seed = -1;
  bool json = false;
};
int train(const TrainArgs& args);

struct CalibrateArgs {
  std::string model, recipe, output;
  long seed = -1;
  bool half = false;
  bool json = false;
};
int calibrate(const CalibrateArgs& args);

struct EvalArgs {
  std::string model, dataset, split = "test", task, backend = "cpu";
  bool json = false;
};
int eval(const EvalArgs& args);

struct DemoArgs {
  std::string output = "build/demo";
  long seed = 0;
  bool json = false;
};
int demo(const DemoArgs& args);

struct BenchFusionArgs {
  std::vector<std::string> datasets;  ///< Empty: all
  std::vector<std::string> rivals;    ///< Trained baselines; empty: all, "none": none
  std::string rivals_from;            ///< Folder of an earlier run's tables; empty: none
  std::string output;                 ///< Folder for JSON and tables; empty: printed only
  long seeds = 0;                     ///< 0: 10, in the short form 3
  long first_seed = 0;
  bool quick = false;
  bool sizes = false;         ///< Few training items instead
  std::vector<long> items;    ///< So many of them; empty: 50 to 1000
  bool route_curves = false;  ///< DynMM's gates at several weights beside the route
  bool json = false;
};
int bench_fusion(const BenchFusionArgs& args);

/// Lists the tensors of a weights file of any format.
int inspect(const std::string& path, bool json);

struct ConvertArgs {
  std::string source, destination, dtype = "float32";
  bool json = false;
};
int convert(const ConvertArgs& args);

int models_list(bool json);
int models_get(const std::string& name, bool json);
int models_show(const std::string& name, bool json);
int data_list(bool json);
int data_get(const std::string& name, bool json);
int data_show(const std::string& name, bool json);
int doctor(bool json);

}  // namespace plait::cli
