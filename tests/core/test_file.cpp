#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "plait/core/file.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

using tests::expect_error;

TEST(FileTest, RoundTripsBytesAndReplacesWholeFiles) {
  tests::TemporaryFolder folder;
  std::string bytes("a\0b\xff\n", 5);
  write_file_atomic(folder / "f", bytes);
  EXPECT_EQ(read_file(folder / "f"), bytes);
  write_file_atomic(folder / "f", "");
  EXPECT_EQ(read_file(folder / "f"), "");
}

TEST(FileTest, SaysWhatIsWrong) {
  tests::TemporaryFolder folder;
  write_file_atomic(folder / "f", "12345");
  expect_error(ErrorCode::kNotFound, folder / "none", [&] { read_file(folder / "none"); });
  expect_error(ErrorCode::kResourceLimit, "at most 4 bytes", [&] { read_file(folder / "f", 4); });
  EXPECT_EQ(read_file(folder / "f", 5), "12345");
  EXPECT_THROW(read_file(folder.path()), Error);
  EXPECT_THROW(read_file("/dev/zero"), Error);
  EXPECT_THROW(MappedFile::open(folder.path()), Error);
  EXPECT_THROW(write_file_atomic(folder / "no/folder/f", "x"), Error);
  EXPECT_THROW(read_file(std::string(100'000, 'x')), Error);
}

TEST(FileTest, PipesDoNotBlock) {
  tests::TemporaryFolder folder;
  std::string path = folder / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_THROW(read_file(path), Error);
  EXPECT_THROW(MappedFile::open(path), Error);
}

TEST(FileTest, MapsSurviveReplacementOfTheFile) {
  tests::TemporaryFolder folder;
  write_file_atomic(folder / "f", "first");
  auto map = MappedFile::open(folder / "f");
  write_file_atomic(folder / "f", "second");
  std::string seen(map->bytes().begin(), map->bytes().end());
  EXPECT_EQ(seen, "first");
  EXPECT_EQ(map->path(), folder / "f");
  write_file_atomic(folder / "empty", "");
  EXPECT_TRUE(MappedFile::open(folder / "empty")->bytes().empty());
}

TEST(FileTest, AFailedWriteLeavesTheOldFile) {
  tests::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "taken");
  EXPECT_THROW(write_file_atomic(folder / "taken", "x"), Error);
  EXPECT_TRUE(std::filesystem::is_directory(folder / "taken"));
  size_t entries = 0;
  for ([[maybe_unused]] auto& entry : std::filesystem::directory_iterator(folder.path())) ++entries;
  EXPECT_EQ(entries, 1u) << "a temporary file was left";
}

}  // namespace
}  // namespace plait
