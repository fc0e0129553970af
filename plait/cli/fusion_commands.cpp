#include "plait/cli/command_line.h"

namespace plait::cli {
namespace {

void add_predict(CommandLine& line) {
  auto args = std::make_shared<PredictArgs>();
  CLI::App* cmd =
      line.add("predict", "Answer from any subset of a model's streams",
               "  plait predict --text \"a red apple\"\n"
               "  plait predict --image cat.png --audio meow.wav --json\n"
               "  plait predict --image photo.jpg --labels \"a cat\" \"a dog\" \"a car\"\n"
               "  plait predict --model build/demo/model --stream speech=clip.ogg --coverage 0.95\n"
               "  plait predict --image cat.png --text \"a cat\" --explain\n"
               "  plait predict --image cat.png --audio meow.wav --gallery captions.txt --top 5\n"
               "  plait predict --image cat.png --audio meow.wav --early-exit --max-latency 50\n");
  cmd->add_option("-m,--model", args->model, "Folder or name of a model")->capture_default_str();
  auto shorthand = [&](const std::string& stream) {
    cmd->add_option_function<std::string>(
        "--" + stream,
        [args, stream](const std::string& v) { args->streams.push_back(stream + "=" + v); },
        "Value of the stream \"" + stream + "\": a file" +
            (stream == "text" ? " or the text itself" : ""));
  };
  for (const char* stream : {"text", "image", "audio", "series", "table"}) shorthand(stream);
  cmd->add_option("-s,--stream", args->streams,
                  "NAME=VALUE for a stream of any name; may be repeated");
  cmd->add_option("--labels", args->labels,
                  "Zero-shot: choose among these labels instead of the trained ones");
  cmd->add_option("--gallery", args->gallery,
                  "Search: rank the files of this folder, or the lines of this text file "
                  "(texts, or file names), by a retrieval task");
  cmd->add_option("--top", args->top, "With --gallery: how many are shown")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  cmd->add_option("--task", args->task, "Task to answer (default: the model's first)");
  cmd->add_option("--coverage", args->coverage, "Of the prediction set, between 0 and 1")
      ->capture_default_str();
  cmd->add_flag("--class-conditional", args->class_conditional,
                "The coverage holds for every class by itself");
  cmd->add_option("--risk", args->risk,
                  "Abstain when answers this sure are wrong more often (0.01 to 1)")
      ->capture_default_str();
  cmd->add_flag("--explain", args->explain,
                "Show what each stream contributed, and why one is doubted");
  cmd->add_flag("--early-exit", args->early_exit,
                "Encode stream after stream and stop when the answer is sure");
  cmd->add_option("--early-exit-loss", args->early_exit_loss,
                  "Share of items that stopping early may get wrong; certified: 0.005 to 0.05")
      ->capture_default_str();
  cmd->add_option("--max-multiply-adds", args->max_multiply_adds,
                  "Budget for encoders; streams beyond it are skipped");
  cmd->add_option("--max-latency", args->max_latency_ms,
                  "Milliseconds after which no further stream is started");
  add_device(*cmd, *args);
  cmd->add_flag("--untrained", args->untrained, "Accept a model with untrained parts");
  line.on(cmd, args, predict);
}

void add_train(CommandLine& line) {
  auto args = std::make_shared<TrainArgs>();
  CLI::App* cmd = line.add("train", "Train, calibrate and save a model by a recipe",
                           "  plait train recipes/stamps.json --output out/stamps\n"
                           "  plait train recipes/stamps.json --output out/stamps --resume auto\n"
                           "  plait train recipes/emoji_pictures.json --output out/emoji\n"
                           "  plait train recipes/plait-base/recipe.json --output out/base "
                           "--compute-share text=0.1,image=0.7,audio=0.2\n");
  cmd->add_option("recipe", args->recipe, "JSON file: dataset, model, training, damage")
      ->required();
  cmd->add_option("-o,--output", args->output, "Folder for the model, the log and the checkpoints")
      ->required();
  cmd->add_option("--resume", args->resume, "none, auto, or a checkpoint folder")
      ->capture_default_str();
  cmd->add_option("--seed", args->seed, "Instead of the recipe's");
  cmd->add_option("--compute-share", args->compute_share,
                  "Share of the encoders' multiply-adds by stream (image=0.85,speech=0.15), "
                  "or importance: as many as errors the stream removes");
  cmd->add_option("--compute-budget", args->compute_budget,
                  "With shares: most multiply-adds of one item")
      ->check(CLI::NonNegativeNumber);
  add_backend(*cmd, *args);
  line.on(cmd, args, train);
}

void add_calibrate(CommandLine& line) {
  auto args = std::make_shared<CalibrateArgs>();
  CLI::App* cmd = line.add(
      "calibrate", "Fit temperatures and the trust fusion of a model that is trained already",
      "  plait calibrate out/stamps/model recipes/stamps.json\n"
      "  plait calibrate plait-base recipes/plait-base/recipe.json --output out/plait-base\n");
  cmd->add_option("model", args->model, "Folder or name of a model")->required();
  cmd->add_option("recipe", args->recipe, "That it was trained by")->required();
  cmd->add_option("-o,--output", args->output,
                  "Folder for the calibrated model (default: the model's own)");
  cmd->add_option("--seed", args->seed, "Instead of the recipe's");
  cmd->add_flag("--half", args->half, "Store the network's weights as float16");
  line.on(cmd, args, calibrate);
}

void add_eval(CommandLine& line) {
  auto args = std::make_shared<EvalArgs>();
  CLI::App* cmd =
      line.add("eval", "Accuracy, calibration and weights: all inputs, one missing, one damaged",
               "  plait eval --model build/demo/model --data stamps\n");
  cmd->add_option("-m,--model", args->model, "Folder or name of a model")->required();
  cmd->add_option("-d,--data", args->dataset, "Name of a data set (plait data list)")->required();
  cmd->add_option("--split", args->split, "train, validation or test")->capture_default_str();
  cmd->add_option("--task", args->task, "Task to evaluate (default: the model's first)");
  add_backend(*cmd, *args);
  line.on(cmd, args, eval);
}

void add_demo(CommandLine& line) {
  auto args = std::make_shared<DemoArgs>();
  CLI::App* cmd = line.add(
      "demo", "Train a fused model on real pictures, captions and speech, and see it answer",
      "  plait demo --output build/demo\n");
  cmd->add_option("-o,--output", args->output, "Folder for the model, summary.json and report.html")
      ->capture_default_str();
  cmd->add_option("--seed", args->seed, "Of initialisation and training")->capture_default_str();
  line.on(cmd, args, demo);
}

void add_bench(CommandLine& line) {
  auto args = std::make_shared<BenchFusionArgs>();
  CLI::App* bench = line.add_group("bench", "Measurements that the documentation quotes");
  CLI::App* cmd = line.add(
      "fusion", "The trust fusion against its rivals, clean and damaged, over data sets and seeds",
      "  plait bench fusion --output benchmarks/fusion\n"
      "  plait bench fusion --short --json\n"
      "  plait bench fusion --rivals-from benchmarks/fusion --output benchmarks/fusion\n"
      "  plait bench fusion --sizes --dataset handwritten --seeds 20\n"
      "  plait bench fusion --dataset handwritten --seeds 3 --first-seed 100\n",
      bench);
  cmd->add_option("--dataset", args->datasets, "These alone; may be repeated");
  cmd->add_option("--rival", args->rivals, "These trained baselines alone (default: all), or none");
  cmd->add_option(
      "--rivals-from", args->rivals_from,
      "Folder with an earlier run's tables on the same splits, whose rivals are taken over instead "
      "of trained again (but for those of --rival)");
  cmd->add_flag("--short", args->quick,
                "The handwritten digits alone, three seeds, no trained rivals: minutes");
  cmd->add_flag("--sizes", args->sizes,
                "Instead: 50 to 1000 training items, without trained rivals "
                "(default: the data sets that are large enough)");
  cmd->add_option("--items", args->items, "With --sizes: so many instead; may be repeated")
      ->check(CLI::Range(1, 1000000));
  cmd->add_flag("--route-curves", args->route_curves,
                "Accuracy against multiply-adds of DynMM's gates beside the route's");
  cmd->add_option("--seeds", args->seeds, "How many (default: 10; short: 3)")
      ->check(CLI::Range(1, 1000));
  cmd->add_option("--first-seed", args->first_seed, "Where they start (other seeds to tune on)")
      ->capture_default_str();
  cmd->add_option("-o,--output", args->output,
                  "Folder for the JSON and the tables (default: print only)");
  line.on(cmd, args, bench_fusion);
}

}  // namespace

void add_fusion_commands(CommandLine& line) {
  add_predict(line);
  add_train(line);
  add_calibrate(line);
  add_eval(line);
  add_demo(line);
  add_bench(line);
}

}  // namespace plait::cli
