#include "plait/core/feature_store.h"

#include <ATen/ATen.h>

#include "plait/core/hash.h"

namespace plait {
namespace {

void add(ContentHash& hash, const at::Tensor& tensor) {
  at::Tensor plain = tensor.detach().to(at::kCPU).contiguous();
  hash.update(c10::toString(plain.scalar_type()));
  hash.update({reinterpret_cast<const char*>(plain.sizes().data()),
               plain.sizes().size() * sizeof(int64_t)});
  hash.update(plain.data_ptr(), plain.nbytes());
}

}  // namespace

std::string encoder_fingerprint(const std::string& config, const TensorMap& weights) {
  ContentHash hash;
  hash.update(config);
  for (const auto& [name, tensor] : weights) {
    hash.update(name);
    add(hash, tensor);
  }
  return hash.digest();
}

std::string feature_key(std::string_view content, const std::string& fingerprint) {
  return ContentHash().update(fingerprint).update(content).digest();
}

std::string feature_key(const at::Tensor& content, const std::string& fingerprint) {
  ContentHash hash;
  hash.update(fingerprint);
  add(hash, content);
  return hash.digest();
}

}  // namespace plait
