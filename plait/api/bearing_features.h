#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "plait/data/simulate/bearing.h"

/// Compact features of the bearing's three streams, for studies that need no encoder of their own.
namespace plait::api {

/// Vibrations [N, T] in g (NaN where a value is missing; a run of 32 equal values or more counts as
/// missing, for a sensor that has stopped measures nothing) → [N, 64]: level, shape, energy by
/// frequency, and how far the fault frequencies of `geometry` and their sidebands stand out of the
/// spectrum of the squared envelope above 1 kHz. The shaft's speed is read from its own harmonics.
at::Tensor vibration_features(const at::Tensor& vibrations, double rate_hz,
                              const data::BearingGeometry& geometry);

/// A picture uint8 [H, W, 3] → [192]: mean grey of 12 × 16 fields over that of the air.
at::Tensor thermal_features(const at::Tensor& picture);

/// A text → [256]: hashed words and letter triples, of length 1 (0 for an empty one).
at::Tensor note_features(const std::string& text);

}  // namespace plait::api
