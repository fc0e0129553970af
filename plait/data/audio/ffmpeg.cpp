extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
}

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "plait/core/error.h"
#include "plait/data/audio/byte_source.h"
#include "plait/data/audio/codec.h"

namespace plait::data {
namespace {

constexpr size_t kMaxOutputFloats = size_t{1} << 28;  // 1 GiB of samples.
constexpr const char* kFormats = "wav,w64,flac,ogg,mp3";
constexpr const char* kCodecs =
    "pcm_u8,pcm_s16le,pcm_s24le,pcm_s32le,pcm_f32le,pcm_f64le,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_"
    "ima_wav,flac,vorbis,"
    "libvorbis,opus,libopus,mp3,mp3float,mp3on4float";

struct FreeFormat {
  void operator()(AVFormatContext* p) const { avformat_close_input(&p); }
};
struct FreeIo {
  void operator()(AVIOContext* p) const {
    av_freep(&p->buffer);
    avio_context_free(&p);
  }
};
struct FreeCodec {
  void operator()(AVCodecContext* p) const { avcodec_free_context(&p); }
};
struct FreePacket {
  void operator()(AVPacket* p) const { av_packet_free(&p); }
};
struct FreeFrame {
  void operator()(AVFrame* p) const { av_frame_free(&p); }
};
struct FreeSwr {
  void operator()(SwrContext* p) const { swr_free(&p); }
};
using Swr = std::unique_ptr<SwrContext, FreeSwr>;

/// A resampler to interleaved float; `mono` averages the channels. Null when FFmpeg refuses the
/// parameters.
Swr make_resampler(const AVChannelLayout& layout, AVSampleFormat format, int from_rate, int to_rate,
                   bool mono) {
  AVChannelLayout in = AV_CHANNEL_LAYOUT_MASK(0, 0);
  AVChannelLayout out = AV_CHANNEL_LAYOUT_MASK(0, 0);
  // Plain counts instead of named speakers: the matrix below is the whole mixing rule.
  av_channel_layout_default(&in, layout.nb_channels);
  av_channel_layout_default(&out, mono ? 1 : layout.nb_channels);
  SwrContext* raw = nullptr;
  int rc = swr_alloc_set_opts2(&raw, &out, AV_SAMPLE_FMT_FLT, to_rate, &in, format, from_rate, 0,
                               nullptr);
  Swr swr(raw);
  av_channel_layout_uninit(&in);
  av_channel_layout_uninit(&out);
  if (rc < 0) return nullptr;
  av_opt_set_int(raw, "filter_size", 64, 0);
  av_opt_set_double(raw, "cutoff", 0.97, 0);
  if (mono && layout.nb_channels > 1) {
    std::vector<double> matrix(static_cast<size_t>(layout.nb_channels), 1.0 / layout.nb_channels);
    if (swr_set_matrix(raw, matrix.data(), layout.nb_channels) < 0) return nullptr;
  }
  if (swr_init(raw) < 0) return nullptr;
  return swr;
}

/// Decodes one file from start to end.
class Decoder {
 public:
  Decoder(std::span<const uint8_t> bytes, const std::string& name, const AudioRequest& request)
      : name_(name), request_(request) {
    source_.bytes = bytes;
    source_.give(request_.timeout_seconds);
  }

  RawAudio run() {
    open_format();
    open_codec();
    while (true) {
      if (source_.expired()) give_up();
      int rc = av_read_frame(format_.get(), packet_.get());
      if (rc == AVERROR_EOF) break;
      if (rc < 0) damaged("an unreadable packet");
      if (packet_->stream_index == stream_) send(packet_.get());
      av_packet_unref(packet_.get());
    }
    send(nullptr);
    if (!swr_) damaged("no sound in it");
    convert(nullptr);
    finish();
    return std::move(out_);
  }

 private:
  [[noreturn]] void damaged(const char* what) const {
    if (source_.expired()) give_up();
    fail(ErrorCode::kCorruptData, "audio",
         name_ + ": expected a whole WAV, FLAC, Ogg or MP3 file, got " + std::string(what));
  }
  [[noreturn]] void give_up() const {
    fail(ErrorCode::kResourceLimit, "audio",
         name_ + ": expected to decode within " +
             std::to_string(std::lround(request_.timeout_seconds)) + " s, got a time-out");
  }
  [[noreturn]] void too_long() const {
    fail(ErrorCode::kResourceLimit, "audio",
         name_ + ": expected sound of at most " +
             std::to_string(std::lround(request_.max_seconds)) +
             " s and 1 GiB of samples, got more");
  }

