#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plait/core/file.h"
#include "plait/core/json.h"
#include "plait/core/tensor_map.h"
#include "plait/core/weights/gguf_blocks.h"

namespace plait {

/// One tensor of a GGUF file as its header describes it.
struct GgufTensor {
  std::string name;            ///< "blk.0.attn_q.weight"
  GgmlType type{};             ///< See layout_of(type).name.
  std::vector<int64_t> shape;  ///< As in PyTorch, outermost first: the reverse of the file's order.
  size_t offset = 0;           ///< From the start of the data section.
  size_t bytes = 0;
};

/// A GGUF file (versions 2 and 3, little endian) opened for reading: metadata and the list of
/// tensors are checked in full when it is opened, the tensors stay in the memory map until they are
/// asked for. Thread-safe. Format: https://github.com/ggml-org/ggml (docs/gguf.md).
class GgufFile {
 public:
  /// @throws Error kNotFound, kIo; kCorruptData naming the file, the entry and what is wrong;
  /// kResourceLimit for metadata of more than eight million values.
  static GgufFile open(const std::string& path);
  /// The same for bytes already in memory; `name` stands for the file in messages.
  static GgufFile parse(std::shared_ptr<const std::string> bytes, const std::string& name);

  uint32_t version() const { return version_; }
  /// Key → value ("general.architecture", "llama.block_count", "tokenizer.ggml.tokens" …): numbers,
  /// booleans, texts (bytes as they are in the file) and arrays. An unsigned number beyond int64
  /// becomes a double.
  const Json& metadata() const { return metadata_; }
  /// In the file's order.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  /// The tensor of that name, or nullptr.
  const GgufTensor* find(const std::string& name) const;

  /// The values: floating types and quantised ones in fp32 (fresh memory; F32 is a view of the map,
  /// read it, do not write), integers and F64 as they are. Quantised blocks are unpacked on the
  /// intra-op pool. @throws Error kNotFound; kUnavailable for a type that cannot be dequantised.
  at::Tensor load(const std::string& name) const;
  /// The bytes as they are in the file: uint8 [..., bytes of a row], a view of the map that keeps
  /// it alive; a row is a sequence of layout_of(type) blocks. Read it, do not write.
  at::Tensor blocks(const std::string& name) const;
  /// load() of every tensor.
  TensorMap load_all() const;

 private:
  class Reader;
  const GgufTensor& get(const std::string& name) const;

  std::string name_;
  std::shared_ptr<const void> owner_;
  std::span<const uint8_t> data_;
  uint32_t version_ = 0;
  Json metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t> by_name_;
};

}  // namespace plait
