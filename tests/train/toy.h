#pragma once
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "plait/core/hash.h"
#include "plait/models/layers/layers.h"
#include "plait/train/metrics.h"
#include "plait/train/trainable.h"

namespace plait::train::toy {

inline at::Tensor randn(std::vector<int64_t> shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed));
}

/// A folder that is removed at the end of the test.
struct Folder {
  std::string path;
  explicit Folder(const std::string& name)
      : path((std::filesystem::temp_directory_path() /
              ("plait-" + name + "-" + std::to_string(::getpid())))
                 .string()) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

/// Two clusters per class plus noise, drawn per (epoch, item) as an augmentation would be.
class Points : public BatchSource {
 public:
  explicit Points(int64_t n, uint64_t seed = 1, double noise = 0.3) : noise_(noise) {
    x = randn({n, 8}, seed);
    y = x.matmul(randn({8, 3}, 99)).argmax(1);
  }
  int64_t size() const override { return x.size(0); }
  Batch batch(const std::vector<int64_t>& indices, uint64_t seed) override {
    at::Tensor rows = at::tensor(indices);
    at::Tensor features = x.index_select(0, rows);
    if (seed != kEvaluationSeed) {
      for (size_t i = 0; i < indices.size(); ++i)
        features[i].add_(randn({8}, mix_seed(seed, indices[i])), noise_);
    }
    Batch out;
    out.size = static_cast<int64_t>(indices.size());
    at::Tensor all = at::ones({out.size}, at::kBool);
    out.streams["a"] = {{{"x", features.narrow(1, 0, 4)}}, all, at::ones({out.size})};
    out.streams["b"] = {{{"x", features.narrow(1, 4, 4)}}, all, at::ones({out.size})};
    out.targets["class"] = y.index_select(0, rows);
    return out;
  }
  at::Tensor x, y;

 private:
  double noise_;
};

class Net : public models::Module {
 public:
  explicit Net(double dropout = 0.2) {
    one = add<models::Linear>("one", 8, 16);
    norm = add<models::LayerNorm>("norm", 16);
    drop = add<models::Dropout>("drop", dropout);
    two = add<models::Linear>("two", 16, 3);
  }
  at::Tensor forward(const Batch& batch) {
    std::vector<at::Tensor> parts;
    for (const auto& [name, s] : batch.streams)
      parts.push_back(s.inputs.at("x") * s.present.unsqueeze(1));
    return (*two)((*drop)(at::gelu((*norm)((*one)(at::cat(parts, 1))))));
  }
  std::shared_ptr<models::Linear> one, two;
  std::shared_ptr<models::LayerNorm> norm;
  std::shared_ptr<models::Dropout> drop;
};

class Classifier : public Trainable {
 public:
  explicit Classifier(double dropout = 0.2, uint64_t seed = 5) : net(dropout) {
    net.initialize(seed);
  }
  models::Module& module() override { return net; }
  LossOutput loss(const Batch& batch) override {
    ++calls;
    at::Tensor out =
        at::cross_entropy_loss(net.forward(batch).to(at::kFloat), batch.targets.at("class"));
    if (calls == poison_at) out = out * std::numeric_limits<double>::quiet_NaN();
    return {out, {{"weight/a", at::full({}, 0.25)}}};
  }
  Net net;
  int64_t calls = 0, poison_at = -1;
};

inline bool equal(const TensorMap& a, const TensorMap& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a) {
    auto it = b.find(name);
    if (it == b.end() || !at::equal(tensor, it->second)) return false;
  }
  return true;
}

inline TensorMap copy(const TensorMap& tensors) {
  TensorMap out;
  for (const auto& [name, tensor] : tensors) out[name] = tensor.clone();
  return out;
}

}  // namespace plait::train::toy
