#include "plait/core/sample.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait {
namespace {
constexpr const char* kModalityNames[] = {"text",   "image", "audio",  "video",
                                          "series", "table", "volume", "graph"};
}

std::string to_string(Modality modality) { return kModalityNames[static_cast<int>(modality)]; }

Modality modality_from_string(const std::string& name) {
  if (name == "numeric") return Modality::kTable;
  if (name == "sensor") return Modality::kSeries;
  std::string known;
  for (int i = 0; i < 8; ++i) {
    if (name == kModalityNames[i]) return static_cast<Modality>(i);
    known += std::string(i ? ", " : "") + kModalityNames[i];
  }
  fail(ErrorCode::kInvalidArgument, "sample",
       "expected a modality (" + known + "), got \"" + name + "\"");
}

at::Tensor Batch::presence(const std::vector<std::string>& names) const {
  at::Tensor out = at::zeros({size, static_cast<int64_t>(names.size())}, at::kBool);
  for (size_t m = 0; m < names.size(); ++m) {
    auto it = streams.find(names[m]);
    if (it != streams.end()) out.select(1, static_cast<int64_t>(m)).copy_(it->second.present);
  }
  return out;
}

}  // namespace plait
