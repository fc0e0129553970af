#include "plait/core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "plait/core/error.h"

namespace plait {
namespace {

/// Closes the descriptor on every way out.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void fail_errno(const char* action, const std::string& path) {
  int error = errno;
  auto code = error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
  fail(code, "file", std::string("cannot ") + action + " " + path + ": " + std::strerror(error));
}

size_t open_regular(const std::string& path, Descriptor& file) {
  // O_NONBLOCK: opening a pipe would wait for a writer; it changes nothing for regular files.
  file.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.fd < 0) fail_errno("open", path);
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) fail_errno("inspect", path);
  if (!S_ISREG(info.st_mode))
    fail(ErrorCode::kInvalidArgument, "file", "expected a regular file, got " + path);
  return static_cast<size_t>(info.st_size);
}

}  // namespace

std::string read_file(const std::string& path, size_t max_bytes) {
  Descriptor file;
  size_t size = open_regular(path, file);
  if (size > max_bytes) {
    fail(ErrorCode::kResourceLimit, "file",
         "expected at most " + std::to_string(max_bytes) + " bytes in " + path + ", got " +
             std::to_string(size));
  }
  std::string out(size, '\0');
  size_t done = 0;
  while (done < size) {
    ssize_t n = ::read(file.fd, out.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("read", path);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  out.resize(done);
  return out;
}

void write_file_atomic(const std::string& path, std::string_view bytes) {
  static std::atomic<uint64_t> counter{0};  // two threads may write the same path
  std::string temporary =
      path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
  Descriptor file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
  if (file.fd < 0) fail_errno("create", temporary);
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t n = ::write(file.fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      int error = errno;
      ::unlink(temporary.c_str());
      errno = error;
      fail_errno("write", path);
    }
    done += static_cast<size_t>(n);
  }
  if (::fsync(file.fd) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
    int error = errno;
    ::unlink(temporary.c_str());
    errno = error;
    fail_errno("write", path);
  }
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  Descriptor file;
  size_t size = open_regular(path, file);
  auto mapped = std::shared_ptr<MappedFile>(new MappedFile());
  mapped->path_ = path;
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (address == MAP_FAILED) fail_errno("map", path);
    mapped->bytes_ = {static_cast<const uint8_t*>(address), size};
  }
  return mapped;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

}  // namespace plait
