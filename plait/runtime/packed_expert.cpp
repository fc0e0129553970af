#include "plait/runtime/packed_expert.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/runtime/trust_math.h"

namespace plait::runtime {
namespace {

// As in plait/models/trust: density.cpp, feature_scale.cpp and trust_fusion.cpp.
constexpr float kNear = 100;
constexpr float kFar = 1e4;
constexpr float kLeastLeft = 1e-4;
constexpr float kLeastDistance = 1;
constexpr float kMostUnusual = 3;

}  // namespace

PackedExpert::PackedExpert(const models::TrustFusion& fusion, const TensorMap& weights,
                           size_t stream, int64_t token)
    : name_(fusion.config().streams[stream]), classes_(fusion.config().classes) {
  const std::string prefix = "experts." + std::to_string(stream) + ".";
  auto at = [&](const std::string& name) {
    return get(weights, prefix + name, "trust").detach().to(at::kCPU, at::kFloat);
  };
  auto number = [&](const std::string& name) { return at(name).item<float>(); };
  mean_ = numbers(at("scale.mean"));
  deviation_ = numbers(at("scale.deviation"));
  if (fusion.config().hidden > 0) {
    hidden_ = PackedMatrix(at("hidden.weight").t());
    hidden_bias_ = numbers(at("hidden.bias"));
  }
  output_ = PackedMatrix(at("output.weight").t());
  output_bias_ = numbers(at("output.bias"));
  temperature_ = number("temperature");
  center_ = numbers(at("density.center"));
  components_ = PackedMatrix(at("density.components"));
  scale_ = numbers(at("density.scale"));
  whitening_ = PackedMatrix(at("density.whitening"));
  class_means_ = PackedMatrix(at::matmul(at("density.class_means"), at("density.whitening")).t());
  log_volume_ = number("density.log_volume");
  reference_ = numbers(at("density.reference"));
  median_ = std::max(reference_[reference_.size() / 2], 1e-6F);
  limit_ = number("density.limit");

  const auto own = static_cast<int64_t>(scale_.size());
  int64_t others = 0, before = 0;
  for (size_t m = 0; m < fusion.config().streams.size(); ++m) {
    const int64_t count = models::ClassDensity::coordinate_count(fusion.config().widths[m],
                                                                 fusion.config().components);
    if (m != stream) others += count;
    if (m < stream) before += count;
  }
  if (fusion.config().landmarks > 0) {
    gamma_ = number("radial.gamma");
    radial_temperature_ = number("radial_temperature");
    share_ = number("share");
    frequency_ = numbers(at("frequency"));
    // What it would tell of itself is not asked, and landmarks that were never set say nothing.
    auto told = [&](const at::Tensor& all) {
      return at::cat({all.narrow(-1, classes_, before),
                      all.narrow(-1, classes_ + before + own, others - before)},
                     -1);
    };
    at::Tensor weight = at("radial.weight"), mean = at("radial.mean");
    at::Tensor used = weight.ne(0).any(1).nonzero().squeeze(1);
    weight = weight.index_select(0, used);
    landmarks_ = PackedMatrix(at("radial.landmarks").index_select(0, used).t());
    radial_ = PackedMatrix(weight.narrow(1, 0, classes_));
    teller_ = PackedMatrix(told(weight));
    radial_mean_ = numbers(at::cat({mean.narrow(0, 0, classes_), told(mean)}));
  }
  layout_.coordinates = layout_.log_probabilities + classes_;
  layout_.told = layout_.coordinates + own;
  layout_.alone = layout_.told + others;
  layout_.p_value = layout_.alone + 1;
  layout_.unusual = layout_.p_value + 1;
  layout_.excess = layout_.unusual + 1;
  layout_.token = layout_.excess + 1;
  layout_.size = layout_.token + token;
}

int64_t PackedExpert::multiply_adds() const {
  int64_t out = 0;
  for (const PackedMatrix* m : {&hidden_, &output_, &landmarks_, &radial_, &teller_, &components_,
                                &whitening_, &class_means_})
    out += m->multiply_adds();
  return out;
}

const float* PackedExpert::look(const VectorLoops& loops, const float* const* x, int64_t items,
                                float* const* records, Arena& arena) const {
  const int64_t width = this->width(), stride = output_.room();
  float* near = arena.take(items * width);
  float* far = arena.take(items * width);
  for (int64_t i = 0; i < items; ++i) standardise(x[i], near + i * width, far + i * width);
  look_at_density(loops, far, items, records, arena);
  float* logits = arena.take(items * stride);
  ask_network(loops, near, items, logits, stride, arena);
  ask_radial(loops, near, items, logits, stride, records, arena);
  for (int64_t i = 0; i < items; ++i) {
    float* own = logits + i * stride;
    for (int64_t k = 0; k < classes_; ++k) own[k] /= temperature_;
    log_softmax(own, classes_, records[i] + layout_.log_probabilities);
  }
  return near;
}

void PackedExpert::standardise(const float* x, float* near, float* far) const {
  const int64_t width = this->width();
  bool numbers = true;
  for (int64_t d = 0; d < width; ++d) {
    const auto at = static_cast<size_t>(d);
    const float value = (x[d] - mean_[at]) / deviation_[at];
    numbers &= std::abs(x[d]) <= std::numeric_limits<float>::max();
    near[d] = std::min(std::max(value, -kNear), kNear);
    far[d] = std::min(std::max(value, -kFar), kFar) - center_[at];
  }
  if (!numbers) {
    fail(ErrorCode::kInvalidArgument, "trust",
         "expected finite features of \"" + name_ + "\", got NaN or infinity");
  }
}

void PackedExpert::look_at_density(const VectorLoops& loops, const float* far, int64_t items,
                                   float* const* records, Arena& arena) const {
  const int64_t width = this->width(), inside = components_.columns(),
                own = static_cast<int64_t>(scale_.size());
  const int64_t room = components_.room(), white_room = whitening_.room(),
                class_room = class_means_.room();
  float* z = arena.take(items * room);
  float* white = arena.take(items * white_room);
  float* squares = arena.take(items * class_room);
  loops.multiply(components_.panels(), far, width, items, z, room);
  for (int64_t i = 0; i < items; ++i) {
    float* to = records[i] + layout_.coordinates;
    const float all = sum_of_squares(far + i * width, width),
                kept = sum_of_squares(z + i * room, inside);
    const float left = std::max(std::max(all - kept, kLeastLeft * all), 0.0F);
    for (int64_t c = 0; c < inside; ++c) to[c] = z[i * room + c] / scale_[static_cast<size_t>(c)];
    to[inside] = std::sqrt(std::sqrt(left)) / scale_[static_cast<size_t>(inside)];
    loops.multiply(whitening_.panels(), to, own, 1, white + i * white_room, white_room);
  }
  loops.squared_distances(class_means_.panels(), white, white_room, items, squares, class_room);
  for (int64_t i = 0; i < items; ++i) {
    float* to = records[i];
    const float* own_squares = squares + i * class_room;
    const float nearest = *std::min_element(own_squares, own_squares + classes_);
    float sum = 0;
    for (int64_t k = 0; k < classes_; ++k) sum += std::exp(-0.5F * (own_squares[k] - nearest));
    to[layout_.alone] = std::log(sum) - 0.5F * nearest - log_volume_;
    const float distance = std::max(std::sqrt(nearest), kLeastDistance);
    const auto count = static_cast<float>(reference_.size());
    const auto below = static_cast<float>(
        std::lower_bound(reference_.begin(), reference_.end(), distance) - reference_.begin());
    to[layout_.p_value] = (count - below + 1) / (count + 1);
    to[layout_.unusual] =
        std::min(std::max(std::log(distance / median_), -kMostUnusual), kMostUnusual);
    to[layout_.excess] = std::max(std::log(distance / limit_), 0.0F);
  }
}

void PackedExpert::ask_network(const VectorLoops& loops, const float* near, int64_t items,
                               float* logits, int64_t stride, Arena& arena) const {
  const float* in = near;
  int64_t in_stride = width();
  if (hidden_.inputs() > 0) {
    in_stride = hidden_.room();
    float* h = arena.take(items * in_stride);
    loops.multiply(hidden_.panels(), near, width(), items, h, in_stride);
    for (int64_t i = 0; i < items; ++i) {
      for (size_t j = 0; j < hidden_bias_.size(); ++j)
        h[i * in_stride + static_cast<int64_t>(j)] += hidden_bias_[j];
    }
    loops.gelu(h, items * in_stride);
    in = h;
  }
  loops.multiply(output_.panels(), in, in_stride, items, logits, stride);
  for (int64_t i = 0; i < items; ++i) {
    for (int64_t k = 0; k < classes_; ++k)
      logits[i * stride + k] += output_bias_[static_cast<size_t>(k)];
  }
}

/// Mixes the regression's logits into the network's.
void PackedExpert::ask_radial(const VectorLoops& loops, const float* near, int64_t items,
                              float* logits, int64_t stride, float* const* records,
                              Arena& arena) const {
  const int64_t others = layout_.alone - layout_.told;
  if (landmarks_.inputs() == 0) {
    for (int64_t i = 0; i < items; ++i) std::fill_n(records[i] + layout_.told, others, 0.0F);
    return;
  }
  // Weights of hundreds all but cancel out: a kernel's seventh digit is a logarithm's fourth.
  const int64_t count = landmarks_.room(), room = radial_.room(), told_room = teller_.room();
  double* kernel = arena.take_doubles(items * count);
  double* said = arena.take_doubles(items * room);
  float* rounded = arena.take(items * count);
  float* told = arena.take(items * told_room);
  loops.kernels(landmarks_.panels(), near, width(), items, gamma_, kernel, rounded, count);
  loops.multiply_doubles(radial_.panels(), kernel, count, items, said, room);
  loops.multiply(teller_.panels(), rounded, count, items, told, told_room);
  for (int64_t i = 0; i < items; ++i) {
    for (int64_t k = 0; k < classes_; ++k) {
      const auto at = static_cast<size_t>(k);
      const double beyond =
          (said[i * room + k] + radial_mean_[at] - frequency_[at]) / radial_temperature_;
      const float radial = std::log(frequency_[at]) + static_cast<float>(beyond);
      float& logit = logits[i * stride + k];
      logit = share_ < 0.5F ? radial + share_ * (logit - radial)
                            : logit - (logit - radial) * (1 - share_);
    }
    for (int64_t c = 0; c < others; ++c)
      records[i][layout_.told + c] =
          told[i * told_room + c] + radial_mean_[static_cast<size_t>(classes_ + c)];
  }
}

}  // namespace plait::runtime