  void open_format() {
    io_.reset(source_.make_io());
    AVFormatContext* format = avformat_alloc_context();
    if (!io_ || !format)
      fail(ErrorCode::kResourceLimit, "audio", name_ + ": expected memory for a decoder, got none");
    if (!source_.open(format, io_.get(), {kFormats, kCodecs, 1 << 20, 16, /*check_sums=*/true}))
      damaged(source_.bytes.empty() ? "an empty file" : "bytes of another format");
    format_.reset(format);
    if (avformat_find_stream_info(format, nullptr) < 0) damaged("no stream that can be read");
    stream_ = av_find_best_stream(format, AVMEDIA_TYPE_AUDIO, -1, -1, nullptr, 0);
    if (stream_ < 0) damaged("no sound in it");
  }

  void open_codec() {
    const AVStream* stream = format_->streams[stream_];
    const AVCodec* codec = avcodec_find_decoder(stream->codecpar->codec_id);
    if (!codec) damaged("an unknown codec");
    if (stream->duration > 0 && stream->duration != AV_NOPTS_VALUE) {
      declared_seconds_ = static_cast<double>(stream->duration) * av_q2d(stream->time_base);
      if (declared_seconds_ > request_.max_seconds) too_long();
    }
    codec_.reset(avcodec_alloc_context3(codec));
    if (!codec_ || avcodec_parameters_to_context(codec_.get(), stream->codecpar) < 0)
      damaged("bad codec parameters");
    codec_->thread_count = 1;
    codec_->err_recognition = AV_EF_CRCCHECK;
    codec_->pkt_timebase = stream->time_base;
    av_opt_set(codec_.get(), "codec_whitelist", kCodecs, 0);
    if (avcodec_open2(codec_.get(), codec, nullptr) < 0)
      damaged("codec parameters that its decoder refuses");
    packet_.reset(av_packet_alloc());
    frame_.reset(av_frame_alloc());
  }

  void send(const AVPacket* packet) {
    int rc = avcodec_send_packet(codec_.get(), packet);
    if (rc < 0 && rc != AVERROR_EOF) {
      bad_packet();
      return;
    }
    while (true) {
      rc = avcodec_receive_frame(codec_.get(), frame_.get());
      if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF) return;
      if (rc < 0) {
        bad_packet();
        return;
      }
      convert(frame_.get());
      av_frame_unref(frame_.get());
    }
  }

  /// MP3 files are often cut in a frame at either end and have tags in between; players skip those.
  void bad_packet() {
    bool mp3 = codec_->codec_id == AV_CODEC_ID_MP3;
    if (!mp3 || ++bad_packets_ > 2) damaged("damaged sound data");
  }

  void convert(const AVFrame* frame) {
    if (frame && !swr_) start(*frame);
    if (frame && (frame->sample_rate != in_rate_ || frame->ch_layout.nb_channels != in_channels_ ||
                  frame->format != in_format_)) {
      damaged("a change of rate or channels in the middle");
    }
    int in_count = frame ? frame->nb_samples : 0;
    if (frame) in_samples_ += in_count;
    if (static_cast<double>(in_samples_) > request_.max_seconds * in_rate_) too_long();
    int room = swr_get_out_samples(swr_.get(), in_count);
    if (room < 0) damaged("samples that cannot be converted");
    auto channels = static_cast<size_t>(out_.channels);
    size_t before = out_.samples.size();
    if (before + static_cast<size_t>(room) * channels > kMaxOutputFloats) too_long();
    out_.samples.resize(before + static_cast<size_t>(room) * channels);
    auto* to = reinterpret_cast<uint8_t*>(out_.samples.data() + before);
    auto** from = frame ? const_cast<const uint8_t**>(frame->extended_data) : nullptr;
    int count = swr_convert(swr_.get(), &to, room, from, in_count);
    if (count < 0) damaged("samples that cannot be converted");
    out_.samples.resize(before + static_cast<size_t>(count) * channels);
  }

  void start(const AVFrame& frame) {
    in_rate_ = frame.sample_rate;
    in_channels_ = frame.ch_layout.nb_channels;
    in_format_ = frame.format;
    if (in_rate_ < 1 || in_rate_ > 768000 || in_channels_ < 1 || in_channels_ > 64)
      damaged("an absurd rate or channel count");
    int rate = request_.sample_rate > 0 ? static_cast<int>(request_.sample_rate) : in_rate_;
    swr_ = make_resampler(frame.ch_layout, static_cast<AVSampleFormat>(in_format_), in_rate_, rate,
                          request_.mono);
    if (!swr_) damaged("samples that cannot be converted");
    out_.sample_rate = rate;
    out_.channels = request_.mono ? 1 : in_channels_;
  }

