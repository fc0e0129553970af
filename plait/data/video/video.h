#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plait/core/sample.h"

namespace plait::data {

/// How a video is read.
struct VideoOptions {
  double frames_per_second = 0;  ///< Rate of the frames given out; 0: every frame of the file.
  int64_t max_pixels = int64_t{16} << 20;  ///< Largest frame, checked before one is decoded.
  int64_t max_frames = int64_t{1} << 20;   ///< So many are decoded at most.
  double max_seconds = 4 * 3600;           ///< Longer videos are refused.
  double timeout_seconds = 60;             ///< Gives up when one frame takes longer.
  int64_t threads = 1;                     ///< Of the decoder.
};

/// A picture of a video and the moment it is shown, in seconds of the file's own clock.
struct VideoFrame {
  at::Tensor pixels;  ///< uint8 RGB [H, W, 3]
  double seconds = 0;
};

/// What a file says of its pictures. 0 where it says nothing.
struct VideoInfo {
  int64_t width = 0;  ///< As shown: rotation is applied.
  int64_t height = 0;
  double seconds = 0;
  double frames_per_second = 0;
  int64_t frames = 0;
  std::string codec;  ///< "h264", "vp9" ...
};

/// The frames of an MP4, MOV, WebM, Matroska, AVI or GIF file one after another, in the order they
/// are shown; only one is held at a time. Rotation and mirroring that the container asks for
/// (telephones) are applied. Time stamps are the file's (presentation time × time base). A file
/// that ends before its header says, or whose data are damaged, is an error when that place is
/// reached. Not thread-safe; readers are independent of each other.
class VideoReader {
 public:
  /// A file of any size, mapped, not read at once. @throws Error kNotFound, kCorruptData (no
  /// pictures in it, or bytes of another format), kResourceLimit, kUnavailable without FFmpeg.
  static VideoReader open(const std::string& path, const VideoOptions& options = {});
  /// The same for encoded bytes; `name` is for messages.
  static VideoReader from_bytes(std::string bytes, const std::string& name,
                                const VideoOptions& options = {});
  /// Bytes that stay the caller's and have to outlive the reader.
  static VideoReader from_view(std::string_view bytes, const std::string& name,
                               const VideoOptions& options = {});
  ~VideoReader();
  VideoReader(VideoReader&&) noexcept;
  VideoReader& operator=(VideoReader&&) noexcept;

  const VideoInfo& info() const;
  const std::string& name() const;  ///< For messages.
  /// The next frame, or nothing at the end. At a rate: the first frame at or after each tick,
  /// counted from the first frame; no frame comes twice. @throws Error kCorruptData,
  /// kResourceLimit.
  std::optional<VideoFrame> next();
  /// Like next(), without the cost of its pixels. At a rate as well.
  std::optional<double> skip();
  /// The next frame that comes is the first one at or after `seconds`.
  void seek(double seconds);

 private:
  struct State;
  explicit VideoReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// What is kept of a frame's pixels, such as a smaller copy; empty: all.
using PrepareFrame = std::function<at::Tensor(const at::Tensor&)>;

/// `count` frames spread evenly over all F that decode: numbers ⌊(i + ½)·F / count⌋; a video of
/// fewer frames gives some of them more than once. Holds at most `count` prepared frames. @throws
/// Error as VideoReader, kCorruptData for a video without frames.
std::vector<VideoFrame> sample_frames(VideoReader& reader, int64_t count,
                                      const PrepareFrame& prepare = {});

/// The same for any value of a video stream: a path, bytes, or frames [T, H, W, 3] uint8 or [T, 3,
/// H, W] float in [0, 1], which count as one a second. @throws Error that names `where`.
std::vector<VideoFrame> sample_video_value(const Value& value, const std::string& where,
                                           int64_t count, const VideoOptions& options = {},
                                           const PrepareFrame& prepare = {});
/// Instead the first frames, `count` at most, at the rate of the options.
std::vector<VideoFrame> first_video_frames(const Value& value, const std::string& where,
                                           int64_t count, const VideoOptions& options = {},
                                           const PrepareFrame& prepare = {});

/// Checks that the value is a video: the header of a file or of bytes, the shape of a tensor, which
/// is returned as uint8 [T, H, W, 3]. Files and bytes stay what they are: how many frames are
/// wanted is the processor's to say.
Value check_video_value(const Value& value, const std::string& where,
                        const VideoOptions& options = {});

}  // namespace plait::data
