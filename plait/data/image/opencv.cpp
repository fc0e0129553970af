#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include <cmath>

#include "plait/core/error.h"
#include "plait/data/image/codec.h"

namespace plait::data {
namespace {

/// 8 bits per channel: 16-bit values keep their high byte, float values are taken as [0, 1].
cv::Mat to_bytes(const cv::Mat& image, const std::string& name) {
  cv::Mat out;
  switch (image.depth()) {
    case CV_8U: return image;
    case CV_16U: image.convertTo(out, CV_8U, 1.0 / 257.0); return out;
    case CV_32F:
    case CV_64F:
      if (!cv::checkRange(image)) {
        fail(ErrorCode::kCorruptData, "image",
             name + ": expected finite pixel values, got NaN or infinity");
      }
      image.convertTo(out, CV_8U, 255.0);
      return out;
    default: break;
  }
  fail(ErrorCode::kCorruptData, "image",
       name + ": expected unsigned 8- or 16-bit or float pixels, got another type");
}

}  // namespace

bool image_codecs_available() { return true; }

RawImage decode_pixels(std::string_view bytes, const std::string& name) {
  cv::Mat image;
  try {
    // OpenCV wants a matrix of bytes but only reads it.
    cv::Mat buffer(1, static_cast<int>(bytes.size()), CV_8U, const_cast<char*>(bytes.data()));
    image = cv::imdecode(buffer, cv::IMREAD_UNCHANGED | cv::IMREAD_IGNORE_ORIENTATION);
  } catch (const cv::Exception&) {
    // Its message repeats OpenCV's source lines; ours below says what matters.
  }
  if (image.empty()) {
    fail(ErrorCode::kCorruptData, "image",
         name + ": expected a whole picture, got damaged or truncated image data");
  }
  image = to_bytes(image, name);
  int channels = image.channels();
  if (channels != 1 && channels != 3 && channels != 4) {
    fail(ErrorCode::kCorruptData, "image",
         name + ": expected 1, 3 or 4 channels, got " + std::to_string(channels));
  }
  if (channels == 3) cv::cvtColor(image, image, cv::COLOR_BGR2RGB);
  if (channels == 4) cv::cvtColor(image, image, cv::COLOR_BGRA2RGBA);
  RawImage out{image.cols, image.rows, channels, {}};
  size_t row = static_cast<size_t>(image.cols) * static_cast<size_t>(channels);
  out.pixels.resize(row * static_cast<size_t>(image.rows));
  for (int y = 0; y < image.rows; ++y)
    std::copy_n(image.ptr<uint8_t>(y), row, out.pixels.data() + row * size_t(y));
  return out;
}

std::string encode_pixels(const uint8_t* rgb, int64_t width, int64_t height,
                          const std::string& extension, int quality) {
  std::vector<uint8_t> out;
  try {
    cv::Mat image(static_cast<int>(height), static_cast<int>(width), CV_8UC3,
                  const_cast<uint8_t*>(rgb));
    cv::Mat bgr;
    cv::cvtColor(image, bgr, cv::COLOR_RGB2BGR);
    std::vector<int> options;
    if (extension == ".jpg") options = {cv::IMWRITE_JPEG_QUALITY, quality};
    if (!cv::imencode(extension, bgr, out, options)) out.clear();
  } catch (const cv::Exception&) {
    out.clear();
  }
  if (out.empty())
    fail(ErrorCode::kIo, "image",
         "expected to encode a picture as " + extension + ", got a codec error");
  return {out.begin(), out.end()};
}

}  // namespace plait::data
