extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
}

#include <algorithm>
#include <cmath>
#include <cstring>

#include "plait/core/error.h"
#include "plait/data/audio/byte_source.h"
#include "plait/data/video/codec.h"
#include "plait/data/video/whole.h"

namespace plait::data {
namespace {

constexpr const char* kFormats = "mov,mp4,matroska,webm,avi,gif";
constexpr const char* kCodecs =
    "h264,hevc,vp8,vp9,libvpx,libvpx-vp9,libdav1d,libaom-av1,av1,mpeg4,msmpeg4v2,msmpeg4,h263,"
    "mpeg1video,mpeg2video,mjpeg,gif,png,ffv1,rawvideo,prores,aac,mp3float,mp3,ac3,opus,libopus,"
    "vorbis,flac,pcm_s16le,pcm_u8";

struct Free {
  void operator()(AVFormatContext* p) const { avformat_close_input(&p); }
  void operator()(AVIOContext* p) const {
    av_freep(&p->buffer);
    avio_context_free(&p);
  }
  void operator()(AVCodecContext* p) const { avcodec_free_context(&p); }
  void operator()(AVPacket* p) const { av_packet_free(&p); }
  void operator()(AVFrame* p) const { av_frame_free(&p); }
  void operator()(SwsContext* p) const { sws_freeContext(p); }
  void operator()(uint8_t* p) const { av_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

/// Where a pixel at (x, y) is shown: (a x + c y, b x + d y) for the matrix's first two rows
/// (a, b), (c, d). Turns by other angles than quarters are ignored, as players do.
Turn turn_of(const uint8_t* bytes, size_t size) {
  Turn turn;
  if (!bytes || size < 9 * sizeof(int32_t)) return turn;
  int32_t m[9];
  std::memcpy(m, bytes, sizeof m);
  int64_t a = m[0], b = m[1], c = m[3], d = m[4];
  turn.transpose = std::abs(b) + std::abs(c) > std::abs(a) + std::abs(d);
  turn.mirror_columns = (turn.transpose ? c : a) < 0;
  turn.mirror_rows = (turn.transpose ? b : d) < 0;
  return turn;
}

Turn turn_of(const AVStream* stream) {
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
  const AVPacketSideData* data =
      av_packet_side_data_get(stream->codecpar->coded_side_data,
                              stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  return data ? turn_of(data->data, data->size) : Turn{};
#else
  size_t size = 0;
  const uint8_t* data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  return turn_of(data, size);
#endif
}

double seconds_of(int64_t stamp, AVRational base) {
  return static_cast<double>(stamp) * base.num / base.den;
}

class Decoder : public FrameDecoder {
 public:
  Decoder(std::span<const uint8_t> bytes, const std::string& name, const VideoRequest& request)
      : name_(name), request_(request) {
    source_.bytes = bytes;
    source_.give(request_.timeout_seconds);
    open_format();
    open_codec();
  }

  const RawVideoInfo& info() const override { return info_; }

  bool next(RawFrame& to) override {
    source_.give(request_.timeout_seconds);
    while (true) {
      av_frame_unref(frame_.get());
      int rc = avcodec_receive_frame(codec_.get(), frame_.get());
      if (rc == AVERROR(EAGAIN)) {
        feed();
        continue;
      }
      if (rc == AVERROR_EOF) {
        check_end();
        return false;
      }
      if (rc < 0) damaged("damaged picture data");
      if (source_.expired()) give_up();
      bool broken = (frame_->flags & AV_FRAME_FLAG_CORRUPT) || frame_->decode_error_flags;
      // After a jump the first frames may lean on some that were not read.
      if (broken && jumped_) continue;
      if (broken) damaged("damaged picture data");
      jumped_ = false;
      describe(to);
      return true;
    }
  }

  void convert(RawFrame& to) override {
    const AVFrame& frame = *frame_;
    if (frame.width < 1) fail(ErrorCode::kInvalidArgument, "video", "expected next() first");
    auto format = static_cast<AVPixelFormat>(frame.format);
    scaler_.reset(sws_getCachedContext(scaler_.release(), frame.width, frame.height, format,
                                       frame.width, frame.height, AV_PIX_FMT_RGB24, SWS_BILINEAR,
                                       nullptr, nullptr, nullptr));
    if (!scaler_) damaged("pixels of a kind that cannot be converted");
    set_colours(frame);
    // Vector code writes whole blocks: rows are padded.
    int stride = FFALIGN(frame.width * 3, 64) + 64;
    auto size = static_cast<size_t>(stride) * static_cast<size_t>(frame.height) + 64;
    if (padded_size_ < size) {
      padded_.reset(static_cast<uint8_t*>(av_malloc(size)));
      padded_size_ = padded_ ? size : 0;
      if (!padded_) fail(ErrorCode::kResourceLimit, "video", name_ + ": expected memory, got none");
    }
    uint8_t* planes[4] = {padded_.get(), nullptr, nullptr, nullptr};
    int strides[4] = {stride, 0, 0, 0};
    if (sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height, planes, strides) !=
        frame.height)
      damaged("pixels that cannot be converted");
    auto row = static_cast<size_t>(frame.width) * 3;
    to.rgb.resize(row * static_cast<size_t>(frame.height));
    for (int y = 0; y < frame.height; ++y)
      std::memcpy(to.rgb.data() + static_cast<size_t>(y) * row,
                  padded_.get() + static_cast<size_t>(y) * static_cast<size_t>(stride), row);
  }

  void seek(double seconds) override {
    source_.give(request_.timeout_seconds);
    const AVStream& stream = *format_->streams[stream_];
    double stamp = seconds / av_q2d(stream.time_base);
    int64_t first = stream.start_time == AV_NOPTS_VALUE ? 0 : stream.start_time;
    auto target = std::abs(stamp) < 9e18 ? static_cast<int64_t>(stamp) : first;
    int rc = -1;
    if (target > first) rc = av_seek_frame(format_.get(), stream_, target, AVSEEK_FLAG_BACKWARD);
    if (rc < 0) rc = av_seek_frame(format_.get(), stream_, first, AVSEEK_FLAG_BACKWARD);
    // Files without an index, such as GIF, begin again.
    if (rc < 0) rc = av_seek_frame(format_.get(), -1, 0, AVSEEK_FLAG_BYTE);
    if (rc < 0) reopen();
    avcodec_flush_buffers(codec_.get());
    drained_ = false;
    jumped_ = true;
    frames_ = 0;
  }

 private:
  [[noreturn]] void damaged(const char* what) const {
    if (source_.expired()) give_up();
    fail(ErrorCode::kCorruptData, "video",
         name_ + ": expected a whole MP4, MOV, WebM, Matroska, AVI or GIF file, got " + what);
  }
  [[noreturn]] void give_up() const {
    fail(ErrorCode::kResourceLimit, "video",
         name_ + ": expected a frame within " +
             std::to_string(std::lround(request_.timeout_seconds)) + " s, got a time-out");
  }
  [[noreturn]] void too_long() const {
    fail(ErrorCode::kResourceLimit, "video",
         name_ + ": expected a video of at most " +
             std::to_string(std::lround(request_.max_seconds)) + " s and " +
             std::to_string(request_.max_frames) + " frames, got more");
  }
  void check_size(int64_t width, int64_t height) const {
    if (width < 1 || height < 1) damaged("a picture without size");
    if (width > request_.max_pixels / height)
      fail(ErrorCode::kResourceLimit, "video",
           name_ + ": expected frames of at most " + std::to_string(request_.max_pixels) +
               " pixels, got " + std::to_string(width) + " x " + std::to_string(height));
  }
  void open_format() {
    source_.at = 0;
    io_.reset(source_.make_io());
    AVFormatContext* format = avformat_alloc_context();
    if (!io_ || !format)
      fail(ErrorCode::kResourceLimit, "video", name_ + ": expected memory for a decoder, got none");
    if (!source_.open(format, io_.get(), {kFormats, kCodecs, 5 << 20, 64}))
      damaged(source_.bytes.empty() ? "an empty file" : "bytes of another format");
    format_.reset(format);
    for (unsigned i = 0; i < format->nb_streams; ++i) {
      const AVCodecParameters& p = *format->streams[i]->codecpar;
      if (p.codec_type == AVMEDIA_TYPE_VIDEO && p.width > 0 && p.height > 0)
        check_size(p.width, p.height);
    }
    read_stream_info();
    stream_ = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
    if (stream_ < 0 || (format->streams[stream_]->disposition & AV_DISPOSITION_ATTACHED_PIC))
      damaged("no moving pictures in it");
  }

  /// Opens decoders of its own, which must keep to the limits too.
  void read_stream_info() {
    std::vector<AVDictionary*> options(format_->nb_streams, nullptr);
    for (AVDictionary*& of_stream : options)
      av_dict_set_int(&of_stream, "max_pixels", request_.max_pixels, 0);
    const int rc = avformat_find_stream_info(format_.get(), options.data());
    for (AVDictionary*& of_stream : options) av_dict_free(&of_stream);
    if (rc < 0) damaged("no stream that can be read");
  }

  void open_codec() {
    const AVStream* stream = format_->streams[stream_];
    const AVCodecParameters& parameters = *stream->codecpar;
    const AVCodec* codec = avcodec_find_decoder(parameters.codec_id);
    if (!codec) damaged("an unknown codec");
    check_size(parameters.width, parameters.height);
    if (!(av_q2d(stream->time_base) > 0) || !std::isfinite(av_q2d(stream->time_base)))
      damaged("an absurd time base");
    info_.width = parameters.width;
    info_.height = parameters.height;
    info_.turn = turn_of(stream);
    info_.codec = avcodec_get_name(parameters.codec_id);
    info_.frames = std::max<int64_t>(stream->nb_frames, 0);
    if (stream->duration > 0 && stream->duration != AV_NOPTS_VALUE)
      info_.seconds = seconds_of(stream->duration, stream->time_base);
    else if (format_->duration > 0 && format_->duration != AV_NOPTS_VALUE)
      info_.seconds = static_cast<double>(format_->duration) / AV_TIME_BASE;
    AVRational rate = av_guess_frame_rate(format_.get(), format_->streams[stream_], nullptr);
    if (rate.num > 0 && rate.den > 0) info_.frames_per_second = av_q2d(rate);
    if (info_.seconds > request_.max_seconds || info_.frames > request_.max_frames) too_long();

    codec_.reset(avcodec_alloc_context3(codec));
    if (!codec_ || avcodec_parameters_to_context(codec_.get(), &parameters) < 0)
      damaged("bad codec parameters");
    codec_->thread_count = std::clamp(request_.threads, 1, 64);
    codec_->max_pixels = request_.max_pixels;
    codec_->pkt_timebase = stream->time_base;
    av_opt_set(codec_.get(), "codec_whitelist", kCodecs, 0);
    if (avcodec_open2(codec_.get(), codec, nullptr) < 0)
      damaged("codec parameters that its decoder refuses");
    packet_.reset(av_packet_alloc());
    frame_.reset(av_frame_alloc());
    if (!packet_ || !frame_)
      fail(ErrorCode::kResourceLimit, "video", name_ + ": expected memory for a decoder, got none");
  }

  void reopen() {
    codec_.reset();
    format_.reset();
    open_format();
    open_codec();
  }

  /// Gives the decoder one packet of pictures, or the end.
  void feed() {
    if (drained_) damaged("damaged picture data");
    while (true) {
      if (source_.expired()) give_up();
      int rc = av_read_frame(format_.get(), packet_.get());
      if (rc == AVERROR_EOF) {
        drained_ = true;
        avcodec_send_packet(codec_.get(), nullptr);
        return;
      }
      if (rc < 0) damaged("an unreadable packet");
      note_end(*packet_);
      if (packet_->stream_index == stream_) break;
      av_packet_unref(packet_.get());
    }
    bool cut = packet_->flags & AV_PKT_FLAG_CORRUPT;
    int rc = cut ? 0 : avcodec_send_packet(codec_.get(), packet_.get());
    av_packet_unref(packet_.get());
    if (cut || rc < 0) damaged(cut ? "a packet that is cut" : "damaged picture data");
  }

  void note_end(const AVPacket& packet) {
    int64_t stamp = packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;
    if (stamp == AV_NOPTS_VALUE) return;
    const AVStream& stream = *format_->streams[packet.stream_index];
    int64_t length = std::max<int64_t>(packet.duration, 0);
    read_until_ = std::max(
        read_until_, seconds_of(stamp, stream.time_base) + seconds_of(length, stream.time_base));
  }

  /// FFmpeg ends quietly where a cut file ends.
  void check_end() const {
    if (!container_is_whole(source_.bytes, format_->iformat->name))
      damaged("less video than its header says");
    if (format_->duration <= 0 ||
        format_->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE)
      return;
    double start = format_->start_time == AV_NOPTS_VALUE
                       ? 0
                       : static_cast<double>(format_->start_time) / AV_TIME_BASE;
    double declared = start + static_cast<double>(format_->duration) / AV_TIME_BASE;
    double frame = info_.frames_per_second > 0 ? 1 / info_.frames_per_second : 0.1;
    if (read_until_ + 2 * frame + 0.05 < declared) damaged("less video than its header says");
  }

  void describe(RawFrame& to) {
    const AVFrame& frame = *frame_;
    check_size(frame.width, frame.height);
    int64_t stamp = frame.pts != AV_NOPTS_VALUE ? frame.pts : frame.best_effort_timestamp;
    double step = info_.frames_per_second > 0 ? 1 / info_.frames_per_second : 0.04;
    double seconds = stamp == AV_NOPTS_VALUE
                         ? (frames_ ? last_seconds_ + step : 0)
                         : seconds_of(stamp, format_->streams[stream_]->time_base);
    if (!std::isfinite(seconds)) damaged("an absurd time stamp");
    if (frames_ == 0) first_seconds_ = std::min(seconds, 0.0);
    if (++frames_ > request_.max_frames || seconds - first_seconds_ > request_.max_seconds)
      too_long();
    last_seconds_ = seconds;
    to.width = frame.width;
    to.height = frame.height;
    to.seconds = seconds;
    to.turn = info_.turn;
    to.rgb.clear();
  }

  /// The file's own matrix and range; without word of them BT.601, as everywhere in FFmpeg.
  void set_colours(const AVFrame& frame) {
    int *inverse = nullptr, *table = nullptr;
    int from_range = 0, to_range = 0, brightness = 0, contrast = 0, saturation = 0;
    if (sws_getColorspaceDetails(scaler_.get(), &inverse, &from_range, &table, &to_range,
                                 &brightness, &contrast, &saturation) < 0)
      return;
    if (frame.color_range != AVCOL_RANGE_UNSPECIFIED)
      from_range = frame.color_range == AVCOL_RANGE_JPEG ? 1 : 0;
    const int* matrix = sws_getCoefficients(
        frame.colorspace == AVCOL_SPC_UNSPECIFIED ? SWS_CS_DEFAULT : frame.colorspace);
    sws_setColorspaceDetails(scaler_.get(), matrix, from_range, table, to_range, brightness,
                             contrast, saturation);
  }

  std::string name_;
  VideoRequest request_;
  ByteSource source_;
  RawVideoInfo info_;
  Owned<AVIOContext> io_;
  Owned<AVFormatContext> format_;
  Owned<AVCodecContext> codec_;
  Owned<AVPacket> packet_;
  Owned<AVFrame> frame_;
  Owned<SwsContext> scaler_;
  Owned<uint8_t> padded_;
  size_t padded_size_ = 0;
  int stream_ = -1;
  bool drained_ = false;
  bool jumped_ = false;
  int64_t frames_ = 0;
  double first_seconds_ = 0;
  double last_seconds_ = 0;
  double read_until_ = 0;
};

}  // namespace

bool video_codecs_available() { return true; }

std::unique_ptr<FrameDecoder> open_frames(std::span<const uint8_t> bytes, const std::string& name,
                                          const VideoRequest& request) {
  silence_ffmpeg();
  return std::make_unique<Decoder>(bytes, name, request);
}

}  // namespace plait::data
