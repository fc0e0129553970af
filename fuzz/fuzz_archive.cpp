// Archives of packages: zip, tar and Debian packages by their first bytes. Nothing may land outside
// the folder.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "fuzz/target.h"
#include "plait/data/packages/archive.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fs = std::filesystem;
  static const fs::path root =
      fs::temp_directory_path() / ("plait-fuzz-archive-" + std::to_string(::getpid()));
  [[maybe_unused]] static const int registered = std::atexit([] { fs::remove_all(root); });
  fs::create_directories(root / "box" / "out");
  bool debian = plait::fuzz::text(data, size).substr(0, 7) == "!<arch>";
  fs::path file = root / (debian ? "x.deb" : "x.bin");
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  plait::fuzz::guarded([&] {
    plait::data::extract_archive(file.string(), (root / "box" / "out").string(), {},
                                 {.max_bytes = 1 << 22, .max_files = 500});
  });
  for (const auto& entry : fs::directory_iterator(root / "box")) {
    if (entry.path().filename() != "out") std::abort();
  }
  fs::remove_all(root / "box");
  return 0;
}
