#include "plait/data/packages/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "plait/core/error.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    fail(ErrorCode::kIo, "cache",
         "cannot make the folder " + path.string() + ": " + error.message());
}

/// An advisory lock on a file; the system drops it when the process ends, however it ends.
class FileLock {
 public:
  FileLock(const fs::path& path, const std::string& what, const Progress& progress) {
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0)
      fail(ErrorCode::kIo, "cache",
           "cannot open the lock " + path.string() + ": " + std::strerror(errno));
    auto start = std::chrono::steady_clock::now();
    while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        int error = errno;
        ::close(fd_);
        fail(ErrorCode::kIo, "cache", "cannot lock " + path.string() + ": " + std::strerror(error));
      }
      try {
        auto waited = std::chrono::steady_clock::now() - start;
        if (waited > std::chrono::hours(1)) {
          fail(ErrorCode::kResourceLimit, "cache",
               "another process has held " + path.string() + " for an hour");
        }
        if (progress) progress({.step = "wait for another process", .what = what});
      } catch (...) {
        ::close(fd_);
        throw;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  ~FileLock() { ::close(fd_); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_ = -1;
};

/// Removes a folder on every way out.
struct Scratch {
  fs::path path;
  ~Scratch() {
    std::error_code error;
    fs::remove_all(path, error);
  }
};

std::string flat(const std::string& key) {
  std::string out = key;
  for (char& c : out) {
    if (c == '/') c = '_';
  }
  return out;
}

}  // namespace

std::string cache_dir() {
  auto value = [](const char* name) {
    return std::getenv(name) != nullptr ? std::string(std::getenv(name)) : "";
  };
  if (std::string path = value("PLAIT_CACHE"); !path.empty())
    return fs::absolute(path).lexically_normal().string();
  if (std::string path = value("XDG_CACHE_HOME"); path.starts_with("/")) return path + "/plait";
  if (std::string path = value("HOME"); !path.empty()) return path + "/.cache/plait";
  fail(ErrorCode::kNotFound, "cache",
       "expected PLAIT_CACHE or HOME in the environment, got neither");
}

std::string cached_folder(const std::string& key,
                          const std::function<bool(const std::string&)>& valid,
                          const std::function<void(const std::string&)>& make,
                          const Progress& progress) {
  require(!key.empty() && key[0] != '/' && key.find("..") == std::string::npos, "cache",
          "expected a relative key");
  fs::path root = cache_dir();
  fs::path target = root / key;
  auto usable = [&] { return fs::is_directory(target) && (!valid || valid(target.string())); };
  if (usable()) return target.string();
  make_folders(root / "locks");
  FileLock lock(root / "locks" / (flat(key) + ".lock"), key, progress);
  if (usable()) return target.string();
  Scratch scratch{root / "tmp" / flat(key)};
  std::error_code error;
  fs::remove_all(scratch.path, error);
  make_folders(scratch.path);
  try {
    make(scratch.path.string());
  } catch (const fs::filesystem_error& problem) {
    fail(ErrorCode::kIo, "cache", std::string("cannot make ") + key + ": " + problem.what());
  }
  make_folders(target.parent_path());
  fs::remove_all(target, error);
  fs::rename(scratch.path, target, error);
  if (error)
    fail(ErrorCode::kIo, "cache",
         "cannot move the finished folder to " + target.string() + ": " + error.message());
  return target.string();
}

void link_or_copy(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::create_hard_link(from, to, error);
  if (!error) return;
  error.clear();
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
  if (error)
    fail(ErrorCode::kIo, "cache", "cannot copy " + from + " to " + to + ": " + error.message());
}

}  // namespace plait::data
