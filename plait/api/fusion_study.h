#pragma once
#include <functional>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/train/trust/trust_data.h"

/// Studies of fusion under damage: what every data set gives, whatever it is made of.
namespace plait::api {

/// One way in which the held-out items are presented.
struct StudyCondition {
  std::string name;       ///< "clean", "noise_10", "image/blur" ...
  train::TrustData test;  ///< One variant per stream
  at::Tensor hit;         ///< [N, M] bool: what an oracle knows to be damaged
  /// The kind of damage is one that training has seen (in the damaged copies of the training items,
  /// or in the damage bank); others are reported apart.
  bool seen = true;
};

/// One data set, split for one seed; the same for every method.
struct StudyData {
  std::string dataset, licence;
  std::string note;  ///< What is real and what is synthetic
  int64_t classes = 0;
  std::vector<std::string> streams;
  train::TrustData train;  ///< Variant 0 clean, further ones encoded from damaged inputs
  std::vector<StudyCondition> conditions;  ///< The first one is "clean"
};

using StudyProgress = std::function<void(const std::string& stage, double share)>;

}  // namespace plait::api
