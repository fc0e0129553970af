// Whole texts and files through Sha256, whichever implementation of it is built.
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "plait/core/error.h"
#include "plait/data/hash.h"

namespace plait::data {

std::string sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string sha256_file(const std::string& path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"),
                                                       std::fclose);
  if (!file) {
    auto code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    fail(code, "hash", "cannot open " + path + ": " + std::strerror(errno));
  }
  Sha256 hash;
  std::string buffer(size_t{1} << 18, '\0');
  while (size_t n = std::fread(buffer.data(), 1, buffer.size(), file.get()))
    hash.update({buffer.data(), n});
  if (std::ferror(file.get())) fail(ErrorCode::kIo, "hash", "cannot read " + path);
  return hash.finish();
}

}  // namespace plait::data
