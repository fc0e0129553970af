#pragma once
#include <vector>

#include "plait/models/trust/trust_fusion.h"
#include "plait/runtime/packed_matrix.h"

namespace plait::runtime {

/// A TrustFusion's joint expert in plain loops: a token of each stream, and what the tokens of some
/// streams say together. Streams that are not heard cost nothing. Immutable, thread-safe.
class PackedJoint {
 public:
  /// `weights`: the state_dict of a fusion of classes with a joint expert.
  PackedJoint(const models::TrustFusion& fusion, const TensorMap& weights);

  int64_t width() const { return static_cast<int64_t>(answer_.size()); }  ///< Of a token
  /// near [items, D_m], the stream's features standardised and bounded → tokens[i] [width()].
  void read(const VectorLoops& loops, size_t stream, const float* near, int64_t items,
            float* const* tokens, Arena& arena) const;
  /// Tokens of `heard` streams, in their order → log probabilities [K], tempered.
  void answer(const VectorLoops& loops, const float* const* tokens, int64_t heard,
              float* log_probabilities, Arena& arena) const;
  /// Of one item, `read`.
  int64_t multiply_adds_of_token(size_t stream) const;
  /// Of one item, `answer`, attention included.
  int64_t multiply_adds(int64_t heard) const;

 private:
  struct Reader {
    PackedLinear hidden, output;
    std::vector<float> stream;
  };
  struct Norm {
    std::vector<float> weight, bias;
  };
  struct Layer {
    Norm before, between;
    PackedLinear query, key_value, mixed, hidden, output;
  };

  void normalise(const Norm& norm, const float* x, int64_t rows, float* out) const;
  /// Of `rows` tokens x the first `asked`, the others stay as they were.
  void run(const VectorLoops& loops, const Layer& layer, float* x, int64_t rows, int64_t asked,
           Arena& arena) const;
  void attend(const float* query, const float* key_value, int64_t rows, int64_t asked, float* out,
              float* scores) const;
  /// How many tokens are needed of a layer's output: of the last one the answer alone.
  int64_t asked(size_t layer, int64_t rows) const { return layer + 1 < layers_.size() ? rows : 1; }

  std::vector<Reader> readers_;
  std::vector<float> answer_;
  std::vector<Layer> layers_;
  Norm norm_;
  PackedLinear head_;
  int64_t classes_, room_;  ///< Of a token in `answer`: whole blocks
  float temperature_;
};

}  // namespace plait::runtime
