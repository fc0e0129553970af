#pragma once
#include <cstdint>
#include <memory>
#include <vector>

/// What audio_quality does with every sample, in plain loops. All are thread-safe.
namespace plait::models {

struct Level {
  double power = 0;    ///< Sum of squares.
  float peak = 0;      ///< Largest magnitude.
  bool finite = true;  ///< Otherwise the rest is meaningless.
};
Level level_of(const float* x, int64_t n);

/// The first i ≥ from with x[i] = 0, or n.
int64_t find_zero(const float* x, int64_t from, int64_t n);

/// How many samples are at least `high` in magnitude and within `step` of the one before.
int64_t count_flat(const float* x, int64_t n, float high, float step);

/// Magnitudes of the differences x[i] − 0.97 x[i − 1], i ≥ 1.
struct Differences {
  double sum = 0;
  double logs = 0;  ///< Sum of the logarithms of each + 1e-6.
  int64_t count = 0;
};
Differences differences_of(const float* x, int64_t n);

/// What at::quantile gives of values that are ≥ 0, as the two between which it lies.
struct Between {
  float below = 0, above = 0;
  double part = 0;  ///< How far towards `above`.
};
Between quantile_of(const float* values, int64_t n, double q);

/// Power spectra of overlapping frames, in bands of equal width in octaves from 120 Hz.
class BandSpectra {
 public:
  /// Tables for a sample rate; the last few are kept.
  static std::shared_ptr<const BandSpectra> of(int64_t rate);

  int64_t size() const { return size_; }                     ///< Samples of a frame, about 32 ms.
  int64_t hop() const { return hop_; }                       ///< From one frame to the next.
  const std::vector<double>& tops() const { return tops_; }  ///< Where each band ends, Hz.

  /// Of the frames numbered `whole` (rising) of x [n]: power in each band [B, F] and in all [F].
  void powers(const float* x, int64_t n, const std::vector<int64_t>& whole, float* bands,
              float* all) const;

  /// How `powers` takes a transform of `size` apart: prime · rest, by its largest odd prime factor.
  struct Plan {
    int64_t size = 0, hop = 0, prime = 1, rest = 1;
    int64_t half = 0;                  ///< (prime − 1) / 2
    std::vector<float> window;         ///< [size]
    std::vector<float> cosine, sine;   ///< [half up to a multiple of kTogether, half]
    std::vector<float> turn;           ///< [half + 1, rest] cosines and sines by turns.
    std::vector<int64_t> band_of_bin;  ///< [size / 2 + 1], −1: none.
    int64_t bands = 0;
    /// The rest is taken apart one by one.
    struct Stage {
      int64_t radix = 1, groups = 1, stride = 1;
      std::vector<float> circle;  ///< [radix] cosines and sines by turns.
      std::vector<float> turn;    ///< [groups, radix] the same.
    };
    std::vector<Stage> stages;
  };
  static constexpr int64_t kTogether = 3;  ///< Frequencies of the prime's transform.

 private:
  explicit BandSpectra(int64_t rate);
  void make_bands();

  int64_t rate_, size_, hop_;
  std::vector<double> tops_;
  Plan plan_;
};

/// The loop of BandSpectra::powers.
void powers_of(const BandSpectra::Plan& plan, const float* x, int64_t n, const int64_t* whole,
               int64_t count, float* bands, float* all);

}  // namespace plait::models
