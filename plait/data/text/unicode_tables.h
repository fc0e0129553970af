#pragma once
#include <cstddef>
#include <cstdint>

namespace plait::data {

/// Character classes as runs: alternating gap since the end of the run before, and length.
/// kLowercase holds (first, count, step, delta) of the code points that map to one other. Made by
/// tools/unicode_tables.py.
struct UnicodeTables {
  static const uint32_t kControl[], kSpace[], kPunctuation[], kNonspacingMark[], kCombiningMark[],
      kNumeric[], kLetter[], kNumber[], kWord[];
  static const size_t kControlSize, kSpaceSize, kPunctuationSize, kNonspacingMarkSize,
      kCombiningMarkSize, kNumericSize, kLetterSize, kNumberSize, kWordSize;
  static const int32_t kLowercase[];
  static const size_t kLowercaseSize;
};

}  // namespace plait::data
