#include "plait/data/datasets/speech.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/parallel.h"
#include "plait/data/datasets/prepare.h"
#include "plait/data/hash.h"
#include "plait/data/packages/process.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;

void check(const Utterance& utterance) {
  auto refuse = [&](const std::string& what) {
    fail(ErrorCode::kInvalidArgument, "speech",
         "utterance \"" + utterance.id.substr(0, 60) + "\": expected " + what);
  };
  if (utterance.text.empty() || utterance.text.size() > 1000) refuse("1 to 1000 bytes of text");
  if (utterance.text.find('\0') != std::string::npos) refuse("a text without zero bytes");
  bool plain =
      !utterance.voice.empty() && utterance.voice.size() <= 32 && utterance.voice[0] != '-';
  for (char c : utterance.voice) {
    plain = plain && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '+' || c == '_');
  }
  if (!plain) refuse("an espeak-ng voice such as \"en-us\"");
  if (utterance.speed < 80 || utterance.speed > 400) refuse("a speed of 80 to 400");
  if (utterance.pitch < 0 || utterance.pitch > 99) refuse("a pitch of 0 to 99");
}

fs::path path_of(const fs::path& root, const Utterance& utterance) {
  std::string key = sha256(utterance.voice + "\n" + std::to_string(utterance.speed) + "\n" +
                           std::to_string(utterance.pitch) + "\n" + utterance.text);
  return root / key.substr(0, 2) / (key.substr(2, 38) + ".wav");
}

void speak(const Utterance& utterance, const fs::path& wav) {
  std::error_code error;
  fs::create_directories(wav.parent_path(), error);
  if (error)
    fail(ErrorCode::kIo, "speech",
         "cannot make " + wav.parent_path().string() + ": " + error.message());
  // Unique among processes and threads: two may speak the same text at once, the last rename wins.
  static std::atomic<int> serial{0};
  fs::path scratch = wav;
  scratch += ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(serial++);
  ProcessOptions options;
  options.timeout = std::chrono::seconds(30);
  ProcessResult result =
      run_process({"espeak-ng", "-v", utterance.voice, "-s", std::to_string(utterance.speed), "-p",
                   std::to_string(utterance.pitch), "-w", scratch.string(), "--", utterance.text},
                  options);
  // espeak-ng reports some problems by words alone, and a WAV of nothing but a header is 44 bytes
  // long.
  bool good = result.status == 0 && fs::file_size(scratch, error) > 44 && !error;
  if (good) fs::rename(scratch, wav, error);
  if (!good || error) {
    fs::remove(scratch, error);
    fail(ErrorCode::kUnavailable, "speech",
         "espeak-ng did not speak \"" + utterance.id.substr(0, 60) + "\" with the voice " +
             utterance.voice + ": " + last_words(result));
  }
}

}  // namespace

std::vector<std::string> synthesize_speech(const std::vector<Utterance>& utterances,
                                           const Progress& progress) {
  fs::path root = fs::path(cache_dir()) / "speech";
  std::vector<std::string> paths;
  std::vector<size_t> missing;
  for (size_t i = 0; i < utterances.size(); ++i) {
    check(utterances[i]);
    paths.push_back(path_of(root, utterances[i]).string());
    if (!fs::exists(paths.back())) missing.push_back(i);
  }
  if (missing.empty()) return paths;
  try {
    run_checked({"espeak-ng", "--version"});
  } catch (const Error& error) {
    fail(ErrorCode::kUnavailable, "speech",
         std::string("synthetic speech needs espeak-ng (Debian: apt-get install espeak-ng): ") +
             error.what());
  }
  for_each_in_parallel(
      missing.size(), [&](size_t i) { speak(utterances[missing[i]], paths[missing[i]]); },
      [&](size_t done) {
        if (progress) {
          progress({.step = "speak",
                    .what = "synthetic speech",
                    .done = static_cast<int64_t>(done),
                    .total = static_cast<int64_t>(missing.size()),
                    .unit = "utterances"});
        }
      });
  return paths;
}

}  // namespace plait::data
