#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/hash.h"
#include "plait/data/packages/archive.h"
#include "plait/data/packages/process.h"
#include "tests/data/archive_builder.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;
using namespace testing;
using ::testing::HasSubstr;

class ArchiveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("plait-archive-" + std::to_string(::getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_ / "box" / "out");
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string save(const std::string& name, const std::string& bytes) {
    std::ofstream(root_ / name, std::ios::binary) << bytes;
    return (root_ / name).string();
  }
  ArchiveReport extract(const std::string& archive, const std::vector<std::string>& only = {},
                        const ArchiveLimits& limits = {}) {
    return extract_archive(archive, (root_ / "box" / "out").string(), only, limits);
  }
  std::string unpacked(const std::string& name) {
    return read_file((root_ / "box" / "out" / name).string());
  }

  /// Expects a refusal with that code and word, and nothing outside the folder.
  void expect_refused(const std::string& name, const std::string& bytes, ErrorCode code,
                      const std::string& word, const ArchiveLimits& limits = {}) {
    SCOPED_TRACE(name);
    std::string file = save(name, bytes);
    try {
      extract(file, {}, limits);
      ADD_FAILURE() << "was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(word));
    }
    size_t beside = 0;
    for (const auto& entry : fs::directory_iterator(root_ / "box"))
      beside += entry.path().filename() != "out";
    EXPECT_EQ(beside, 0u) << "something was written outside";
    for (const auto& entry : fs::recursive_directory_iterator(root_ / "box"))
      EXPECT_FALSE(entry.is_symlink());
    fs::remove_all(root_ / "box" / "out");
    fs::create_directories(root_ / "box" / "out");
  }

  fs::path root_;
};

TEST_F(ArchiveTest, UnpacksTarZipAndDebianPackage) {
  std::string tar = tar_entry("./a", '5', "") + tar_entry("./a/hello.txt", '0', "hello") +
                    tar_entry("b", '0', "") + tar_end();
  ArchiveReport report = extract(save("x.tar", tar));
  EXPECT_EQ(report.files, 2);
  EXPECT_EQ(report.bytes, 5);
  EXPECT_EQ(unpacked("a/hello.txt"), "hello");
  EXPECT_EQ(report.sha256, sha256("a/hello.txt" + std::string(1, '\0') + sha256("hello") + "\nb" +
                                  std::string(1, '\0') + sha256("") + "\n"));

  fs::remove_all(root_ / "box" / "out");
  EXPECT_EQ(extract(save("x.deb", deb(tar))).sha256, report.sha256);

  EXPECT_EQ(extract(save("x.whl", zip("model/w.bin", "weights"))).files, 1);
  EXPECT_EQ(unpacked("model/w.bin"), "weights");
}

TEST_F(ArchiveTest, TakesOnlyWhatIsWanted) {
  std::string tar = tar_entry("usr/share/x/1", '0', "1") + tar_entry("usr/share/xy/2", '0', "2") +
                    tar_entry("doc", '0', "3") + tar_end();
  EXPECT_EQ(extract(save("x.tar", tar), {"usr/share/x"}).files, 1);
  EXPECT_EQ(unpacked("usr/share/x/1"), "1");
}

TEST_F(ArchiveTest, LinksInsideBecomeCopies) {
  std::string tar = tar_entry("d/file", '0', "content") + tar_entry("d/soft", '2', "", "./file") +
                    tar_entry("up", '2', "", "d/soft") + tar_entry("hard", '1', "", "d/file") +
                    tar_entry("dangling", '2', "", "nowhere") + tar_end();
  EXPECT_EQ(extract(save("x.tar", tar)).files, 4);
  for (const char* name : {"d/soft", "up", "hard"}) {
    EXPECT_EQ(unpacked(name), "content");
    EXPECT_FALSE(fs::is_symlink(root_ / "box" / "out" / name));
  }
}

TEST_F(ArchiveTest, RefusesNamesThatLeaveTheFolder) {
  for (const char* name :
       {"../evil", "a/../../evil", "/tmp/plait-evil", "a/..", "..", "a\\..\\evil", "a\nb"}) {
    expect_refused("x.tar", tar_entry(name, '0', "evil") + tar_end(), ErrorCode::kCorruptData,
                   "inside the archive");
    expect_refused("x.deb", deb(tar_entry(name, '0', "evil") + tar_end()), ErrorCode::kCorruptData,
                   "inside the archive");
  }
  expect_refused("x.whl", zip("../evil", "evil"), ErrorCode::kCorruptData, "inside the archive");
  EXPECT_FALSE(fs::exists("/tmp/plait-evil"));
}

