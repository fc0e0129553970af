#pragma once
#include <cstdint>

#include "plait/api/fusion_study.h"

/// The data sets of the fusion studies, each split by the seed, damaged and encoded for all methods
/// alike. The first call fetches and prepares the data set (network, minutes), later ones take
/// seconds. Deterministic in the seed; safe to call from one thread at a time.
/// @throws Error as data::load_dataset does.
namespace plait::api {

/// UCI's handwritten digits in six views (real), standardised; damaged in feature space.
StudyData handwritten_study(uint64_t seed, const StudyProgress& progress = {});
/// Handwritten digits (real) with the digit spoken, mostly by synthetic voices.
StudyData audio_visual_digits_study(uint64_t seed, const StudyProgress& progress = {});
/// A watch's accelerometer and gyroscope (real), four activities, 80 recordings.
StudyData basic_motions_study(uint64_t seed, const StudyProgress& progress = {});
/// A phone's accelerometer and gyroscope (real); training and test by different people.
StudyData har_study(uint64_t seed, const StudyProgress& progress = {});
/// Tux Paint's stamps: picture, caption and French speech, by frozen published encoders.
StudyData stamps_study(uint64_t seed, const StudyProgress& progress = {});
/// The same with at most `items` of each class on either side of the split; 0: all.
StudyData stamps_subset_study(int64_t items, uint64_t seed, const StudyProgress& progress = {});
/// Vibration, thermal picture and log of a bearing (synthetic: simulated); "shifted_machine" shows
/// another machine with the same bearing, where nothing is damaged.
StudyData bearing_study(uint64_t seed, const StudyProgress& progress = {});

}  // namespace plait::api
