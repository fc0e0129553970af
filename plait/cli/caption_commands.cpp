#include "plait/cli/command_line.h"

namespace plait::cli {
namespace {

void add_common(CLI::App& cmd, CaptionArgs& args) {
  cmd.add_option("-m,--model", args.model,
                 "Folder of LLaVA's type (Hugging Face layout), or one that plait train-captioner "
                 "wrote")
      ->required();
  cmd.add_option("-n,--max-new-tokens", args.max_new_tokens, "Most tokens of the answer")
      ->capture_default_str();
  cmd.add_option("--num-beams", args.num_beams, "Beam search with so many beams")
      ->capture_default_str();
  cmd.add_option("-t,--temperature", args.temperature, "0: the most probable words")
      ->capture_default_str();
  cmd.add_option("--seed", args.seed, "Of sampling")->capture_default_str();
  add_device(cmd, args);
}

void add_caption(CommandLine& line) {
  auto args = std::make_shared<CaptionArgs>();
  CLI::App* cmd = line.add("caption", "Say what pictures show",
                           "  plait caption cat.jpg --model ./llava-1.5-7b-hf --dtype bfloat16\n"
                           "  plait caption *.png --model build/captioner --language zh\n");
  cmd->add_option("pictures", args->files, "Pictures")->required();
  cmd->add_option("-l,--language", args->language, "Of the caption: en, zh")->capture_default_str();
  add_common(*cmd, *args);
  line.on(cmd, args, caption);
}

void add_ask(CommandLine& line) {
  auto args = std::make_shared<CaptionArgs>();
  CLI::App* cmd = line.add(
      "ask", "Answer a question about a picture",
      "  plait ask cat.jpg \"What colour is the cat?\" --model ./llava-1.5-7b-hf\n"
      "  plait ask scene.png \"How many stars are there?\" --model build/captioner --json\n");
  auto file = std::make_shared<std::string>();
  cmd->add_option("picture", *file, "The picture")->required();
  cmd->add_option("question", args->question, "The question")->required();
  add_common(*cmd, *args);
  line.on(cmd, [args, file](bool json) {
    args->files = {*file};
    args->json = json;
    return ask(*args);
  });
}

void add_train_captioner(CommandLine& line) {
  auto args = std::make_shared<TrainCaptionerArgs>();
  CLI::App* cmd = line.add(
      "train-captioner",
      "Teach a language model to describe pictures and to answer questions about them",
      "  plait train-captioner --output build/captioner\n"
      "  plait train-captioner --output build/questions --data scenes --max-steps 500\n"
      "  plait train-captioner --recipe recipes/captions.json --output build/captioner --json\n");
  cmd->add_option("-o,--output", args->output, "Folder for model/, checkpoints and report.json")
      ->required();
  cmd->add_option("-r,--recipe", args->recipe, "JSON file with the options of the training");
  cmd->add_option("--data", args->data, "What to learn from: scenes, emoji, stamps");
  const auto integer = [&](const char* flag, const char* name, const char* what) {
    add_number(*cmd, args->sizes, flag, name, what);
  };
  integer("--max-steps", "max_steps", "Steps of the optimizer");
  integer("--batch-size", "batch_size", "Texts of a step");
  integer("--scenes", "scenes", "Synthetic scenes to train on");
  integer("--max-pictures", "max_pictures", "Most pictures of each data set");
  integer("--held-out", "held_out", "Pictures of each data set to judge by");
  integer("--seed", "seed", "Of everything that is random");
  cmd->add_option("--resume", args->resume, "auto: from the newest checkpoint; none; or a folder")
      ->capture_default_str();
  line.on(cmd, args, train_captioner);
}

void add_lora(CommandLine& line) {
  CLI::App* lora = line.add_group("lora", "Low-rank adapters in the PEFT layout");
  auto args = std::make_shared<LoraMergeArgs>();
  CLI::App* cmd = line.add("merge", "Write a model folder with an adapter in its weights",
                           "  plait lora merge ./SmolLM2-135M ./my-adapter ./merged\n", lora);
  cmd->add_option("base", args->base, "Model folder that the adapter was trained beside")
      ->required();
  cmd->add_option("adapter", args->adapter, "Folder with adapter_config.json")->required();
  cmd->add_option("destination", args->destination, "New or empty folder")->required();
  line.on(cmd, args, lora_merge);
}

}  // namespace

void add_caption_commands(CommandLine& line) {
  add_caption(line);
  add_ask(line);
  add_train_captioner(line);
  add_lora(line);
}

}  // namespace plait::cli
