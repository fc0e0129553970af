#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace plait::data {

/// How a picture has to be moved before it is shown, as the container says: rows and columns
/// change places first, then the result is mirrored.
struct Turn {
  bool transpose = false;
  bool mirror_columns = false;
  bool mirror_rows = false;
};

/// One decoded frame as it is stored, rows from top to bottom. No torch in this header.
struct RawFrame {
  int64_t width = 0;
  int64_t height = 0;
  double seconds = 0;
  Turn turn;
  std::vector<uint8_t> rgb;  ///< [height, width, 3]; empty when it was not asked for.
};

/// What the header says of the pictures, before any is decoded.
struct RawVideoInfo {
  int64_t width = 0;
  int64_t height = 0;
  Turn turn;
  double seconds = 0;            ///< 0: the file does not say
  double frames_per_second = 0;  ///< 0: the file does not say
  int64_t frames = 0;            ///< 0: the file does not say
  std::string codec;
};

struct VideoRequest {
  int64_t max_pixels = 0;
  int64_t max_frames = 0;
  double max_seconds = 0;
  double timeout_seconds = 0;
  int threads = 1;
};

/// Decodes the pictures of one file in order.
class FrameDecoder {
 public:
  virtual ~FrameDecoder() = default;
  virtual const RawVideoInfo& info() const = 0;
  /// The next frame goes into `frame`, without its pixels; false at the end. @throws Error.
  virtual bool next(RawFrame& frame) = 0;
  /// The pixels of the frame that next() gave last.
  virtual void convert(RawFrame& frame) = 0;
  /// Goes to the last key frame that is not after `seconds`, or to the first one.
  virtual void seek(double seconds) = 0;
};

/// Whether this build can decode video.
bool video_codecs_available();

/// `bytes` have to outlive the decoder. @throws Error kCorruptData, kResourceLimit, kUnavailable;
/// messages start with `name`.
std::unique_ptr<FrameDecoder> open_frames(std::span<const uint8_t> bytes, const std::string& name,
                                          const VideoRequest& request);

}  // namespace plait::data
