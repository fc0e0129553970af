#include "plait/train/modality_balance.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "plait/core/error.h"

namespace plait::train {
namespace {

constexpr int kRounds = 200;

struct Stream {
  std::string name;
  double ratio = 1, most = 1, keep = 1;  ///< `keep`: probability of not being hidden by itself
};

/// How often each stream is shown in a pass over the items; subsets of the streams are bits.
std::vector<double> expected_shows(const std::vector<Stream>& streams,
                                   const std::map<uint64_t, double>& subsets) {
  std::vector<double> out(streams.size(), 0);
  for (const auto& [subset, items] : subsets) {
    double all_hidden = 1, ratios = 0;
    for (size_t m = 0; m < streams.size(); ++m) {
      if (!(subset >> m & 1)) continue;
      all_hidden *= 1 - streams[m].keep;
      ratios += streams[m].ratio;
    }
    // When all would be hidden one of them, drawn by the ratio, stays.
    for (size_t m = 0; m < streams.size(); ++m) {
      if (subset >> m & 1)
        out[m] += items * (streams[m].keep + all_hidden * streams[m].ratio / ratios);
    }
  }
  return out;
}

}  // namespace

std::map<std::string, double> balancing_dropout(
    const TensorMap& presence, const std::map<std::string, double>& ratio,
    const std::function<double(const std::string&)>& least) {
  std::vector<Stream> streams;
  std::map<uint64_t, double> subsets;
  at::Tensor bits;
  for (const auto& [name, present] : presence) {
    at::Tensor own = present.to(at::kCPU, at::kLong);
    bits = bits.defined() ? bits + own * (int64_t{1} << streams.size()) : own;
    auto given = ratio.find(name);
    streams.push_back({name, given == ratio.end() ? 1.0 : given->second, 1 - least(name), 0});
    streams.back().keep = streams.back().most;
    if (streams.back().ratio > 0 && std::isfinite(streams.back().ratio)) continue;
    fail(ErrorCode::kInvalidArgument, "train",
         "modality_ratio." + name + ": expected a number above 0");
  }
  require(!streams.empty() && streams.size() < 63, "train", "expected 1 to 62 streams");
  for (const auto& [name, value] : ratio) {
    if (presence.count(name)) continue;
    std::string known;
    for (const Stream& s : streams) known += (known.empty() ? "" : ", ") + s.name;
    fail(ErrorCode::kInvalidArgument, "train",
         "modality_ratio: expected a stream of the items (" + known + "), got \"" + name + "\"");
  }
  const auto* rows = bits.data_ptr<int64_t>();
  for (int64_t i = 0; i < bits.numel(); ++i) ++subsets[static_cast<uint64_t>(rows[i])];
  subsets.erase(0);
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<double> shows = expected_shows(streams, subsets);
    // What all can reach: as often as the scarcest of those that are shown as often as they may be.
    double reach = std::numeric_limits<double>::infinity(), any = 0;
    for (size_t m = 0; m < streams.size(); ++m) {
      const double level = shows[m] / streams[m].ratio;
      if (level <= 0) continue;
      any = std::max(any, level);
      if (streams[m].keep >= streams[m].most) reach = std::min(reach, level);
    }
    if (!std::isfinite(reach)) reach = any * 1.05;
    for (size_t m = 0; m < streams.size(); ++m) {
      if (shows[m] <= 0) continue;
      streams[m].keep =
          std::min(streams[m].most, streams[m].keep * reach * streams[m].ratio / shows[m]);
    }
  }
  std::map<std::string, double> out;
  for (const Stream& s : streams) out[s.name] = 1 - s.keep;
  return out;
}

}  // namespace plait::train
