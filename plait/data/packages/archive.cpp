#include "plait/data/packages/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>

#include "plait/core/error.h"
#include "plait/data/hash.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;

struct Closer {
  void operator()(archive* reader) const { archive_read_free(reader); }
};
using Reader = std::unique_ptr<archive, Closer>;

/// Splits a name into its parts; "." parts vanish. @throws Error kCorruptData for a name that could
/// leave the tree.
std::vector<std::string> safe_parts(const std::string& name, const std::string& archive) {
  auto refuse = [&](const char* why) {
    std::string shown;
    for (char c : name.substr(0, 200)) shown += static_cast<unsigned char>(c) < 32 ? '?' : c;
    fail(ErrorCode::kCorruptData, "archive",
         "expected a name inside the archive " + archive + ", got \"" + shown + "\" (" + why + ")");
  };
  if (name.empty()) refuse("empty");
  if (name.size() > 1024) refuse("longer than 1024 bytes");
  if (name[0] == '/') refuse("absolute");
  std::vector<std::string> parts;
  for (size_t start = 0; start <= name.size();) {
    size_t end = std::min(name.find('/', start), name.size());
    std::string part = name.substr(start, end - start);
    if (part == "..") refuse("leaves the folder");
    if (part.size() > 255) refuse("a part longer than 255 bytes");
    for (char c : part) {
      if (static_cast<unsigned char>(c) < 32 || c == 127 || c == '\\')
        refuse("control character or backslash");
    }
    if (!part.empty() && part != ".") parts.push_back(std::move(part));
    start = end + 1;
  }
  if (parts.size() > 64) refuse("more than 64 folders deep");
  return parts;
}

std::string join(const std::vector<std::string>& parts) {
  std::string path;
  for (const std::string& part : parts) path += (path.empty() ? "" : "/") + part;
  return path;
}

bool wanted(const std::string& path, const std::vector<std::string>& only) {
  if (only.empty()) return true;
  return std::any_of(only.begin(), only.end(), [&](const std::string& prefix) {
    return path == prefix ||
           (path.size() > prefix.size() && path.starts_with(prefix) && path[prefix.size()] == '/');
  });
}

class Extraction {
 public:
  Extraction(const std::string& archive, const std::string& dir,
             const std::vector<std::string>& only, const ArchiveLimits& limits,
             const std::function<void(int64_t)>& step)
      : archive_(archive), dir_(dir), only_(only), limits_(limits), step_(step) {
    std::error_code error;
    packed_ = static_cast<int64_t>(fs::file_size(archive, error));
    if (error)
      fail(ErrorCode::kNotFound, "archive", "cannot open " + archive + ": " + error.message());
  }

  ArchiveReport run() {
    bool debian = archive_.ends_with(".deb");
    Reader outer = open_reader(debian);
    if (archive_read_open_filename(outer.get(), archive_.c_str(), 1 << 16) != ARCHIVE_OK)
      broken(outer.get());
    if (debian) {
      unpack_debian(outer.get());
    } else {
      unpack(outer.get());
    }
    copy_links();
    return report();
  }

 private:
  [[noreturn]] void broken(archive* reader) {
    const char* why = archive_error_string(reader);
    fail(ErrorCode::kCorruptData, "archive",
         "expected a whole archive in " + archive_ +
             ", got: " + (why != nullptr ? why : "unknown format"));
  }

  Reader open_reader(bool debian) {
    Reader reader(archive_read_new());
    if (!reader) fail(ErrorCode::kResourceLimit, "archive", "out of memory");
    if (debian) {
      archive_read_support_format_ar(reader.get());
    } else {
      archive_read_support_format_tar(reader.get());
      archive_read_support_format_zip_seekable(reader.get());
      support_filters(reader.get());
    }
    return reader;
  }

  static void support_filters(archive* reader) {
    archive_read_support_filter_gzip(reader);
    archive_read_support_filter_xz(reader);
    archive_read_support_filter_zstd(reader);
    archive_read_support_filter_bzip2(reader);
  }

  /// The next entry, or nullptr at the end; counts entries and refuses what warns of damage.
  archive_entry* next(archive* reader) {
    archive_entry* entry = nullptr;
    int code = archive_read_next_header(reader, &entry);
    if (code == ARCHIVE_EOF) return nullptr;
    if (code < ARCHIVE_WARN) broken(reader);
    if (++entries_ > limits_.max_files) {
      fail(ErrorCode::kResourceLimit, "archive",
           "expected at most " + std::to_string(limits_.max_files) + " entries in " + archive_ +
               ", got more");
    }
    return entry;
  }

