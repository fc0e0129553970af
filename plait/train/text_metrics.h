#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// Figures of written texts.
namespace plait::train {

/// A text's words: split at blanks, lower case, without punctuation at their ends; letters of
/// Chinese one by one.
std::vector<std::string> caption_words(const std::string& text);

/// CIDEr-D of each candidate (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726): how alike its
/// runs of one to four words are to the references', those that occur in few items' references
/// counting most; 10 is the most. `references[i]` are the texts of item i, in words.
/// @throws Error kInvalidArgument for no items, or one without references.
std::vector<double> cider(const std::vector<std::vector<std::string>>& candidates,
                          const std::vector<std::vector<std::vector<std::string>>>& references);

/// The difference of two systems' means over the same items, with the interval of its bootstrap
/// distribution (items drawn again, both systems together) and the share of draws in which the
/// first is not better (one-sided p).
struct PairedDifference {
  double difference = 0, low = 0, high = 0, p = 1;  ///< 95 % interval
};
/// @throws Error kInvalidArgument for lists of different or no length.
PairedDifference paired_bootstrap(const std::vector<double>& first,
                                  const std::vector<double>& second, uint64_t seed,
                                  int64_t draws = 10000);

}  // namespace plait::train
