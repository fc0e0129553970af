#include <cstdio>

#include "plait/cli/command_line.h"
#include "plait/core/error.h"
#include "plait/core/json.h"
#include "plait/core/log.h"

namespace {

using namespace plait::cli;

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
  bool verbose = false;
  app.add_flag("-v,--verbose", verbose, "Log what is going on to standard error");

  CommandLine line(app);
  add_fusion_commands(line);
  add_generation_commands(line);
  add_caption_commands(line);
  add_package_commands(line);

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
    return line.run();
  } catch (const plait::Error& e) {
    if (line.json()) {
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
}
