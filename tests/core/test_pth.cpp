#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "plait/core/file.h"
#include "plait/core/weights/pth.h"
#include "plait/core/weights/safetensors.h"
#include "tests/core/expect_error.h"
#include "tests/core/stored_zip.h"

namespace plait {
namespace {

using namespace std::string_literals;
using tests::append;
using tests::expect_error;
using tests::pth_archive;

const std::string kFolder = std::string(PLAIT_SOURCE_DIR) + "/tests/golden/weights/";

// --- a small assembler for pickles ---

std::string text(const std::string& s) {
  std::string out = "X";
  append(out, s.size(), 4);
  return out + s;
}
std::string integer(int64_t v) {
  std::string out = "\x8a\x08";
  append(out, static_cast<uint64_t>(v), 8);
  return out;
}
std::string tuple(const std::vector<int64_t>& values) {
  std::string out = "(";
  for (int64_t v : values) out += integer(v);
  return out + "t";
}
std::string storage(const std::string& type = "FloatStorage", int64_t count = 16,
                    const std::string& key = "0") {
  return "(" + text("storage") + "ctorch\n" + type + "\n" + text(key) + text("cpu") +
         integer(count) + "tQ";
}
std::string tensor(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides,
                   int64_t offset = 0, const std::string& of = storage()) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + of + integer(offset) + tuple(sizes) +
         tuple(strides) + "\x89"s + "ccollections\nOrderedDict\n)R" + "tR";
}
std::string program(const std::string& body) { return "\x80\x02" + body + "."; }
/// {"w": <value>}
std::string dict_of(const std::string& value) { return program("}" + text("w") + value + "s"); }

void expect_refused(const std::string& pickle, const std::string& part) {
  expect_error(ErrorCode::kCorruptData, part, [&] { parse_pth(pth_archive(pickle), "x.pth"); });
  expect_error(ErrorCode::kCorruptData, "x.pth", [&] { parse_pth(pth_archive(pickle), "x.pth"); });
}

// --- what torch.save wrote (tools/golden/pth.py) ---

class PthFiles : public testing::TestWithParam<const char*> {};

TEST_P(PthFiles, EqualWhatTorchSaved) {
  TensorMap expected = load_safetensors(kFolder + GetParam() + ".safetensors");
  std::string path = kFolder + GetParam() + ".pth";
  for (const TensorMap& got : {load_pth(path), parse_pth(read_file(path), "bytes")}) {
    ASSERT_EQ(got.size(), expected.size());
    for (const auto& [name, tensor] : expected) {
      ASSERT_TRUE(got.count(name)) << name;
      EXPECT_EQ(got.at(name).scalar_type(), tensor.scalar_type()) << name;
      EXPECT_EQ(got.at(name).sizes(), tensor.sizes()) << name;
      EXPECT_TRUE(at::equal(got.at(name), tensor)) << name;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(All, PthFiles,
                         testing::Values("state_dict", "dtypes", "views", "views_old", "checkpoint",
                                         "checkpoint_old", "protocol4"),
                         [](const auto& info) { return std::string(info.param); });

TEST(PthTest, ViewsShareTheirStorage) {
  for (const char* name : {"views.pth", "views_old.pth"}) {
    TensorMap m = load_pth(kFolder + name);
    auto at = [&](const char* key) {
      return static_cast<const float*>(m.at(key).const_data_ptr());
    };
    EXPECT_EQ(at("row"), at("base") + 12) << name;
    EXPECT_EQ(at("transposed"), at("base")) << name;
    EXPECT_EQ(m.at("transposed").strides().vec(), (std::vector<int64_t>{1, 6})) << name;
    EXPECT_EQ(m.at("expanded").strides().vec(), (std::vector<int64_t>{0, 1})) << name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(at("base")) % alignof(float), 0u) << name;
  }
}

TEST(PthTest, ReadsNewDtypes) {
  at::Tensor w = load_pth(kFolder + "uint16.pth").at("w");
  EXPECT_EQ(w.scalar_type(), at::kUInt16);
  EXPECT_TRUE(at::equal(w.to(at::kLong), at::arange(5)));
}

TEST(PthTest, RefusesTorchScript) {
  expect_error(ErrorCode::kCorruptData, "got a TorchScript program",
               [] { load_pth(kFolder + "torchscript.pt"); });
}

TEST(PthTest, EveryTruncationOfRealFilesIsRefused) {
  for (const char* name : {"views.pth", "views_old.pth"}) {
    std::string bytes = read_file(kFolder + name);
    for (size_t n = 0; n < bytes.size(); ++n) {
      EXPECT_THROW(parse_pth(bytes.substr(0, n), "cut.pth"), Error) << name << " cut to " << n;
    }
  }
}

TEST(PthTest, HandMadeTensorLoads) {
  at::Tensor w =
      parse_pth(pth_archive(dict_of(tensor({2, 3}, {3, 1}, 4, storage("ByteStorage", 64)))), "x")
          .at("w");
  EXPECT_TRUE(at::equal(w, at::ones({2, 3}, at::kByte)));
  EXPECT_EQ(parse_pth(pth_archive(program(tensor({4}, {1}))), "x").count("tensor"), 1u);
}

// --- hostile pickles ---

TEST(PthTest, RefusesEveryOtherGlobal) {
  expect_refused(program("cos\nsystem\n" + text("true") + "\x85R"),
                 "global os.system, which is refused");
  expect_refused(program("cposix\nsystem\n" + text("true") + "\x85R"), "posix.system");
  expect_refused(program("c__builtin__\neval\n" + text("1") + "\x85R"), "__builtin__.eval");
  expect_refused(program("cbuiltins\nexec\n" + text("1") + "\x85R"), "builtins.exec");
  expect_refused(program(text("os") + text("system") + "\x93"), "os.system");
  expect_refused(program("ctorch\nload\n"), "torch.load");
  expect_refused(program("ctorch._utils\n_rebuild_tensor_v2x\n"), "is refused");
  expect_refused(program("ctorch\n_utils._rebuild_tensor_v2\n"), "is refused");
  expect_refused(program("c\n\n"), "is refused");
  std::string shown = "cos\n"s + std::string(100'000, '\x07') + "\n";
  try {
    parse_pth(pth_archive(program(shown)), "x");
    FAIL();
  } catch (const Error& e) {
    EXPECT_LT(std::string(e.what()).size(), 400u);
    EXPECT_EQ(std::string(e.what()).find('\x07'), std::string::npos);
  }
}

TEST(PthTest, RefusesInstructionsThatBuildObjects) {
  expect_refused(program(")\x81"), "0x81");           // NEWOBJ
  expect_refused(program("(ios\nsystem\n"), "0x69");  // INST
  expect_refused(program("(o"), "0x6f");              // OBJ
  expect_refused(program("\x82\x01"), "0x82");        // EXT1
  expect_refused(program("P1\n"), "0x50");            // protocol 0: an object by name
  expect_refused("\x80\x01.", "protocol 2 to 5");
  expect_refused("\x80\x07.", "protocol 2 to 5");
  expect_refused(program("ccollections\nOrderedDict\n}b"),
                 "expected a dictionary");  // BUILD on a global
}

TEST(PthTest, RefusesBrokenStacks) {
  for (const std::string& body :
       {""s,      "a"s,       "0"s,    "t"s,        "s"s,     "u"s,
        "R"s,     "b"s,       "Q"s,    "(("s,       "}(Nu"s,  "](e0a"s,
        "N\x87"s, "(N0\x85"s, "2"s,    "Na"s,       "NR"s,    ")R"s,
        "]R"s,    "N)R"s,     "\x93"s, "NN\x93"s,   "h\x05"s, "j\xff\xff\xff\xff"s,
        "q\x01"s, "(q\x01"s,  "NQ"s,   "(K\x01tQ"s, "\x94"s}) {
    EXPECT_THROW(parse_pth(pth_archive(program(body)), "x"), Error) << testing::PrintToString(body);
  }
  expect_refused("", "got the end");
  expect_refused("\x80\x02N", "got the end");
}

TEST(PthTest, HugeClaimsAllocateNothing) {
  expect_refused("\x80\x02X\xff\xff\xff\xff.", "expected 4294967295 more bytes");
  expect_refused("\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "more bytes");
  expect_refused("\x80\x02\x8b\xff\xff\xff\x7f.", "more bytes");
  EXPECT_THROW(parse_pth(pth_archive(program("Nr\xff\xff\xff\xff")), "x"),
               Error);  // memo slot of 2^32 - 1
  expect_refused(dict_of(tensor({int64_t{1} << 40}, {0})), "expanded view");
  expect_refused(dict_of(tensor({17}, {1})), "inside its storage");
  expect_refused(dict_of(tensor({int64_t{1} << 32, int64_t{1} << 32}, {0, 0})),
                 "inside its storage");
  expect_refused(dict_of(tensor({2}, {INT64_MAX})), "inside its storage");
  expect_refused(dict_of(tensor({2}, {-1}, 5)), "inside its storage");
  expect_refused(dict_of(tensor({-2}, {1})), "inside its storage");
  expect_refused(dict_of(tensor({1}, {1}, -1)), "inside its storage");
  expect_refused(dict_of(tensor({1}, {1}, 16)), "inside its storage");
  expect_refused(dict_of(tensor({1}, {1}, INT64_MAX)), "inside its storage");
  expect_refused(dict_of(tensor({1, 1}, {1})), "inside its storage");
  expect_refused(dict_of(tensor({1}, {1}, 0, storage("FloatStorage", INT64_MAX))), "got 64 bytes");
  expect_refused(dict_of(tensor({1}, {1}, 0, storage("FloatStorage", 17))), "got 64 bytes");
  expect_refused(dict_of(tensor({1}, {1}, 0, storage("FloatStorage", -1))), "got 64 bytes");
  expect_refused(dict_of(tensor({1}, {1}, 0, storage("FloatStorage", 4, "7"))),
                 "its data in the file, got none");
  expect_refused(dict_of(tensor({0, INT64_MAX, INT64_MAX}, {1, 1, 1})), "inside its storage");
  expect_refused(dict_of(tensor(std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1))),
                 "64 dimensions");
}

TEST(PthTest, DeepNestingAndCyclesAreRefused) {
  std::string deep;
  for (int i = 0; i < 1'000'000; ++i) deep += "]";
  deep += "N" + std::string(1'000'000, 'a');
  expect_refused(program(deep), "nesting of at most 64 levels");
  expect_refused(program("]q\x01h\x01"
                         "a"),
                 "nesting of at most 64 levels");  // a list in itself
  expect_refused(program("}q\x01" + text("a") + "h\x01s"), "nesting of at most 64 levels");
  std::string laughs =
      "]q" + std::string(1, '\0');  // sixty lists, each holding the one before it ten times
  for (char i = 0; i < 60; ++i) {
    std::string previous = std::string("h") + i;
    std::string ten;
    for (int k = 0; k < 10; ++k) ten += previous;
    laughs += "](" + ten + "eq" + static_cast<char>(i + 1);
  }
  expect_error(ErrorCode::kResourceLimit, "four million values",
               [&] { parse_pth(pth_archive(program(laughs)), "x"); });
}

TEST(PthTest, CopiesOfLongListsAreBounded) {
  std::string list = "](" + std::string(100'000, 'N') + "eq" + std::string(1, '\1');
  std::string again = "ctorch\nSize\nh\x01\x85R";
  for (int i = 0; i < 1000; ++i) list += again;
  expect_error(ErrorCode::kResourceLimit, "copies of long lists",
               [&] { parse_pth(pth_archive(program(list)), "x"); });
}

TEST(PthTest, NamesAreBoundedAndUnique) {
  std::string w = tensor({1}, {1});
  expect_refused(program("}(" + text(std::string(600, 'x')) + w + "u"), "at most 512 characters");
  expect_refused(program("}(" + text("a") + w + text("a") + w + "u"), "appears twice");
  expect_refused(program("}"), "expected tensors, got none");
  expect_refused(program("N"), "expected tensors, got none");
}

// --- archives ---

TEST(PthTest, ReadsZip64) {
  TensorMap m = parse_pth(
      pth_archive(dict_of(tensor({16}, {1})), std::string(64, '\0'), {.zip64 = true}), "x");
  EXPECT_TRUE(at::equal(m.at("w"), at::zeros({16})));
}

TEST(PthTest, RefusesOddArchives) {
  std::string good = dict_of(tensor({1}, {1}));
  auto refused = [&](const std::string& bytes, const std::string& part) {
    expect_error(ErrorCode::kCorruptData, part, [&] { parse_pth(bytes, "x.pth"); });
  };
  std::string data(64, '\1');
  refused(pth_archive(good, data, {.method = 8}), "compressed");
  refused(pth_archive(good, data, {.flags = 1}), "no encryption");
  refused(pth_archive(good, data, {.overlapping = true}), "overlapping");
  refused(pth_archive(good, data, {.extra_size = 100}), "overlapping");
  refused(pth_archive(good, data, {.extra_size = 1u << 30}), "got the end");
  refused(pth_archive(good, data, {.zip64 = true, .extra_size = ~uint64_t{0} - 50}), "");
  refused(tests::stored_zip({{"a/data.pkl", good}, {"a/data.pkl", good}}), "listed before");
  refused(tests::stored_zip({{"a/other", good}}), "expected a data.pkl");
  refused(tests::stored_zip({{"a/data.pkl", good}, {"a/byteorder", "big"}}), "little-endian");
  refused("PK\3\4" + std::string(100, 'x'), "zip directory");
  refused("", "expected a PyTorch file");
  refused("hello", "expected a PyTorch file");
}

TEST(PthTest, RefusesBrokenOldFiles) {
  std::string magic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s;
  std::string version = "\x80\x02M\xe9\x03."s;
  std::string system = program("}");
  auto old = [&](const std::string& object, const std::string& keys, const std::string& rest) {
    return magic + version + system + object + keys + rest;
  };
  auto refused = [](const std::string& bytes, const std::string& part) {
    expect_error(ErrorCode::kCorruptData, part, [&] { parse_pth(bytes, "x.pth"); });
  };
  std::string w = dict_of(tensor({1}, {1}, 0, storage("FloatStorage", 1)));
  std::string keys = program("]" + text("0") + "a");
  EXPECT_TRUE(
      at::equal(parse_pth(old(w, keys, "\1\0\0\0\0\0\0\0\0\0\x80?"s), "x").at("w"), at::ones({1})));
  refused(program("K\x01"), "another pickle");
  refused(magic + program("K\x01") + system + w + keys, "version 1001");
  refused(magic + version + program("}" + text("little_endian") + "\x89s") + w + keys,
          "little-endian");
  refused(old(w, program("N"), ""), "list of storages");
  refused(old(w, program("]" + text("1") + "a"), ""), "storage in use");
  refused(old(w, keys, "\1\0\0"), "length of a storage");
  refused(old(w, keys, "\1\0\0\0\0\0\0\0\0\0"s), "elements, got the end");
  refused(old(w, keys, "\xff\xff\xff\xff\xff\xff\xff\x7f"s), "elements, got the end");
  refused(old(w, keys, std::string(8, '\xff')), "elements, got the end");
  refused(old(w, program("]"), ""), "its data in the file, got none");
}

}  // namespace
}  // namespace plait
