#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace plait::data {

/// What a recording of sensors is like, for classifiers of a few hundred items: per channel, and
/// for the length of the vector of all channels when there are several, the mean, logarithms of the
/// deviation and of the mean step, the distances of the 10th, 50th and 90th percentile from the
/// mean in deviations, how often it crosses its mean, the autocorrelation after 1, 2, 4, 8 and 16
/// steps, and the shares of power in ten bands of the spectrum, equally wide on a logarithmic scale
/// (logarithms); last the correlation of every pair of channels. Missing values (NaN, infinity) are
/// replaced by a line between their neighbours; a channel without any value reads as zeros. Always
/// finite.
/// @param series [T, C] or [T], T > 0. @return [series_feature_count(C)] float32. @throws Error
/// kInvalidArgument.
at::Tensor series_features(const at::Tensor& series);
int64_t series_feature_count(int64_t channels);

}  // namespace plait::data
