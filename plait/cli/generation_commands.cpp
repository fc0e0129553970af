#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "plait/cli/command_line.h"

namespace plait::cli {
namespace {

void add_generate_options(CLI::App& cmd, GenerateArgs& args) {
  cmd.add_option("-m,--model", args.model,
                 "Name from plait models list, folder in the Hugging Face layout, or .gguf file")
      ->capture_default_str();
  cmd.add_option("-p,--prompt", args.prompt, "The text to continue")->required();
  cmd.add_flag("--chat", args.chat, "The prompt is a message to answer, by the chat template");
  cmd.add_option("--system", args.system, "With --chat: what the model is told first");
  const auto number = [&](const char* flag, const char* name, const char* what) {
    add_number(cmd, args.numbers, flag, name, what);
  };
  const auto integer = [&](const char* flag, const char* name, const char* what) {
    add_number(cmd, args.integers, flag, name, what);
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
  cmd.add_option("--json-schema", args.json_schema,
                 "File with a JSON schema: the text is JSON that it accepts");
  cmd.add_option("--grammar", args.grammar, "File with a GBNF grammar that the text follows");
  cmd.add_flag("--ignore-eos", args.ignore_eos, "Go on past the end-of-text token");
  cmd.add_option("--adapter", args.adapter, "Low-rank adapter to put into the model: PEFT folder");
  cmd.add_flag("--stream", args.stream, "Show the text while it is written");
  cmd.add_flag("--stats", args.stats, "Tokens and speed, on standard error");
  add_device(cmd, args);
}

void add_generate(CommandLine& line) {
  auto args = std::make_shared<GenerateArgs>();
  CLI::App* cmd = line.add(
      "generate", "Let a language model continue a text",
      "  plait generate --prompt \"The capital of France is\" --max-new-tokens 20\n"
      "  plait generate --model ./Qwen2-0.5B --prompt \"Once upon a time\" --temperature 0.8 "
      "--top-p 0.95 --seed 7 --stream\n"
      "  plait generate --chat --prompt \"Why is the sky blue?\" --stream\n"
      "  plait generate --chat --prompt \"Name a city.\" --json-schema city.json\n"
      "  plait generate --model model.gguf --prompt \"1, 2, 3,\" --num-beams 4 --json\n");
  add_generate_options(*cmd, *args);
  line.on(cmd, args, generate);
}

void add_transcribe(CommandLine& line) {
  auto args = std::make_shared<TranscribeArgs>();
  CLI::App* cmd = line.add("transcribe", "Speech to text, with times",
                           "  plait transcribe talk.mp3\n"
                           "  plait transcribe call.wav --language en --words --json\n"
                           "  plait transcribe film.ogg --srt > film.srt\n"
                           "  plait transcribe a.wav b.wav --model whisper-tiny.en\n"
                           "  plait transcribe rede.flac --translate --speech-only\n");
  cmd->add_option("files", args->files, "Sound files, of any length")->required();
  cmd->add_option("-m,--model", args->model, "Folder or name of a Whisper model")
      ->capture_default_str();
  cmd->add_option("-l,--language", args->language,
                  "Code of the spoken language (en, zh ...; default: detect it)");
  cmd->add_flag("--translate", args->translate, "Write English");
  cmd->add_flag("--words", args->words, "Also when each word was spoken");
  cmd->add_option("--prompt", args->prompt, "Names and spellings to expect");
  cmd->add_option("--beam-size", args->beam_size, "Texts followed at once; 1: greedy")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  cmd->add_flag("--speech-only", args->speech_only,
                "Skip what the voice activity detector takes for no speech");
  cmd->add_flag("--independent", args->independent, "Windows do not see the text before them");
  cmd->add_flag("--srt", args->srt, "Print SubRip subtitles");
  cmd->add_flag("--vtt", args->vtt, "Print WebVTT subtitles");
  add_device(*cmd, *args);
  line.on(cmd, args, transcribe);
}

void add_speak(CommandLine& line) {
  auto args = std::make_shared<SpeakArgs>();
  CLI::App* cmd = line.add("speak", "Text to speech",
                           "  plait speak \"Good morning.\" -o morning.wav\n"
                           "  plait speak --file chapter.txt -o chapter.wav --speed 1.1\n"
                           "  plait speak \"Is it 3:45 already?\" --phonemes\n"
                           "  plait speak \"2024年3月1日\" --phonemes --voice pinyin\n"
                           "  plait speak \"Listen!\" -o - | aplay\n"
                           "  plait speak \"Hello.\" -o hello.wav --voice ./piper-voice "
                           "--front-end espeak\n");
  cmd->add_option("text", args->text, "What to say");
  cmd->add_option("-f,--file", args->file, "Say what is in this file (-: standard input)");
  cmd->add_option("-o,--output", args->output,
                  "WAV file, written as the sound comes (-: standard "
                  "output)");
  cmd->add_option("--voice", args->voice, "Name from plait models list, or folder of a VITS voice")
      ->capture_default_str();
  cmd->add_option(
      "--front-end", args->front_end,
      "What reads the text: lexicon, espeak (where installed), letters (default: as the "
      "voice needs)");
  cmd->add_flag("--phonemes", args->phonemes, "Print the phonemes instead of speaking them");
  cmd->add_option("--speed", args->speed, "Above 1: faster")->capture_default_str();
  cmd->add_option("--noise", args->noise, "Variation of the sound (default: the voice's own)");
  cmd->add_option("--noise-duration", args->noise_duration,
                  "Variation of the rhythm (default: the voice's own)");
  cmd->add_option("--pause", args->pause, "Seconds of silence between sentences")
      ->capture_default_str();
  cmd->add_option("--seed", args->seed, "The same seed, the same sound")->capture_default_str();
  cmd->add_option("--speaker", args->speaker, "Of a voice with several")->capture_default_str();
  add_device(*cmd, *args);
  line.on(cmd, args, speak);
}

void add_prosody(CommandLine& line) {
  auto args = std::make_shared<ProsodyArgs>();
  CLI::App* cmd =
      line.add("prosody", "Learn from a voice how long, high and loud sounds are spoken",
               "  plait prosody --sentences train.txt --held-out test.txt -o prosody\n"
               "  plait prosody --sentences train.txt --held-out test.txt --seeds 3 "
               "--json\n");
  cmd->add_option("--sentences", args->sentences, "File with a text a line to learn from")
      ->required();
  cmd->add_option("--held-out", args->held_out, "File with a text a line to measure on")
      ->required();
  cmd->add_option("-o,--output", args->output, "Folder for the predictor of the first seed");
  cmd->add_option("--voice", args->voice, "Name from plait models list, or folder of a voice")
      ->capture_default_str();
  cmd->add_option("--seeds", args->seeds, "Train so many times")->capture_default_str();
  cmd->add_option("--epochs", args->epochs, "Times that everything is looked at")
      ->capture_default_str();
  line.on(cmd, args, prosody);
}

void add_ocr(CommandLine& line) {
  auto args = std::make_shared<OcrArgs>();
  CLI::App* cmd = line.add("ocr", "Read the text in pictures, Chinese and English",
                           "  plait ocr page.png\n"
                           "  plait ocr *.jpg --json\n"
                           "  plait ocr receipt.jpg --draw boxes.png --min-score 0.7\n");
  cmd->add_option("files", args->files, "Pictures")->required();
  cmd->add_option("-m,--model", args->model, "Name from plait models list, or folder")
      ->capture_default_str();
  cmd->add_option("--draw", args->draw, "Write the picture with the lines' boxes to a PNG");
  cmd->add_option("--min-score", args->min_score, "Leave out lines below this score")
      ->capture_default_str();
  add_backend(*cmd, *args);
  line.on(cmd, args, ocr);
}

void add_draw(CommandLine& line) {
  auto args = std::make_shared<DrawArgs>();
  CLI::App* cmd = line.add(
      "draw", "Draw a picture of a text",
      "  plait draw \"a red apple\" --model ./stable-diffusion-v1-5 -o apple.png\n"
      "  plait draw \"a red apple\" --model DIR --steps 20 --scheduler dpm++ --guidance 7.5 "
      "--negative \"blurred\" --seed 7\n"
      "  plait draw \"a green apple\" --model DIR --image apple.png --strength 0.6\n"
      "  plait draw \"a worm\" --model DIR --image apple.png --mask white_where_to_paint.png\n");
  const auto number = [&](const char* flag, const char* name, const char* what) {
    add_number(*cmd, args->numbers, flag, name, what);
  };
  const auto integer = [&](const char* flag, const char* name, const char* what) {
    add_number(*cmd, args->integers, flag, name, what);
  };
  cmd->add_option("prompt", args->prompt, "What to draw")->required();
  cmd->add_option("-m,--model", args->model,
                  "Folder in the layout of Stable Diffusion 1 or 2, or one that plait train wrote")
      ->required();
  cmd->add_option("-o,--output", args->output, "Where to write it: .png or .jpg")
      ->capture_default_str();
  cmd->add_option("--negative", args->negative, "What is not wanted");
  cmd->add_option(
      "--scheduler", args->scheduler,
      "From noise to picture: ddim, ddpm, euler, dpm++, pndm (default: the model's own)");
  integer("--steps", "num_inference_steps", "Steps from noise to picture (default: 30)");
  number("--guidance", "guidance_scale", "How closely to follow the text (default: 7.5; 1: off)");
  number("--eta", "eta", "Share of fresh noise in each step of ddim");
  integer("--seed", "seed", "Of the noise (default: 0)");
  integer("-n,--count", "num_images_per_prompt", "Pictures to draw (default: 1)");
  integer("--width", "width", "Pixels (default: the picture's, else the model's own)");
  integer("--height", "height", "Likewise");
  cmd->add_option("--image", args->image, "Picture to draw on from");
  number("--strength", "strength", "With --image: share of the steps that change it (0.8)");
  cmd->add_option("--mask", args->mask, "With --image: paint where this picture is white");
  add_device(*cmd, *args);
  line.on(cmd, args, draw);
}

void add_detect(CommandLine& line) {
  auto args = std::make_shared<DetectArgs>();
  CLI::App* cmd =
      line.add("detect", "Find things or faces in pictures: score, label, box",
               "  plait detect street.jpg --draw boxes.png\n"
               "  plait detect *.jpg --min-score 0.5 --json\n"
               "  plait detect --faces group.jpg\n"
               "  plait detect --faces a.jpg b.jpg --json    with landmarks, embeddings\n");
  cmd->add_option("files", args->files, "Pictures")->required();
  cmd->add_flag("--faces", args->faces, "Faces instead of COCO's 80 classes");
  cmd->add_option("-m,--model", args->model,
                  "Name from plait models list, or folder (default: centernet, face-ssd)");
  cmd->add_option("--draw", args->draw, "Write the picture with the boxes to a PNG");
  cmd->add_option("--min-score", args->min_score,
                  "Leave out what is not above this score (default: 0.2, faces 0.5)")
      ->check(CLI::Range(0.0, 1.0));
  add_backend(*cmd, *args);
  line.on(cmd, args, detect);
}

void add_train_detector(CommandLine& line) {
  auto args = std::make_shared<TrainDetectorArgs>();
  CLI::App* cmd =
      line.add("train-detector", "Train a detector on pictures with boxes in COCO's format",
               "  plait train-detector boxes.json --pictures photos --output parts\n"
               "  plait detect new.jpg --model parts --draw boxes.png\n"
               "  plait train-detector boxes.json --pictures photos --output parts --size 640 "
               "--width 0.5\n");
  cmd->add_option("annotations", args->annotations, "File with images, categories and annotations")
      ->required();
  cmd->add_option("--pictures", args->pictures, "Folder with the pictures")->required();
  cmd->add_option("-o,--output", args->output, "Folder to write")->required();
  cmd->add_option("--architecture", args->architecture, "yolox, yolo_v5, yolo_v8")
      ->capture_default_str();
  for (const auto& [name, help] : {std::pair{"depth", "Scale of the number of blocks (0.33)"},
                                   std::pair{"width", "Scale of the channels (0.25)"},
                                   std::pair{"epochs", "Passes over the pictures (30)"},
                                   std::pair{"learning-rate", "At its highest (0.002)"},
                                   std::pair{"held-out", "Share to measure on (0.1)"}}) {
    std::string key = name;
    std::replace(key.begin(), key.end(), '-', '_');
    cmd->add_option_function<double>(
        std::string("--") + name, [args, key](double value) { args->numbers[key] = value; }, help);
  }
  for (const auto& [name, help] : {std::pair{"size", "Side of the pictures in pixels (320)"},
                                   std::pair{"max-steps", "Steps in place of epochs"},
                                   std::pair{"batch-size", "Pictures of a step (16)"},
                                   std::pair{"seed", "Of weights and order (42)"}}) {
    std::string key = name;
    std::replace(key.begin(), key.end(), '-', '_');
    cmd->add_option_function<long>(
        std::string("--") + name, [args, key](long value) { args->integers[key] = value; }, help);
  }
  cmd->add_option("--backend", args->backend, "cpu, cuda, cuda:N")->capture_default_str();
  line.on(cmd, args, train_detector);
}

void add_classify(CommandLine& line) {
  auto args = std::make_shared<ClassifyArgs>();
  CLI::App* cmd = line.add("classify", "Say what pictures show, of ImageNet's 1,000 classes",
                           "  plait classify photo.jpg\n"
                           "  plait classify *.jpg --top 3 --json\n");
  cmd->add_option("files", args->files, "Pictures")->required();
  cmd->add_option("-m,--model", args->model, "Name from plait models list, or folder")
      ->capture_default_str();
  cmd->add_option("--top", args->top, "So many classes")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  add_backend(*cmd, *args);
  line.on(cmd, args, classify);
}

void add_perceive(CommandLine& line) {
  auto args = std::make_shared<PerceiveArgs>();
  CLI::App* cmd = line.add("perceive", "Hear, read and see: speech, text and things by one call",
                           "  plait perceive --audio question.wav --image desk.jpg\n"
                           "  plait perceive --image street.png --json\n"
                           "  plait perceive --audio call.ogg --language en\n");
  cmd->add_option("--audio", args->audio, "A sound file: what is said in it");
  cmd->add_option("--image", args->image, "A picture: what is written, which things are there");
  cmd->add_option("-l,--language", args->language,
                  "Code of the spoken language (en, zh ...; default: detect it)");
  cmd->add_option("--speech-model", args->speech_model, "Name or folder of a Whisper model")
      ->capture_default_str();
  cmd->add_option("--ocr-model", args->ocr_model, "Name or folder of the reader of text")
      ->capture_default_str();
  cmd->add_option("--object-model", args->object_model, "Name or folder of the detector of things")
      ->capture_default_str();
  add_backend(*cmd, *args);
  line.on(cmd, args, perceive);
}

}  // namespace

void add_generation_commands(CommandLine& line) {
  add_generate(line);
  add_transcribe(line);
  add_speak(line);
  add_prosody(line);
  add_ocr(line);
  add_draw(line);
  add_perceive(line);
  add_detect(line);
  add_classify(line);
  add_train_detector(line);
}

}  // namespace plait::cli
