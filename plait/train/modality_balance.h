#pragma once
#include <functional>
#include <map>
#include <string>

#include "plait/core/sample.h"

namespace plait::train {

/// Balanced sampling between modalities: with which probability each stream of an item is to be
/// hidden (by drop_modalities, staying by the ratio) so that the numbers of times that the streams
/// are shown stand in the ratio `ratio`, as often as that allows. A stream that fewer items have is
/// hidden less; no stream is hidden less than `least` says (modality dropout), and an item never
/// loses all of its streams, which is reckoned with. A stream without a ratio has 1. Where the
/// ratio cannot be reached (items with one stream alone have to show it) it comes near. `presence`
/// by stream: [N] bool.
/// @throws Error kInvalidArgument for a ratio of an unknown stream, or one that is not above 0.
std::map<std::string, double> balancing_dropout(
    const TensorMap& presence, const std::map<std::string, double>& ratio,
    const std::function<double(const std::string&)>& least);

}  // namespace plait::train
