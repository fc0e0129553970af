#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>

#include "plait/core/error.h"
#include "plait/data/table/pickled_frame.h"
#include "tests/core/expect_error.h"

namespace plait::data {
namespace {

using tests::expect_error;

/// Pickles by hand, as pandas 1.0 wrote them with protocol 2.
std::string text(const std::string& s) {
  auto n = static_cast<uint32_t>(s.size());
  return "X" + std::string(reinterpret_cast<const char*>(&n), 4) + s;
}
std::string number(int32_t n) { return "J" + std::string(reinterpret_cast<const char*>(&n), 4); }
std::string tuple(const std::string& items) { return "(" + items + "t"; }
std::string list(const std::string& items) { return "(" + items + "l"; }
std::string dict(const std::string& items) { return "(" + items + "d"; }
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string call(const std::string& function, const std::string& arguments) {
  return function + tuple(arguments) + "R";
}
const std::string kNone = "N";

std::string latin1(const std::string& bytes) {
  std::string utf8;
  for (char c : bytes) {
    auto u = static_cast<uint8_t>(c);
    if (u < 0x80) {
      utf8 += c;
    } else {
      utf8 += static_cast<char>(0xc0 | u >> 6);
      utf8 += static_cast<char>(0x80 | (u & 0x3f));
    }
  }
  return call(global("_codecs", "encode"), text(utf8) + text("latin1"));
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string dtype(const std::string& type, const std::string& order) {
  return call(global("numpy", "dtype"), text(type) + number(0) + number(1)) +
         tuple(number(3) + text(order) + kNone + kNone + kNone + number(-1) + number(-1) +
               number(0)) +
         "b";
}
std::string array(const std::string& shape, const std::string& type, const std::string& content) {
  return call(global("numpy.core.multiarray", "_reconstruct"),
              global("numpy", "ndarray") + tuple(number(0)) + latin1("b")) +
         tuple(number(1) + tuple(shape) + type + "I00\n" + content) + "b";
}
std::string object(const std::string& module, const std::string& name, const std::string& state) {
  return call(global("copy_reg", "_reconstructor"),
              global(module, name) + global("__builtin__", "object") + kNone) +
         state + "b";
}
std::string slice(int32_t from, int32_t to) {
  return call(global("__builtin__", "slice"), number(from) + number(to) + number(1));
}

/// Two float64 columns and an int64 one, three rows.
std::string frame(const std::string& floats) {
  std::string names =
      call(global("pandas.core.indexes.base", "_new_Index"),
           global("pandas.core.indexes.base", "Index") +
               dict(text("data") +
                    array(number(3), dtype("O8", "|"), list(text("x") + text("y") + text("n"))) +
                    text("name") + kNone));
  std::string integers =
      array(number(1) + number(3), dtype("i8", "<"), latin1(bytes_of<int64_t>({-1, 0, 300})));
  auto block = [](const std::string& values, const std::string& places) {
    return dict(text("values") + values + text("mgr_locs") + places);
  };
  std::string manager =
      object("pandas.core.internals.managers", "BlockManager",
             tuple(kNone + kNone + kNone +
                   dict(text("0.14.1") +
                        dict(text("axes") + list(names) + text("blocks") +
                             list(block(floats, slice(0, 2)) + block(integers, slice(2, 3)))))));
  return object("pandas.core.frame", "DataFrame", dict(text("_data") + manager));
}
const std::vector<double> kFloats{0.5, -2.25, 1e300, 3, 4, 5};
std::string good_frame() {
  return frame(array(number(2) + number(3), dtype("f8", "<"), latin1(bytes_of(kFloats))));
}

PickledFrame read(const std::string& pickle) {
  std::string bytes = "\x80\x02" + pickle + ".";
  PickleMachine machine({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "a.pkl",
                        pickled_frame_globals());
  return read_frame(machine.load(), "a.pkl");
}

TEST(PickledFrame, HasColumnsAndNumbers) {
  PickledFrame got = read(good_frame());
  EXPECT_EQ(got.columns, (std::vector<std::string>{"x", "y", "n"}));
  at::Tensor expected = at::tensor({0.5, 3., -1., -2.25, 4., 0., 1e300, 5., 300.}, at::kDouble);
  EXPECT_TRUE(got.values.equal(expected.view({3, 3})));
}

TEST(PickledFrame, NothingElseIsTaken) {
  expect_error(ErrorCode::kCorruptData, "refused",
               [] { read(call(global("os", "system"), text("true"))); });
  // Known to frames, but to no one who did not ask for them.
  std::string bytes = "\x80\x02" + good_frame() + ".";
  PickleMachine strict({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "a.pkl");
  expect_error(ErrorCode::kCorruptData, "refused", [&] { strict.load(); });
  expect_error(ErrorCode::kCorruptData, "a call of", [] { read(number(3)); });
  expect_error(ErrorCode::kCorruptData, "\"_data\"",
               [] { read(object("pandas.core.frame", "DataFrame", dict(""))); });
  auto with = [](const std::string& shape, const std::string& type, const std::string& content) {
    return [=] { read(frame(array(shape, type, content))); };
  };
  const std::string right = latin1(bytes_of(kFloats));
  expect_error(ErrorCode::kCorruptData, "as many bytes",
               with(number(2) + number(4), dtype("f8", "<"), right));
  expect_error(ErrorCode::kCorruptData, "as many bytes",
               with(number(2) + number(1 << 30), dtype("f8", "<"), right));
  expect_error(ErrorCode::kCorruptData, "an array",
               with(number(-2) + number(-3), dtype("f8", "<"), right));
  expect_error(ErrorCode::kCorruptData, "float64 or int64",
               with(number(2) + number(3), dtype("f8", ">"), right));
  expect_error(ErrorCode::kCorruptData, "Latin-1",
               with(number(2) + number(3), dtype("f8", "<"),
                    call(global("_codecs", "encode"), text("\xe4\xb8\xad") + text("latin1"))));
  expect_error(ErrorCode::kCorruptData, "rows in a block",
               with(number(3) + number(2), dtype("f8", "<"), right));
}

TEST(PickledFrame, SurvivesDamage) {
  const std::string whole = good_frame();
  uint64_t state = 1;
  auto next = [&] {
    return (state = state * 6364136223846793005ULL + 1442695040888963407ULL) >> 33;
  };
  int read_anyway = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = whole;
    if (round % 3 == 0) bytes.resize(next() % bytes.size());
    for (uint64_t k = next() % 3 + 1; k > 0 && !bytes.empty(); --k)
      bytes[next() % bytes.size()] = static_cast<char>(next());
    try {
      read(bytes);
      ++read_anyway;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorruptData) << error.what();
    }
  }
  EXPECT_GT(read_anyway, 0);
  EXPECT_LT(read_anyway, 1500);
}

}  // namespace
}  // namespace plait::data
