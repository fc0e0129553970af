#pragma once
#include <CLI/CLI.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plait/cli/commands.h"

/// The options of the commands, by CLI11, and which function answers each. Headers and sources that
/// see CLI11 see no tensors.
namespace plait::cli {

class CommandLine {
 public:
  explicit CommandLine(CLI::App& app) : app_(app) {}

  /// A command, or one below `parent`, with its examples as footer and the flag --json.
  CLI::App* add(const char* name, const char* what, const char* examples,
                CLI::App* parent = nullptr) {
    CLI::App* sub = (parent ? parent : &app_)->add_subcommand(name, what);
    sub->footer(std::string("Examples:\n") + examples);
    sub->add_flag("--json", json_, "Print one JSON object instead of text");
    return sub;
  }
  /// A command that has others below it.
  CLI::App* add_group(const char* name, const char* what) {
    CLI::App* sub = app_.add_subcommand(name, what);
    sub->require_subcommand(1);
    return sub;
  }
  /// What the command does once its options are read; it returns the exit code.
  void on(CLI::App* command, std::function<int(bool json)> action) {
    actions_.emplace_back(command, std::move(action));
  }
  /// The same for a function of options that `args` keeps, --json among them.
  template <class Args>
  void on(CLI::App* command, std::shared_ptr<Args> args, int (*function)(const Args&)) {
    on(command, [args = std::move(args), function](bool json) {
      args->json = json;
      return function(*args);
    });
  }
  /// Runs the command that was given.
  int run() const {
    for (const auto& [command, action] : actions_) {
      if (command->parsed()) return action(json_);
    }
    return 0;
  }
  bool json() const { return json_; }

 private:
  CLI::App& app_;
  bool json_ = false;
  std::vector<std::pair<CLI::App*, std::function<int(bool)>>> actions_;
};

/// The option --backend.
template <class Args>
void add_backend(CLI::App& cmd, Args& args) {
  cmd.add_option("--backend", args.backend, "cpu, cuda, cuda:N")->capture_default_str();
}
/// The options --backend and --dtype.
template <class Args>
void add_device(CLI::App& cmd, Args& args) {
  add_backend(cmd, args);
  cmd.add_option("--dtype", args.dtype, "float32, bfloat16, float16")->capture_default_str();
}
/// An option whose number is kept in `values` by `name`, if it is given at all.
template <class Number>
void add_number(CLI::App& cmd, std::map<std::string, Number>& values, const char* flag,
                const char* name, const char* what) {
  cmd.add_option_function<Number>(
      flag, [&values, name](Number v) { values[name] = v; }, what);
}

/// predict, train, calibrate, eval, demo, bench.
void add_fusion_commands(CommandLine& line);
/// caption, ask, lora, train-captioner: pictures and language models.
void add_caption_commands(CommandLine& line);
/// generate, transcribe, speak, prosody, ocr, draw, perceive, detect, classify: published models at
/// work.
void add_generation_commands(CommandLine& line);
/// models, data, inspect, convert, doctor.
void add_package_commands(CommandLine& line);

}  // namespace plait::cli
