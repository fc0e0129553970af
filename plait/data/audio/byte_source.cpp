#include "plait/data/audio/byte_source.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/log.h>
}

#include <algorithm>
#include <cstring>
#include <mutex>

namespace plait::data {

constexpr int kIoBuffer = 1 << 16;

AVIOContext* ByteSource::make_io() {
  auto* buffer = static_cast<uint8_t*>(av_malloc(kIoBuffer));
  return avio_alloc_context(buffer, kIoBuffer, 0, this, read, nullptr, seek);
}

bool ByteSource::open(AVFormatContext*& format, AVIOContext* io, const Rules& rules) {
  format->pb = io;
  format->flags |= AVFMT_FLAG_CUSTOM_IO;
  format->interrupt_callback = {interrupted, this};
  format->io_open = refuse_open;
  if (rules.check_sums) format->error_recognition = AV_EF_CRCCHECK;
  format->probesize = rules.probe_bytes;
  format->max_streams = rules.max_streams;
  AVDictionary* options = nullptr;
  av_dict_set(&options, "format_whitelist", rules.formats, 0);
  av_dict_set(&options, "codec_whitelist", rules.codecs, 0);
  // Loops of a GIF are the player's affair.
  av_dict_set(&options, "ignore_loop", "1", 0);
  const int rc = avformat_open_input(&format, nullptr, nullptr, &options);  // Frees it on failure.
  av_dict_free(&options);
  return rc >= 0;
}

int ByteSource::read(void* self, uint8_t* to, int size) {
  auto& source = *static_cast<ByteSource*>(self);
  size_t count = std::min(static_cast<size_t>(size), source.bytes.size() - source.at);
  if (count == 0 || source.expired()) return AVERROR_EOF;
  std::memcpy(to, source.bytes.data() + source.at, count);
  source.at += count;
  return static_cast<int>(count);
}

int64_t ByteSource::seek(void* self, int64_t offset, int whence) {
  auto& source = *static_cast<ByteSource*>(self);
  auto size = static_cast<int64_t>(source.bytes.size());
  if (whence & AVSEEK_SIZE) return size;
  whence &= ~AVSEEK_FORCE;
  int64_t base = whence == SEEK_SET   ? 0
                 : whence == SEEK_CUR ? static_cast<int64_t>(source.at)
                                      : size;
  if (offset < -base || offset > size - base) return AVERROR(EINVAL);
  source.at = static_cast<size_t>(base + offset);
  return base + offset;
}

int ByteSource::interrupted(void* self) {
  return static_cast<ByteSource*>(self)->expired() ? 1 : 0;
}

int ByteSource::refuse_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EPERM);
}

void silence_ffmpeg() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_level(AV_LOG_QUIET); });
}

}  // namespace plait::data
