#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <memory>

#include "plait/api/speech_synthesizer.h"
#include "plait/api/text_reader.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait::cli {
namespace {

constexpr const char* kUnit = "speak";
constexpr size_t kMaxText = 1'000'000;

volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) { interrupted = 1; }

/// 16-bit WAV that grows as the samples come; sizes are filled in at the end where that is
/// possible.
class WavWriter {
 public:
  WavWriter(const std::string& path, int64_t rate) : path_(path) {
    file_ = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
    if (!file_) fail(ErrorCode::kIo, kUnit, "cannot write " + path);
    header(rate, 0xFFFFFF00u);
    rate_ = rate;
  }
  ~WavWriter() { close_file(); }
  WavWriter(const WavWriter&) = delete;
  WavWriter& operator=(const WavWriter&) = delete;

  void write(const at::Tensor& samples) {
    at::Tensor pcm = (samples * 32767.0).round().clamp(-32768, 32767).to(at::kShort).contiguous();
    const auto count = static_cast<size_t>(pcm.numel());
    if (std::fwrite(pcm.const_data_ptr<int16_t>(), 2, count, file_) != count ||
        std::fflush(file_) != 0)
      fail(ErrorCode::kIo, kUnit, "cannot write " + path_);
    bytes_ += 2 * count;
  }
  void finish() {
    if (file_ != stdout && std::fseek(file_, 0, SEEK_SET) == 0)
      header(rate_, static_cast<uint32_t>(std::min<size_t>(bytes_, 0xFFFFFF00u)));
    if (!close_file()) fail(ErrorCode::kIo, kUnit, "cannot write " + path_);
  }

 private:
  void header(int64_t rate, uint32_t bytes) {
    std::string out;
    auto number = [&](uint32_t v, int size) {
      for (int i = 0; i < size; ++i) out.push_back(static_cast<char>(v >> (8 * i) & 0xFF));
    };
    out += "RIFF", number(bytes + 36, 4), out += "WAVEfmt ";
    number(16, 4), number(1, 2), number(1, 2), number(static_cast<uint32_t>(rate), 4);
    number(static_cast<uint32_t>(2 * rate), 4), number(2, 2), number(16, 2);
    out += "data", number(bytes, 4);
    if (std::fwrite(out.data(), 1, out.size(), file_) != out.size())
      fail(ErrorCode::kIo, kUnit, "cannot write " + path_);
  }
  bool close_file() {
    std::FILE* file = std::exchange(file_, nullptr);
    return !file || (file == stdout ? std::fflush(file) : std::fclose(file)) == 0;
  }
  std::string path_;
  std::FILE* file_ = nullptr;
  int64_t rate_ = 0;
  size_t bytes_ = 0;
};

std::string text_of(const SpeakArgs& args) {
  require(args.text.empty() != args.file.empty(), kUnit, "expected a text or --file");
  if (!args.text.empty()) return args.text;
  if (args.file != "-") return read_file(args.file, kMaxText);
  std::string text;
  for (std::istreambuf_iterator<char> at(std::cin), end; at != end && text.size() <= kMaxText; ++at)
    text += *at;
  return text;
}

}  // namespace

int speak(const SpeakArgs& args) {
  const std::string text = text_of(args);
  require(!(args.json && args.output == "-"), kUnit, "expected a file for the sound with --json");
  api::SpeakOptions options;
  options.speed = args.speed;
  options.noise = args.noise;
  options.noise_duration = args.noise_duration;
  options.seed = args.seed;
  options.speaker = args.speaker;
  options.pause = args.pause;
  options.validate();
  api::ModelOptions how;
  how.backend = args.backend;
  how.dtype = args.dtype;
  Stages stages;
  const data::Progress fetch = stages.fetch("Voice: " + args.voice);
  if (args.phonemes) {
    auto reader = api::TextReader::from_pretrained(args.voice, args.front_end, fetch);
    stages.finish();
    const std::vector<std::string> said = reader->phonemes(text);
    if (args.json) {
      std::printf("%s\n", Json::object({{"phonemes", Json(said)}}).dump().c_str());
    } else {
      for (const std::string& line : said) std::printf("%s\n", line.c_str());
    }
    return 0;
  }
  require(!args.output.empty(), kUnit, "expected --output FILE.wav (or - for standard output)");
  auto voice = api::SpeechSynthesizer::from_pretrained(args.voice, how, args.front_end, fetch);
  stages.finish();
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  auto since = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  auto stream = voice->stream(text, options);
  WavWriter out(args.output, voice->sample_rate());
  auto before = std::signal(SIGINT, on_interrupt);
  ProgressBar bar("Speaking");
  double first = 0, seconds = 0;
  while (auto piece = stream->next()) {
    out.write(*piece);
    if (seconds == 0) first = since();
    seconds += static_cast<double>(piece->size(0)) / static_cast<double>(voice->sample_rate());
    bar.update(static_cast<double>(stream->begun()), static_cast<double>(stream->sentences()),
               format("%.1f s of speech", seconds));
    if (interrupted != 0) break;
  }
  out.finish();
  bar.finish();
  std::signal(SIGINT, before);
  if (args.json) {
    Json row = Json::object({{"file", args.output},
                             {"voice", args.voice},
                             {"sample_rate", voice->sample_rate()},
                             {"sentences", static_cast<int64_t>(stream->sentences())},
                             {"seconds", seconds},
                             {"first_sound_seconds", first},
                             {"work_seconds", since()}});
    std::printf("%s\n", row.dump().c_str());
  } else if (args.output != "-") {
    std::printf("%s: %.1f s of speech\n", args.output.c_str(), seconds);
  }
  return interrupted != 0 ? 130 : 0;
}

}  // namespace plait::cli
