#include "plait/train/modality_dropout.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace plait::train {

void drop_modalities(Batch& batch, const std::vector<int64_t>& indices, uint64_t seed,
                     const std::function<double(const std::string&)>& of,
                     const std::function<double(const std::string&)>& staying) {
  struct Column {
    StreamBatch* stream;
    bool* present;
    float* quality;
    double probability, staying;
    uint64_t salt;
  };
  require(static_cast<int64_t>(indices.size()) == batch.size, "train",
          "expected one index per row of the batch");
  std::vector<Column> columns;
  for (auto& [name, stream] : batch.streams) {
    stream.present = stream.present.to(at::kCPU).clone();
    if (stream.quality.defined()) stream.quality = stream.quality.to(at::kCPU, at::kFloat).clone();
    uint64_t salt = 0;
    for (unsigned char c : name) salt = mix_seed(salt, c);
    columns.push_back({&stream, stream.present.data_ptr<bool>(),
                       stream.quality.defined() ? stream.quality.data_ptr<float>() : nullptr,
                       of(name), staying ? staying(name) : 1, salt});
  }
  for (int64_t row = 0; row < batch.size; ++row) {
    uint64_t item = mix_seed(seed, static_cast<uint64_t>(indices[row]));
    std::vector<Column*> here, dropped;
    for (Column& c : columns) {
      if (!c.present[row]) continue;
      here.push_back(&c);
      if (unit_interval(mix_seed(item, c.salt)) < c.probability) dropped.push_back(&c);
    }
    if (dropped.empty()) continue;
    const Column* kept = nullptr;
    if (dropped.size() == here.size()) {
      kept = here[mix_seed(item, 0, 1) % here.size()];
      if (staying) {
        double sum = 0, drawn = unit_interval(mix_seed(item, 0, 1));
        for (const Column* c : here) sum += c->staying;
        kept = here.back();
        for (const Column* c : here) {
          if ((drawn -= c->staying / sum) >= 0) continue;
          kept = c;
          break;
        }
      }
    }
    for (Column* c : dropped) {
      if (c == kept) continue;
      c->present[row] = false;
      if (c->quality) c->quality[row] = 0;
    }
  }
}

}  // namespace plait::train
