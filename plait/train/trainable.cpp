#include "plait/train/trainable.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "plait/core/error.h"

namespace plait::train {

TensorMap BatchSource::presence() {
  constexpr int64_t kRows = 64;
  TensorMap out;
  for (int64_t start = 0; start < size(); start += kRows) {
    std::vector<int64_t> indices(static_cast<size_t>(std::min(kRows, size() - start)));
    std::iota(indices.begin(), indices.end(), start);
    for (const auto& [name, stream] : batch(indices, kEvaluationSeed).streams) {
      auto [known, fresh] = out.try_emplace(name);
      if (fresh) known->second = at::zeros({size()}, at::kBool);
      known->second.narrow(0, start, static_cast<int64_t>(indices.size())).copy_(stream.present);
    }
  }
  return out;
}

Scalars Trainable::evaluate(BatchSource& source, int64_t batch_size) {
  int64_t n = source.size();
  require(n > 0, "train", "expected at least one item to evaluate");
  auto parameters = module().parameters();
  at::Device device = parameters.empty() ? at::Device(at::kCPU) : parameters.front().device();
  double sum = 0;
  for (int64_t start = 0; start < n; start += batch_size) {
    std::vector<int64_t> indices(std::min(batch_size, n - start));
    std::iota(indices.begin(), indices.end(), start);
    Batch batch = to(source.batch(indices, kEvaluationSeed), device);
    sum += loss(batch).loss.item<double>() * static_cast<double>(indices.size());
  }
  return {{"loss", sum / static_cast<double>(n)}};
}

Batch to(const Batch& batch, at::Device device) {
  Batch out = batch;
  auto move = [&](at::Tensor& t) {
    if (t.defined() && t.device() != device) t = t.to(device);
  };
  for (auto& [name, stream] : out.streams) {
    for (auto& [key, tensor] : stream.inputs) move(tensor);
    // The masks stay where the source made them: models read them on the host.
  }
  for (auto& [name, tensor] : out.targets) move(tensor);
  return out;
}

}  // namespace plait::train