  /// A Debian package is an ar archive that holds data.tar.*: that entry is read as an archive of
  /// its own.
  void unpack_debian(archive* outer) {
    while (archive_entry* entry = next(outer)) {
      const char* name = archive_entry_pathname(entry);
      if (name == nullptr || std::strncmp(name, "data.tar", 8) != 0) continue;
      Reader inner(archive_read_new());
      archive_read_support_format_tar(inner.get());
      support_filters(inner.get());
      struct Source {
        archive* outer;
        std::vector<char> buffer;
      } source{outer, std::vector<char>(1 << 16)};
      auto read = [](archive* inner_reader, void* data, const void** bytes) -> la_ssize_t {
        auto* from = static_cast<Source*>(data);
        *bytes = from->buffer.data();
        la_ssize_t n = archive_read_data(from->outer, from->buffer.data(), from->buffer.size());
        if (n < 0) archive_set_error(inner_reader, EIO, "%s", archive_error_string(from->outer));
        return n;
      };
      if (archive_read_open(inner.get(), &source, nullptr, read, nullptr) != ARCHIVE_OK)
        broken(inner.get());
      unpack(inner.get());
      return;
    }
    fail(ErrorCode::kCorruptData, "archive", "expected a data.tar in " + archive_ + ", got none");
  }

  void unpack(archive* reader) {
    while (archive_entry* entry = next(reader)) {
      const char* raw = archive_entry_pathname(entry);
      std::vector<std::string> parts = safe_parts(raw != nullptr ? raw : "", archive_);
      std::string path = join(parts);
      if (const char* target = archive_entry_hardlink(entry)) {
        add_link(path, join(safe_parts(target, archive_)));
      } else if (archive_entry_filetype(entry) == AE_IFLNK) {
        const char* symlink = archive_entry_symlink(entry);
        if (wanted(path, only_)) add_link(path, resolve(parts, symlink != nullptr ? symlink : ""));
      } else if (archive_entry_filetype(entry) == AE_IFDIR || path.empty()) {
        continue;  // Folders are made for the files in them.
      } else if (archive_entry_filetype(entry) == AE_IFREG) {
        if (wanted(path, only_)) write_file(reader, path);
      } else {
        fail(ErrorCode::kCorruptData, "archive",
             "expected files, folders and links in " + archive_ + ", got a device or pipe at " +
                 path);
      }
    }
  }

  void add_link(const std::string& path, const std::string& target) {
    if (wanted(path, only_)) links_[path] = target;
  }

  /// Where a symbolic link at `parts` points to inside the tree.
  std::string resolve(std::vector<std::string> parts, const std::string& target) {
    auto refuse = [&](const char* why) {
      fail(ErrorCode::kCorruptData, "archive",
           "expected links inside the archive " + archive_ + ", got " + join(parts) + " (" + why +
               ")");
    };
    if (target.empty() || target.size() > 1024) refuse("no usable target");
    if (target[0] == '/') refuse("absolute target");
    std::vector<std::string> at(parts.begin(), parts.empty() ? parts.end() : parts.end() - 1);
    for (size_t start = 0; start <= target.size();) {
      size_t end = std::min(target.find('/', start), target.size());
      std::string part = target.substr(start, end - start);
      if (part == "..") {
        if (at.empty()) refuse("target leaves the folder");
        at.pop_back();
      } else if (!part.empty() && part != ".") {
        at.push_back(part);
      }
      start = end + 1;
    }
    return join(safe_parts(at.empty() ? "." : join(at), archive_));
  }

