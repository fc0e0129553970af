#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "plait/data/image/codec.h"

/// What reading text in pictures needs of OpenCV and Clipper. No torch in this header. Thread-safe.
namespace plait::data {

/// A quadrilateral in pixels [x, y]: top left, top right, bottom right, bottom left of the text.
using Quad = std::array<std::array<float, 2>, 4>;

/// How a detector's map becomes boxes (differentiable binarisation,
/// https://arxiv.org/abs/1911.08947).
struct TextBoxOptions {
  double threshold = 0.3;      ///< A pixel is text above it.
  double box_threshold = 0.5;  ///< A box is kept from this mean probability on.
  double unclip_ratio = 1.6;   ///< The map marks text shrunk; boxes grow by area · ratio / length.
  int64_t max_candidates = 1000;
  bool dilate = true;  ///< Joins what a pixel's gap divides.
};

/// Boxes in a picture of `picture_height` × `picture_width` from a map [height, width] of
/// probabilities, in reading order: by rows of ten pixels, then from left to right.
/// @throws Error kUnavailable in a build without media.
std::vector<Quad> find_text_boxes(const float* map, int64_t height, int64_t width,
                                  int64_t picture_height, int64_t picture_width,
                                  const TextBoxOptions& options = {});

/// Bilinear without antialiasing, as OpenCV does it.
RawImage resize_pixels(const RawImage& image, int64_t height, int64_t width);
/// The quadrilateral as an upright rectangle, bicubic; one that is at least 1.5 times as high as
/// wide is turned left, since its text runs downwards.
RawImage crop_quad(const RawImage& image, const Quad& quad);
RawImage rotate_half(const RawImage& image);
/// Black rows above and below.
RawImage pad_rows(const RawImage& image, int64_t rows);
/// Outlines in red, with a label in ASCII above each where there are labels.
void draw_quads(RawImage& image, const std::vector<Quad>& quads,
                const std::vector<std::string>& labels = {});

}  // namespace plait::data
