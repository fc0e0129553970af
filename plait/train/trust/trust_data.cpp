#include "plait/train/trust/trust_data.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::train {

int64_t TrustData::size() const { return present.defined() ? present.size(0) : 0; }

std::vector<int64_t> TrustData::widths() const {
  std::vector<int64_t> out;
  for (const auto& variants : features) out.push_back(variants.at(0).size(1));
  return out;
}

std::vector<at::Tensor> TrustData::clean() const {
  std::vector<at::Tensor> out;
  for (const auto& variants : features) out.push_back(variants.at(0));
  return out;
}

void check(const TrustData& data, int64_t classes, const std::string& what) {
  const auto streams = static_cast<int64_t>(data.features.size());
  auto expect = [&](bool ok, const char* message) {
    if (!ok) fail(ErrorCode::kInvalidArgument, "trust", what + ": " + message);
  };
  expect(streams > 0 && data.present.defined() && data.present.dim() == 2 &&
             data.present.size(1) == streams && data.present.scalar_type() == at::kBool,
         "expected features and bool presence [N, M] of every stream");
  expect(data.size() > 0 && data.target.defined() &&
             (data.target.dim() == 1 || (data.target.dim() == 2 && data.target.size(1) > 1)) &&
             data.target.size(0) == data.size() && data.target.scalar_type() == at::kLong &&
             data.target.min().item<int64_t>() >= 0 && data.target.max().item<int64_t>() < classes,
         "expected an int64 class for every item");
  expect(!data.group.defined() || (data.group.dim() == 1 && data.group.size(0) == data.size() &&
                                   data.group.scalar_type() == at::kLong),
         "expected an int64 group for every item, or none");
  for (int64_t m = 0; m < streams; ++m) {
    const auto& variants = data.features[static_cast<size_t>(m)];
    expect(!variants.empty(), "expected features of every stream");
    at::Tensor absent = data.present.select(1, m).logical_not().unsqueeze(1);
    for (const at::Tensor& x : variants) {
      expect(x.defined() && x.dim() == 2 && x.size(0) == data.size() &&
                 x.size(1) == variants[0].size(1) && x.size(1) > 0,
             "expected features [N, D]");
      expect(at::logical_or(x.isfinite(), absent).all().item<bool>(),
             "expected finite features where a stream is present");
    }
  }
}

at::Tensor draw_copies(const std::vector<at::Tensor>& variants, at::Generator& generator) {
  const at::Tensor& clean = variants[0];
  if (variants.size() == 1) return clean;
  at::Tensor draw = at::rand({clean.size(0), 1, 1}, generator);
  at::Tensor which = ((draw - 0.5).clamp_min(0) * 2 * static_cast<double>(variants.size() - 1))
                         .ceil()
                         .to(at::kLong);
  return at::stack(variants, 1)
      .gather(1, which.expand({clean.size(0), 1, clean.size(1)}))
      .squeeze(1);
}

at::Tensor hide_streams(const at::Tensor& present, double probability, at::Generator& generator) {
  at::Tensor kept = at::logical_and(present, at::rand(present.sizes(), generator) >= probability);
  return at::where(kept.any(1, /*keepdim=*/true), kept, present);
}

}  // namespace plait::train