TEST_F(ArchiveTest, RefusesLinksThatLeaveTheFolder) {
  for (const char* target : {"/etc/passwd", "../../evil", "../d/../../evil"}) {
    expect_refused("x.tar", tar_entry("d/link", '2', "", target) + tar_end(),
                   ErrorCode::kCorruptData, "link");
  }
  expect_refused("x.tar", tar_entry("link", '1', "", "/etc/passwd") + tar_end(),
                 ErrorCode::kCorruptData, "inside the archive");
  expect_refused("x.tar", tar_entry("link", '1', "", "../evil") + tar_end(),
                 ErrorCode::kCorruptData, "inside the archive");
  // Writing through a link: the link comes first, then a file "in" it.
  expect_refused("x.tar",
                 tar_entry("d", '2', "", "..") + tar_entry("d/evil", '0', "evil") + tar_end(),
                 ErrorCode::kCorruptData, "link");
  expect_refused("x.tar", tar_entry("a", '2', "", "b") + tar_entry("b", '2', "", "a") + tar_end(),
                 ErrorCode::kCorruptData, "loop");
}

TEST_F(ArchiveTest, RefusesDevicesPipesAndDoubles) {
  for (char type : {'3', '4', '6'}) {
    expect_refused("x.tar", tar_entry("dev", type, "") + tar_end(), ErrorCode::kCorruptData,
                   "device or pipe");
  }
  expect_refused("x.tar", tar_entry("a", '0', "1") + tar_entry("./a", '0', "2") + tar_end(),
                 ErrorCode::kCorruptData, "twice");
  // A file where a folder is needed.
  expect_refused("x.tar", tar_entry("a", '0', "1") + tar_entry("a/b", '0', "2") + tar_end(),
                 ErrorCode::kIo, "cannot write");
}

TEST_F(ArchiveTest, RefusesBombs) {
  std::string tar = tar_entry("zeros", '0', std::string(3'000'000, '\0')) + tar_end();
  std::string raw = save("bomb.tar", tar);
  run_checked({"gzip", "-9", "-k", raw});
  std::string packed = read_file(raw + ".gz");
  ASSERT_LT(packed.size(), 10'000u);
  expect_refused("x.tgz", packed, ErrorCode::kResourceLimit, "times its own size",
                 {.ratio_floor = 1'000'000});
  expect_refused("x.tgz", packed, ErrorCode::kResourceLimit, "at most 1000 bytes",
                 {.max_bytes = 1000});
  std::string many;
  for (int i = 0; i < 50; ++i) many += tar_entry("f" + std::to_string(i), '0', "");
  expect_refused("x.tar", many + tar_end(), ErrorCode::kResourceLimit, "at most 20 entries",
                 {.max_files = 20});
}

TEST_F(ArchiveTest, ReadsPackedFiles) {
  std::string content(100'000, 'x');
  std::string raw = save("data.pkl", content);
  run_checked({"gzip", "-k", raw});
  EXPECT_EQ(read_packed_file(raw + ".gz", content.size()), content);
  auto expect_code = [&](const std::string& path, ErrorCode code) {
    try {
      read_packed_file(path, content.size() - 1);
      ADD_FAILURE() << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
    }
  };
  expect_code(raw + ".gz", ErrorCode::kResourceLimit);
  expect_code((root_ / "missing.gz").string(), ErrorCode::kNotFound);
  std::string packed = read_file(raw + ".gz");
  expect_code(save("cut.gz", packed.substr(0, packed.size() / 2)), ErrorCode::kCorruptData);
}

TEST_F(ArchiveTest, RefusesDamage) {
  std::string tar = tar_entry("a", '0', std::string(5000, 'x')) + tar_end();
  expect_refused("x.tar", tar.substr(0, 3000), ErrorCode::kCorruptData, "whole archive");
  expect_refused("x.tar", "not an archive at all", ErrorCode::kCorruptData, "whole archive");
  expect_refused("x.deb", deb(tar).substr(0, 2500), ErrorCode::kCorruptData, "whole archive");
  expect_refused("x.deb", "!<arch>\n" + ar_entry("debian-binary", "2.0\n"), ErrorCode::kCorruptData,
                 "data.tar");
  std::string wheel = zip("w", std::string(2000, 'w'));
  expect_refused("x.whl", wheel.substr(0, 1000), ErrorCode::kCorruptData, "whole archive");
  wheel[200] ^= 1;
  expect_refused("x.whl", wheel, ErrorCode::kCorruptData, "whole archive");
  EXPECT_THROW(extract((root_ / "missing.tar").string()), Error);
}

}  // namespace
}  // namespace plait::data
