#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plait/core/file.h"
#include "plait/core/json.h"
#include "plait/core/tensor_map.h"

namespace plait {

/// A .safetensors file opened for reading: the header is checked in full when it is opened, the
/// tensors are views of the memory map that keep it alive (read them, do not write). Thread-safe.
/// Format: https://github.com/huggingface/safetensors (8-byte header size, JSON header, tensor
/// bytes).
class SafetensorsFile {
 public:
  /// @throws Error kCorruptData that names the file and the tensor: header over 100 MB, unknown
  /// dtype, more than 64 dimensions, tensors that overlap, leave holes or lie outside the file.
  static SafetensorsFile open(const std::string& path);
  /// The same for bytes in memory (fuzzing, network); `name` stands for the file in messages.
  static SafetensorsFile parse(std::shared_ptr<const std::string> bytes, const std::string& name);

  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return entries_.count(name) > 0; }
  at::Tensor tensor(const std::string& name) const;
  TensorMap tensors() const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Entry {
    int dtype = 0;
    std::vector<int64_t> shape;
    size_t offset = 0;
    size_t size = 0;  ///< bytes
  };
  Entry read_entry(const Json& entry) const;
  void read_header(std::span<const uint8_t> bytes);

  std::string name_;
  std::shared_ptr<const void> owner_;
  std::span<const uint8_t> data_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Reads every tensor of a file.
TensorMap load_safetensors(const std::string& path);

/// Writes CPU copies of `tensors` (contiguous, little endian; wide dtypes first, then by name),
/// atomically (temporary file and rename).
void save_safetensors(const std::string& path, const TensorMap& tensors,
                      const std::map<std::string, std::string>& metadata = {});
/// The bytes of such a file.
std::string dump_safetensors(const TensorMap& tensors,
                             const std::map<std::string, std::string>& metadata = {});

}  // namespace plait
