#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "plait/core/sample.h"

/// Damage of one stream's value, seeded, with a strength from 0 (the value unchanged) to 1 (hardly
/// usable): for training that must survive bad inputs, and for measuring that quality falls and
/// answers hold.
namespace plait::data {

/// The kinds for a modality, e.g. {"typos", "shuffle", "blank"} for text; empty for a modality
/// without any.
///   text:   typos (letters swapped, dropped, doubled, replaced), shuffle (words change places),
///   blank (words removed) image:  gaussian_blur, gaussian_noise, salt_and_pepper, occlusion (a
///   grey rectangle), exposure (too dark or too
///           bright), jpeg (where an encoder is built in)
///   audio:  white_noise, pink_noise, babble_noise (30 dB SNR down to −10 dB), clipping, reverb,
///   dropouts (moments of
///           zeros), silence (quieter and quieter)
///   series: dropout (values become NaN), stuck (values repeat), spikes, drift, noise, clock_skew
///   (stretched or pressed in time by up to half)
///   table:  dropout (fields become NaN or null), noise (in units of the spread of the row's own
///   numbers)
std::vector<std::string> damage_kinds(Modality modality);

/// A damaged copy. Takes decoded values: text; image uint8 [H, W, 3]; audio Waveform; series tensor
/// [T, C] (or [T]); table row as JSON object or tensor [D]. The same seed gives the same damage,
/// and a higher severity with that seed damages the same places more.
/// @throws Error kInvalidArgument for an unknown kind (the message lists them), a severity outside
/// [0, 1] or a value of another type.
Value damage(const Value& value, Modality modality, const std::string& kind, double severity,
             uint64_t seed);

}  // namespace plait::data
