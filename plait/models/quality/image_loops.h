#pragma once
#include <cstdint>
#include <vector>

/// What image_quality does with every pixel, in plain loops. All are thread-safe.
namespace plait::models {

/// Planes [H, W] of values 0 to 255; one plane thrice for a grey picture.
template <class T>
struct Planes {
  int64_t h = 0, w = 0;
  const T *red = nullptr, *green = nullptr, *blue = nullptr;

  int64_t size() const { return h * w; }
};

/// rgb [n, 3] → planes [3, n]
void split(const uint8_t* rgb, int64_t n, uint8_t* planes);

/// 0.299 R + 0.587 G + 0.114 B, rounded as a product of matrices rounds it.
void grey_of(const Planes<uint8_t>& x, float* grey);
void grey_of(const Planes<float>& x, float* grey);

/// Of every pixel one number for its colour, rounded to whole values.
void colours_of(const Planes<uint8_t>& x, uint32_t* out);
void colours_of(const Planes<float>& x, uint32_t* out);

/// Of every pixel its largest channel, rounded; whether its smallest is below `white` (untouched
/// where that is above 255); and whether it runs up to its end (254) shade by shade: such a colour
/// after another at its end that differs by 1 to 24.
void light_of(const Planes<uint8_t>& x, float white, uint8_t* highest, uint8_t* coloured,
              uint8_t* shaded);
void light_of(const Planes<float>& x, float white, uint8_t* highest, uint8_t* coloured,
              uint8_t* shaded);

/// How many of [n] that are marked lie in [low, high].
int64_t count_between(const uint8_t* values, const uint8_t* marked, int64_t n, int low, int high);

/// Of values rounded to whole ones: [256].
void histogram_of(const float* grey, int64_t n, int64_t* out);

/// Standard deviation of noise in blocks of 8 × 8, by Immerkær's mask.
std::vector<float> noises_of(const float* grey, int64_t h, int64_t w);

/// Sums of the steps (of at most 32) to the next column [w], over rows, and to the next row [h].
void sum_steps(const float* grey, int64_t h, int64_t w, double* along, double* down);

/// Of blocks of 16 × 16, every 8 pixels: least and largest value and the steepest step.
struct Block {
  float least = 0, most = 0, steep = 0;
};
std::vector<Block> blocks_of(const float* grey, int64_t h, int64_t w);

}  // namespace plait::models
