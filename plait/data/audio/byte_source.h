#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

struct AVDictionary;
struct AVFormatContext;
struct AVIOContext;

namespace plait::data {

/// Bytes in memory that FFmpeg reads through callbacks, and the time it has for them.
struct ByteSource {
  using Clock = std::chrono::steady_clock;
  std::span<const uint8_t> bytes;
  size_t at = 0;
  Clock::time_point deadline;

  void give(double seconds) {
    deadline = Clock::now() +
               std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }
  bool expired() const { return Clock::now() > deadline; }

  /// What is allowed of a file.
  struct Rules {
    const char* formats;
    const char* codecs;
    int64_t probe_bytes;
    int max_streams;
    bool check_sums = false;
  };
  /// Null without memory.
  AVIOContext* make_io();
  /// Opens the bytes; `format` is freed and null when it cannot.
  bool open(AVFormatContext*& format, AVIOContext* io, const Rules& rules);

  /// FFmpeg's callbacks; `self` is the source.
  static int read(void* self, uint8_t* to, int size);
  static int64_t seek(void* self, int64_t offset, int whence);
  static int interrupted(void* self);
  /// Files may name other files (playlists, edit lists); none of them is opened.
  static int refuse_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**);
};

/// FFmpeg prints to standard error unless told otherwise.
void silence_ffmpeg();

}  // namespace plait::data
