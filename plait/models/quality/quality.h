#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <string_view>

#include "plait/core/sample.h"

/// How much an input can be trusted, judged from itself alone (no reference, no model): a score in
/// [0, 1], 1 = clean, that falls with noise, blur, clipping, dropout, lost or shuffled words. All
/// functions are pure and thread-safe; values that cannot be judged (empty, all NaN) score 0.
namespace plait::models {

/// Raised whenever scores change: part of the key of features that are kept with their quality.
inline constexpr int64_t kQualityVersion = 4;

struct Quality {
  double score = 0;                     ///< In [0, 1].
  std::map<std::string, double> parts;  ///< What the score is made of, each in [0, 1], 1 = good.
  /// In units that people use: "snr_db" of sound, its mean power against the floor of every band.
  std::map<std::string, double> measures = {};
};

/// English and Chinese text (mixed as well). Parts: order (1 - share of words that seem moved or
/// without their neighbours; how plausible neighbouring characters are), words (known or plausibly
/// spelt), completeness (sentence form), complexity (length and variety). Of texts in other
/// languages only completeness and complexity are judged when they use another script; in Latin
/// script they read as misspelt English. Figures hold for 12 words or more; of fewer there is
/// little to judge. The first 20,000 bytes are read.
Quality text_quality(std::string_view text);

/// uint8 [H, W, 3] (or [H, W]) or float [3, H, W] in [0, 1]. Parts: sharpness (slope of the
/// steepest edges against their height), noise (Immerkær's estimate in the calmest blocks),
/// exposure (light lost at either end, range of tones), entropy (of the grey values), compression
/// (steps at the borders of 8 × 8 blocks; seen only at the picture's own size), occlusion (a flat
/// rectangle in front; other things in front are not noticed). Pictures are judged at a shorter
/// side of at most 320 pixels.
Quality image_quality(const at::Tensor& image);

/// Speech, float [N] or [C, N] in [-1, 1], of which the first two minutes are read. Parts: noise
/// (sound against the floor of every frequency band, the amplitudes' distribution, and whether the
/// floor sounds like the voice, as babble does), reverberation (how steeply sounds end), clipping
/// (samples stuck at the extremes), dropout (moments of exact zeros inside sound, and NaN), level
/// (loud enough), silence (share of time with sound), bandwidth (up to where sound rises over the
/// floor). Sound that neither pauses nor stops, such as much music, reads as noisy.
Quality audio_quality(const at::Tensor& samples, int64_t sample_rate);

/// [T, C] or [T] with NaN (or infinity) for missing values. Channels are judged one by one; the
/// score and the parts lie halfway between the channels' mean and the worst channel, so that one
/// dead channel shows. Parts: dropout (missing values), stuck (long runs of one value in a signal
/// that otherwise moves), spikes (lone values far from their neighbours' median), drift (rise of a
/// line through the series against the spread around it), noise (what fourth differences leave,
/// against the spread). A channel's score is their product; it depends on neither unit nor offset.
/// Made for a sensor that moves and is sampled several times faster than it moves, in windows of
/// about 100 values or more: a still sensor has no signal to hold noise against, one that is
/// sampled too slowly looks like noise, a movement that ends in another place looks like drift, and
/// of fewer than 16 values only dropout and stuck are judged. For such streams compare scores with
/// the stream's own past.
Quality series_quality(const at::Tensor& values);

/// One call for every stream: decoded values (text; image tensor; Waveform, or a tensor at 16 kHz;
/// series tensor; a table row by its share of present fields; a video, decoded or not, by the mean
/// of image_quality over four frames). @throws Error kInvalidArgument for
/// another type or a modality without a measure.
Quality assess(const Value& value, Modality modality);

}  // namespace plait::models