  void finish() {
    const char* format = format_->iformat->name;
    bool declares_length = std::strcmp(format, "wav") == 0 || std::strcmp(format, "flac") == 0;
    double decoded = static_cast<double>(in_samples_) / in_rate_;
    if (declares_length && decoded + 0.01 + 1.0 / in_rate_ < declared_seconds_)
      damaged("less sound than its header says");
    if (std::strcmp(format, "wav") == 0 && !wav_is_whole())
      damaged("less sound than its header says");
    if (std::strcmp(format, "ogg") == 0 && !last_page_is_whole()) damaged("a page that is cut");
    if (out_.samples.empty()) damaged("no sound in it");
    for (float v : out_.samples) {
      if (!std::isfinite(v)) damaged("samples that are NaN or infinite");
    }
  }

  /// FFmpeg takes the length of a cut file from what is there. Sizes of 0 and 2^32 - 1 come from
  /// writers to a pipe.
  bool wav_is_whole() const {
    auto bytes = source_.bytes;
    auto u32 = [&](size_t i) {
      return bytes[i] | bytes[i + 1] << 8 | bytes[i + 2] << 16 | uint32_t{bytes[i + 3]} << 24;
    };
    for (size_t at = 12; at + 8 <= bytes.size();) {
      size_t size = u32(at + 4);
      if (std::memcmp(bytes.data() + at, "data", 4) == 0) {
        return size == 0 || size >= 0xFFFFFF00u || size <= bytes.size() - at - 8;
      }
      at += 8 + size + (size & 1);
    }
    return true;
  }

  bool last_page_is_whole() const {
    std::string_view text(reinterpret_cast<const char*>(source_.bytes.data()),
                          source_.bytes.size());
    size_t page = text.rfind("OggS");
    if (page == std::string_view::npos || text.size() - page < 27) return false;
    size_t segments = static_cast<uint8_t>(text[page + 26]);
    if (text.size() - page < 27 + segments) return false;
    size_t length = 27 + segments;
    for (size_t i = 0; i < segments; ++i) length += static_cast<uint8_t>(text[page + 27 + i]);
    return text.size() - page >= length;
  }

  const std::string& name_;
  AudioRequest request_;
  ByteSource source_;
  std::unique_ptr<AVIOContext, FreeIo> io_;
  std::unique_ptr<AVFormatContext, FreeFormat> format_;
  std::unique_ptr<AVCodecContext, FreeCodec> codec_;
  std::unique_ptr<AVPacket, FreePacket> packet_;
  std::unique_ptr<AVFrame, FreeFrame> frame_;
  Swr swr_;
  int stream_ = -1;
  int in_rate_ = 1;
  int in_channels_ = 0;
  int in_format_ = -1;
  int bad_packets_ = 0;
  int64_t in_samples_ = 0;
  double declared_seconds_ = 0;
  RawAudio out_;
};

}  // namespace

bool audio_codecs_available() { return true; }

RawAudio decode_samples(std::span<const uint8_t> bytes, const std::string& name,
                        const AudioRequest& request) {
  silence_ffmpeg();
  return Decoder(bytes, name, request).run();
}

std::vector<float> resample_samples(const float* samples, int64_t count, int64_t from_rate,
                                    int64_t to_rate) {
  silence_ffmpeg();
  AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
  Swr swr = make_resampler(mono, AV_SAMPLE_FMT_FLT, static_cast<int>(from_rate),
                           static_cast<int>(to_rate), true);
  if (!swr) {
    fail(ErrorCode::kInvalidArgument, "audio",
         "expected rates that can be resampled, got " + std::to_string(from_rate) + " to " +
             std::to_string(to_rate) + " Hz");
  }
  auto wanted = static_cast<size_t>((count * to_rate + from_rate - 1) / from_rate);
  std::vector<float> out;
  out.reserve(wanted + 256);
  constexpr int64_t kBlock = 1 << 16;
  for (int64_t at = 0;; at += kBlock) {
    auto n = static_cast<int>(std::clamp<int64_t>(count - at, 0, kBlock));
    int room = swr_get_out_samples(swr.get(), n);
    size_t before = out.size();
    out.resize(before + static_cast<size_t>(std::max(room, 0)));
    auto* to = reinterpret_cast<uint8_t*>(out.data() + before);
    auto* from = reinterpret_cast<const uint8_t*>(samples + std::min(at, count));
    int got = swr_convert(swr.get(), &to, room, n > 0 ? &from : nullptr, n);
    if (got < 0)
      fail(ErrorCode::kInternal, "audio", "expected libswresample to convert, got an error");
    out.resize(before + static_cast<size_t>(got));
    if (n == 0) break;
  }
  out.resize(wanted, 0.0f);
  return out;
}

}  // namespace plait::data
