#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace plait::models {

/// Keys and values of the tokens that a decoder has seen, so that each new token costs one token's
/// work. Room is taken in advance and doubles when it is full; appending copies the new tokens
/// alone. Belongs to one sequence of calls: not thread-safe.
class KvCache {
 public:
  struct Shape {
    int64_t layers = 0;
    int64_t batch = 1;
    int64_t heads = 0;     ///< Key/value heads
    int64_t width = 0;     ///< Of one head
    int64_t capacity = 0;  ///< Tokens to take room for at first
  };
  KvCache(const Shape& shape, const at::TensorOptions& options);

  int64_t batch() const { return batch_; }
  /// Tokens of each row that are held, padding included.
  int64_t length() const { return length_; }

  /// Stores k and v [B, heads, T, width] of one layer behind the tokens held and gives views of
  /// all, [B, heads, length + T, width]. `advance` follows once, after the last layer.
  std::pair<at::Tensor, at::Tensor> append(int64_t layer, const at::Tensor& k, const at::Tensor& v);
  /// Counts T appended tokens in; `mask` [B, T] bool says which are real (undefined: all).
  void advance(int64_t tokens, const at::Tensor& mask);
  /// Real tokens [B, length] bool; undefined when all are.
  at::Tensor mask() const;

  /// Row i becomes what row rows[i] was (beam search). rows [B'] int64; B' may differ from B.
  void select(const at::Tensor& rows);
  /// Forgets all but the first `length` tokens.
  void truncate(int64_t length);

  /// Keys and values of cross-attention, computed once: undefined until set.
  std::pair<at::Tensor, at::Tensor>& cross(int64_t layer) {
    return cross_[static_cast<size_t>(layer)];
  }

 private:
  void reserve(size_t layer, int64_t tokens);

  int64_t batch_, length_ = 0;
  std::vector<at::Tensor> keys_, values_;
  std::vector<std::pair<at::Tensor, at::Tensor>> cross_;
  at::Tensor mask_;
};

}  // namespace plait::models
