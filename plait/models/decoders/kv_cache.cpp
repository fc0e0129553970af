#include "plait/models/decoders/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/core/error.h"

namespace plait::models {

KvCache::KvCache(const Shape& shape, const at::TensorOptions& options)
    : batch_(shape.batch),
      keys_(static_cast<size_t>(shape.layers)),
      values_(static_cast<size_t>(shape.layers)),
      cross_(static_cast<size_t>(shape.layers)) {
  const int64_t room = std::max<int64_t>(shape.capacity, 1);
  for (size_t i = 0; i < keys_.size(); ++i) {
    keys_[i] = at::empty({batch_, shape.heads, room, shape.width}, options);
    values_[i] = at::empty_like(keys_[i]);
  }
}

void KvCache::reserve(size_t layer, int64_t tokens) {
  const int64_t room = keys_[layer].size(2);
  if (tokens <= room) return;
  for (at::Tensor* held : {&keys_[layer], &values_[layer]}) {
    std::vector<int64_t> sizes = held->sizes().vec();
    sizes[2] = std::max(tokens, 2 * room);
    at::Tensor wider = at::empty(sizes, held->options());
    wider.narrow(2, 0, length_).copy_(held->narrow(2, 0, length_));
    *held = wider;
  }
}

std::pair<at::Tensor, at::Tensor> KvCache::append(int64_t layer, const at::Tensor& k,
                                                  const at::Tensor& v) {
  const auto i = static_cast<size_t>(layer);
  require(k.size(0) == batch_, "kv_cache", "expected as many rows as the cache holds");
  const int64_t tokens = k.size(2);
  reserve(i, length_ + tokens);
  keys_[i].narrow(2, length_, tokens).copy_(k);
  values_[i].narrow(2, length_, tokens).copy_(v);
  return {keys_[i].narrow(2, 0, length_ + tokens), values_[i].narrow(2, 0, length_ + tokens)};
}

void KvCache::advance(int64_t tokens, const at::Tensor& mask) {
  if (mask.defined() || mask_.defined()) {
    const auto options = keys_.front().options().dtype(at::kBool);
    at::Tensor before = mask_.defined() ? mask_ : at::ones({batch_, length_}, options);
    at::Tensor now = mask.defined() ? mask.to(at::kBool) : at::ones({batch_, tokens}, options);
    mask_ = at::cat({before, now}, 1);
  }
  length_ += tokens;
}

at::Tensor KvCache::mask() const { return mask_; }

void KvCache::select(const at::Tensor& rows) {
  for (std::vector<at::Tensor>* held : {&keys_, &values_}) {
    for (at::Tensor& tensor : *held) {
      std::vector<int64_t> sizes = tensor.sizes().vec();
      sizes[0] = rows.size(0);
      at::Tensor chosen = at::empty(sizes, tensor.options());
      chosen.narrow(2, 0, length_).copy_(tensor.narrow(2, 0, length_).index_select(0, rows));
      tensor = chosen;
    }
  }
  for (auto& [k, v] : cross_) {
    if (!k.defined()) continue;
    k = k.index_select(0, rows);
    v = v.index_select(0, rows);
  }
  if (mask_.defined()) mask_ = mask_.index_select(0, rows);
  batch_ = rows.size(0);
}

void KvCache::truncate(int64_t length) {
  require(length >= 0 && length <= length_, "kv_cache", "expected a length of what is held");
  length_ = length;
  if (mask_.defined()) mask_ = mask_.narrow(1, 0, length);
}

}  // namespace plait::models
