#include "plait/train/checkpoint.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"

namespace fs = std::filesystem;

namespace plait::train {
namespace {

constexpr const char* kPrefix = "checkpoint-";
constexpr const char* kBest = "best-";

/// The number after `prefix` in a name such as "checkpoint-12" or "best-12.safetensors", else -1.
int64_t number_after(const std::string& name, const std::string& prefix,
                     const std::string& suffix) {
  if (name.size() <= prefix.size() + suffix.size() || name.rfind(prefix, 0) != 0) return -1;
  if (name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0) return -1;
  std::string digits = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  if (digits.size() > 18 ||
      !std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c); })) {
    return -1;
  }
  return std::stoll(digits);
}

std::vector<std::pair<int64_t, std::string>> numbered(const std::string& dir,
                                                      const std::string& prefix,
                                                      const std::string& suffix) {
  std::vector<std::pair<int64_t, std::string>> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    int64_t n = number_after(entry.path().filename().string(), prefix, suffix);
    if (n >= 0) out.emplace_back(n, entry.path().string());
  }
  std::sort(out.rbegin(), out.rend());
  return out;
}

/// Makes a rename or the files of a folder survive a power cut; a file system that cannot is no
/// error.
void sync_folder(const std::string& dir) {
  int fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

[[noreturn]] void fail_io(const std::string& action, const std::string& path,
                          const std::error_code& error) {
  fail(ErrorCode::kIo, "checkpoint", "cannot " + action + " " + path + ": " + error.message());
}

void prune(const std::string& output_dir, int64_t keep, int64_t current_best) {
  std::error_code ignored;
  std::set<int64_t> wanted = {current_best};
  auto all = numbered(output_dir, kPrefix, "");
  for (size_t i = 0; i < all.size(); ++i) {
    if (static_cast<int64_t>(i) >= keep) {
      // Renamed first: a folder that is half deleted must not look like a checkpoint.
      std::string doomed = output_dir + "/.old-" + fs::path(all[i].second).filename().string();
      fs::remove_all(doomed, ignored);
      fs::rename(all[i].second, doomed, ignored);
      fs::remove_all(doomed, ignored);
      continue;
    }
    try {
      wanted.insert(Json::read(all[i].second + "/trainer_state.json").get("best_step", -1));
    } catch (const Error&) {
      // A folder that is not ours or damaged names no best weights.
    }
  }
  for (auto& [step, path] : numbered(output_dir, kBest, ".safetensors")) {
    if (!wanted.count(step)) fs::remove(path, ignored);
  }
}

}  // namespace

void save_checkpoint(const std::string& output_dir, int64_t step, const Checkpoint& checkpoint,
                     int64_t keep) {
  std::string name = kPrefix + std::to_string(step);
  std::string final_dir = output_dir + "/" + name;
  std::string temporary = output_dir + "/.tmp-" + name;
  std::error_code error;
  fs::remove_all(temporary, error);
  if (!fs::create_directories(temporary, error) && error) fail_io("make", temporary, error);
  try {
    save_safetensors(temporary + "/model.safetensors", checkpoint.weights);
    save_safetensors(temporary + "/optimizer.safetensors", checkpoint.optimizer);
    checkpoint.state.write(temporary + "/trainer_state.json");
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
  sync_folder(temporary);
  fs::rename(temporary, final_dir, error);
  if (error) {
    // One of the same step is there (the run was resumed from an older one): both hold the same
    // state.
    std::string doomed = output_dir + "/.old-" + name;
    fs::remove_all(doomed, error);
    fs::rename(final_dir, doomed, error);
    fs::rename(temporary, final_dir, error);
    if (error) fail_io("rename", temporary, error);
    fs::remove_all(doomed, error);
  }
  sync_folder(output_dir);
  prune(output_dir, keep, checkpoint.state.get("best_step", -1));
}

Checkpoint load_checkpoint(const std::string& dir) {
  Checkpoint out;
  out.state = Json::read(dir + "/trainer_state.json");
  out.weights = load_safetensors(dir + "/model.safetensors");
  out.optimizer = load_safetensors(dir + "/optimizer.safetensors");
  return out;
}

std::vector<std::string> list_checkpoints(const std::string& output_dir) {
  std::vector<std::string> out;
  for (auto& [step, path] : numbered(output_dir, kPrefix, "")) out.push_back(path);
  return out;
}

void remove_checkpoints(const std::string& output_dir) { prune(output_dir, 0, -1); }

std::string best_weights_path(const std::string& output_dir, int64_t step) {
  return output_dir + "/" + kBest + std::to_string(step) + ".safetensors";
}

}  // namespace plait::train
