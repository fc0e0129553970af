#include "plait/runtime/packed_joint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "plait/core/tensor_map.h"
#include "plait/runtime/trust_math.h"

namespace plait::runtime {
namespace {

// As in plait/models: layers.h.
constexpr float kNormEpsilon = 1e-5;
constexpr int64_t kHeads = models::JointExpert::kHeads;

at::Tensor weight_of(const TensorMap& weights, const std::string& name) {
  return get(weights, "joint." + name, "trust").detach().to(at::kCPU, at::kFloat);
}

PackedLinear linear(const TensorMap& weights, const std::string& name) {
  return {weight_of(weights, name + ".weight"), weight_of(weights, name + ".bias")};
}

}  // namespace

PackedJoint::PackedJoint(const models::TrustFusion& fusion, const TensorMap& weights)
    : answer_(numbers(weight_of(weights, "answer"))),
      head_(linear(weights, "head")),
      classes_(fusion.config().classes),
      temperature_(weight_of(weights, "temperature").item<float>()) {
  const int64_t width = this->width();
  room_ = (width + Panels::kLanes - 1) / Panels::kLanes * Panels::kLanes;
  const at::Tensor stream = weight_of(weights, "stream");
  for (int64_t m = 0; m < stream.size(0); ++m) {
    const std::string own = "." + std::to_string(m);
    readers_.push_back({linear(weights, "hidden" + own), linear(weights, "output" + own),
                        numbers(stream.select(0, m))});
  }
  auto norm = [&](const std::string& name) {
    return Norm{numbers(weight_of(weights, name + ".weight")),
                numbers(weight_of(weights, name + ".bias"))};
  };
  for (int64_t l = 0; l < models::JointExpert::kLayers; ++l) {
    const std::string own = "layers." + std::to_string(l) + ".";
    const at::Tensor projection = weight_of(weights, own + "self_attn.in_proj_weight"),
                     bias = weight_of(weights, own + "self_attn.in_proj_bias");
    auto rows = [&](int64_t begin, int64_t end) {
      return PackedLinear(projection.slice(0, begin, end), bias.slice(0, begin, end));
    };
    layers_.push_back({norm(own + "norm1"), norm(own + "norm2"), rows(0, width),
                       rows(width, 3 * width), linear(weights, own + "self_attn.out_proj"),
                       linear(weights, own + "linear1"), linear(weights, own + "linear2")});
  }
  norm_ = norm("norm");
}

void PackedJoint::read(const VectorLoops& loops, size_t stream, const float* near, int64_t items,
                       float* const* tokens, Arena& arena) const {
  const Reader& own = readers_[stream];
  float* h = arena.take(items * room_);
  float* out = arena.take(items * room_);
  own.hidden.apply(loops, near, own.hidden.inputs(), items, h);
  loops.gelu(h, items * room_);
  own.output.apply(loops, h, room_, items, out);
  for (int64_t i = 0; i < items; ++i) {
    for (size_t d = 0; d < own.stream.size(); ++d)
      tokens[i][d] = out[i * room_ + static_cast<int64_t>(d)] + own.stream[d];
  }
}

void PackedJoint::answer(const VectorLoops& loops, const float* const* tokens, int64_t heard,
                         float* log_probabilities, Arena& arena) const {
  const int64_t rows = heard + 1;
  float* x = arena.take(rows * room_);
  std::copy(answer_.begin(), answer_.end(), x);
  for (int64_t m = 0; m < heard; ++m) std::copy_n(tokens[m], width(), x + (m + 1) * room_);
  for (size_t l = 0; l < layers_.size(); ++l)
    run(loops, layers_[l], x, rows, asked(l, rows), arena);
  float* n = arena.take(room_);
  float* logits = arena.take(head_.room());
  normalise(norm_, x, 1, n);
  head_.apply(loops, n, room_, 1, logits);
  for (int64_t k = 0; k < classes_; ++k) logits[k] /= temperature_;
  log_softmax(logits, classes_, log_probabilities);
}

void PackedJoint::run(const VectorLoops& loops, const Layer& layer, float* x, int64_t rows,
                      int64_t asked, Arena& arena) const {
  const int64_t hidden = layer.hidden.room();
  float* n = arena.take(rows * room_);
  float* query = arena.take(asked * room_);
  float* key_value = arena.take(rows * layer.key_value.room());
  float* mixed = arena.take(asked * room_);
  float* h = arena.take(asked * hidden);
  auto add = [&] {
    for (int64_t i = 0; i < asked * room_; ++i) x[i] += n[i];
  };
  normalise(layer.before, x, rows, n);
  layer.query.apply(loops, n, room_, asked, query);
  layer.key_value.apply(loops, n, room_, rows, key_value);
  attend(query, key_value, rows, asked, mixed, arena.take(rows));
  layer.mixed.apply(loops, mixed, room_, asked, n);
  add();
  normalise(layer.between, x, asked, n);
  layer.hidden.apply(loops, n, room_, asked, h);
  loops.gelu(h, asked * hidden);
  layer.output.apply(loops, h, hidden, asked, n);
  add();
}

void PackedJoint::normalise(const Norm& norm, const float* x, int64_t rows, float* out) const {
  const int64_t width = this->width();
  for (int64_t i = 0; i < rows; ++i, x += room_, out += room_) {
    float mean = 0;
    for (int64_t d = 0; d < width; ++d) mean += x[d];
    mean /= static_cast<float>(width);
    for (int64_t d = 0; d < width; ++d) out[d] = x[d] - mean;
    const float variance = sum_of_squares(out, width) / static_cast<float>(width);
    const float scale = 1 / std::sqrt(variance + kNormEpsilon);
    for (int64_t d = 0; d < width; ++d) {
      const auto at = static_cast<size_t>(d);
      out[d] = out[d] * scale * norm.weight[at] + norm.bias[at];
    }
  }
}

void PackedJoint::attend(const float* query, const float* key_value, int64_t rows, int64_t asked,
                         float* out, float* scores) const {
  const int64_t width = this->width(), head = width / kHeads;
  const int64_t stride = layers_.front().key_value.room();
  const float scale = 1 / std::sqrt(static_cast<float>(head));
  for (int64_t i = 0; i < asked; ++i) {
    for (int64_t begin = 0; begin < width; begin += head) {
      const float* own = query + i * room_ + begin;
      float* to = out + i * room_ + begin;
      for (int64_t s = 0; s < rows; ++s)
        scores[s] = scale * dot(own, key_value + s * stride + begin, head);
      softmax(scores, rows, scores);
      std::fill_n(to, head, 0.0F);
      for (int64_t s = 0; s < rows; ++s) {
        const float* value = key_value + s * stride + width + begin;
        for (int64_t d = 0; d < head; ++d) to[d] += scores[s] * value[d];
      }
    }
  }
}

int64_t PackedJoint::multiply_adds_of_token(size_t stream) const {
  return readers_[stream].hidden.multiply_adds() + readers_[stream].output.multiply_adds();
}

int64_t PackedJoint::multiply_adds(int64_t heard) const {
  const int64_t rows = heard + 1;
  int64_t out = head_.multiply_adds();
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    out += rows * layer.key_value.multiply_adds() +
           asked(l, rows) *
               (layer.query.multiply_adds() + layer.mixed.multiply_adds() +
                layer.hidden.multiply_adds() + layer.output.multiply_adds() + 2 * rows * width());
  }
  return out;
}

}  // namespace plait::runtime