  void write_file(archive* reader, const std::string& path) {
    fs::path full = fs::path(dir_) / path;
    std::error_code error;
    fs::create_directories(full.parent_path(), error);
    int fd = error
                 ? -1
                 : ::open(full.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
      bool twice = !error && errno == EEXIST;
      fail(twice ? ErrorCode::kCorruptData : ErrorCode::kIo, "archive",
           (twice ? "expected each name once in " + archive_ + ", got twice: " : "cannot write ") +
               path + (twice ? "" : ": " + (error ? error.message() : std::strerror(errno))));
    }
    std::unique_ptr<int, void (*)(int*)> closer(&fd, [](int* open_fd) { ::close(*open_fd); });
    Sha256 hash;
    while (true) {
      la_ssize_t n = archive_read_data(reader, buffer_.data(), buffer_.size());
      if (n == 0) break;
      if (n < 0) broken(reader);
      count(n);
      hash.update({buffer_.data(), static_cast<size_t>(n)});
      for (la_ssize_t done = 0; done < n;) {
        ssize_t wrote = ::write(fd, buffer_.data() + done, static_cast<size_t>(n - done));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0)
          fail(ErrorCode::kIo, "archive", "cannot write " + path + ": " + std::strerror(errno));
        done += wrote;
      }
    }
    hashes_[path] = hash.finish();
  }

  void count(int64_t bytes) {
    bytes_ += bytes;
    if (bytes_ > limits_.max_bytes ||
        (bytes_ > limits_.ratio_floor && bytes_ / limits_.max_ratio > packed_)) {
      fail(ErrorCode::kResourceLimit, "archive",
           "expected at most " + std::to_string(limits_.max_bytes) + " bytes and " +
               std::to_string(limits_.max_ratio) + " times its own size in " + archive_ +
               ", got more");
    }
    if (step_) step_(bytes_);
  }

  /// Links to files of the tree become copies. A link to a folder or to something that was not
  /// unpacked is left out.
  void copy_links() {
    for (const auto& [path, first] : links_) {
      std::string target = first;
      for (int hops = 0; links_.count(target) > 0; ++hops) {
        if (hops > 16)
          fail(ErrorCode::kCorruptData, "archive",
               "expected links that end in " + archive_ + ", got a loop");
        target = links_.at(target);
      }
      auto found = hashes_.find(target);
      if (found == hashes_.end() || hashes_.count(path) > 0) continue;
      std::error_code error;
      fs::path full = fs::path(dir_) / path;
      count(static_cast<int64_t>(fs::file_size(fs::path(dir_) / target)));
      fs::create_directories(full.parent_path(), error);
      if (!error) fs::copy_file(fs::path(dir_) / target, full, error);
      if (error) fail(ErrorCode::kIo, "archive", "cannot write " + path + ": " + error.message());
      hashes_[path] = std::string(found->second);
    }
  }

  ArchiveReport report() const {
    Sha256 tree;
    for (const auto& [path, hash] : hashes_) {
      tree.update(path);
      tree.update({"\0", 1});
      tree.update(hash + "\n");
    }
    return {
        .files = static_cast<int64_t>(hashes_.size()), .bytes = bytes_, .sha256 = tree.finish()};
  }

  const std::string& archive_;
  const std::string& dir_;
  const std::vector<std::string>& only_;
  const ArchiveLimits& limits_;
  const std::function<void(int64_t)>& step_;
  int64_t packed_ = 0;
  int64_t entries_ = 0;
  int64_t bytes_ = 0;
  std::vector<char> buffer_ = std::vector<char>(1 << 16);
  std::map<std::string, std::string> links_;
  std::map<std::string, std::string> hashes_;
};

}  // namespace

ArchiveReport extract_archive(const std::string& archive, const std::string& dir,
                              const std::vector<std::string>& only, const ArchiveLimits& limits,
                              const std::function<void(int64_t)>& step) {
  return Extraction(archive, dir, only, limits, step).run();
}

std::string read_packed_file(const std::string& path, size_t max_bytes) {
  if (!fs::exists(path)) fail(ErrorCode::kNotFound, "archive", "cannot open " + path);
  Reader reader(archive_read_new());
  if (!reader) fail(ErrorCode::kResourceLimit, "archive", "out of memory");
  auto read = [&](auto result) {
    if (result >= 0) return result;
    const char* why = archive_error_string(reader.get());
    fail(ErrorCode::kCorruptData, "archive",
         "expected a packed file in " + path + ", got: " + (why != nullptr ? why : "another"));
  };
  archive_read_support_format_raw(reader.get());
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_filter_xz(reader.get());
  archive_read_support_filter_zstd(reader.get());
  archive_read_support_filter_bzip2(reader.get());
  archive_entry* entry = nullptr;
  read(archive_read_open_filename(reader.get(), path.c_str(), 1 << 16));
  read(archive_read_next_header(reader.get(), &entry));
  std::string out;
  std::vector<char> buffer(1 << 18);
  while (la_ssize_t n = read(archive_read_data(reader.get(), buffer.data(), buffer.size()))) {
    if (out.size() + static_cast<size_t>(n) > max_bytes) {
      fail(ErrorCode::kResourceLimit, "archive",
           "expected at most " + std::to_string(max_bytes) + " bytes in " + path + ", got more");
    }
    out.append(buffer.data(), static_cast<size_t>(n));
  }
  return out;
}

}  // namespace plait::data
