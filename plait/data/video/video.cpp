#include "plait/data/video/video.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/decode.h"
#include "plait/data/video/codec.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "video";
constexpr size_t kMaxFile = size_t{64} << 30;  // Mapped, not read.

/// The picture as it is shown, on memory of its own.
at::Tensor shown(const RawFrame& frame) {
  at::Tensor out = at::empty({frame.height, frame.width, 3}, at::kByte);
  std::memcpy(out.mutable_data_ptr<uint8_t>(), frame.rgb.data(), frame.rgb.size());
  if (frame.turn.transpose) out = out.transpose(0, 1);
  std::vector<int64_t> mirrored;
  if (frame.turn.mirror_rows) mirrored.push_back(0);
  if (frame.turn.mirror_columns) mirrored.push_back(1);
  if (!mirrored.empty()) out = out.flip(mirrored);
  return out.contiguous();
}

void check_options(const VideoOptions& o) {
  require(std::isfinite(o.frames_per_second) && o.frames_per_second >= 0, kUnit,
          "expected frames_per_second of 0 or above");
  require(o.max_pixels > 0 && o.max_frames > 0 && o.max_seconds > 0 && o.timeout_seconds > 0, kUnit,
          "expected positive limits");
  require(o.threads >= 1 && o.threads <= 64, kUnit, "expected 1 to 64 threads");
}

/// uint8 [T, H, W, 3] of frames as users hand them over.
at::Tensor check_frames(const at::Tensor& frames, const std::string& where,
                        const VideoOptions& options) {
  bool bytes = frames.scalar_type() == at::kByte && frames.dim() == 4 && frames.size(3) == 3;
  bool floats = frames.is_floating_point() && frames.dim() == 4 && frames.size(1) == 3;
  if ((!bytes && !floats) || frames.numel() == 0) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": expected frames as uint8 [T, H, W, 3] or float [T, 3, H, W], got " +
             describe(frames));
  }
  int64_t height = frames.size(bytes ? 1 : 2), width = frames.size(bytes ? 2 : 3);
  if (frames.size(0) > options.max_frames || height > options.max_pixels / width) {
    fail(ErrorCode::kResourceLimit, kUnit,
         where + ": expected at most " + std::to_string(options.max_frames) + " frames of " +
             std::to_string(options.max_pixels) + " pixels, got " + describe(frames));
  }
  if (bytes) return frames.to(at::kCPU).contiguous();
  at::Tensor values = frames.to(at::kCPU, at::kFloat);
  if (!((values >= 0) & (values <= 1)).all().item<bool>()) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": expected float frames in [0, 1], got others");
  }
  return (values * 255).round().to(at::kByte).permute({0, 2, 3, 1}).contiguous();
}

/// Calls `use` with a reader of a file or of bytes.
template <class F>
auto with_reader(const Value& value, const std::string& where, const VideoOptions& options,
                 F&& use) {
  if (auto* bytes = std::get_if<Bytes>(&value)) {
    VideoReader reader = VideoReader::from_view(bytes->bytes, where, options);
    return use(reader);
  }
  NamedFile file = open_value(value, where, kMaxFile);
  VideoReader reader = VideoReader::from_view(file.bytes, file.name, options);
  return use(reader);
}

[[noreturn]] void no_frames(const std::string& where) {
  fail(ErrorCode::kCorruptData, kUnit,
       where + ": expected a video with frames, got none that decode");
}

/// The numbers of the frames that stand for `count` equal parts of `total`.
std::vector<int64_t> middles(int64_t total, int64_t count) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < count; ++i) out.push_back((2 * i + 1) * total / (2 * count));
  return out;
}

}  // namespace

struct VideoReader::State {
  VideoOptions options;
  VideoInfo info;
  std::string name;
  std::string owned;
  std::shared_ptr<const MappedFile> file;
  std::unique_ptr<FrameDecoder> decoder;
  RawFrame frame;
  std::optional<double> first;  ///< Time of the first frame, from which ticks count
  double tick = 0;              ///< Number of the next tick
  double from = -std::numeric_limits<double>::infinity();  ///< Earlier frames are left out

  void start(std::string_view bytes, const std::string& called) {
    check_options(options);
    name = called;
    VideoRequest request{options.max_pixels, options.max_frames, options.max_seconds,
                         options.timeout_seconds, static_cast<int>(options.threads)};
    decoder =
        open_frames({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, name, request);
    const RawVideoInfo& raw = decoder->info();
    info = {raw.width, raw.height, raw.seconds, raw.frames_per_second, raw.frames, raw.codec};
    if (raw.turn.transpose) std::swap(info.width, info.height);
  }

  /// The next frame that is given out, not converted yet.
  bool advance() {
    while (decoder->next(frame)) {
      if (frame.seconds < from - 1e-9) continue;
      if (!first) first = frame.seconds;
      if (options.frames_per_second > 0) {
        double position = (frame.seconds - *first) * options.frames_per_second;
        if (position < tick - 1e-6) continue;
        tick = std::floor(position + 1e-6) + 1;
      }
      return true;
    }
    return false;
  }
};

VideoReader::VideoReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
VideoReader::~VideoReader() = default;
VideoReader::VideoReader(VideoReader&&) noexcept = default;
VideoReader& VideoReader::operator=(VideoReader&&) noexcept = default;

VideoReader VideoReader::open(const std::string& path, const VideoOptions& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  state->file = MappedFile::open(path);
  auto bytes = state->file->bytes();
  state->start({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  return VideoReader(std::move(state));
}

VideoReader VideoReader::from_bytes(std::string bytes, const std::string& name,
                                    const VideoOptions& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  state->owned = std::move(bytes);
  state->start(state->owned, name);
  return VideoReader(std::move(state));
}

VideoReader VideoReader::from_view(std::string_view bytes, const std::string& name,
                                   const VideoOptions& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  state->start(bytes, name);
  return VideoReader(std::move(state));
}

const VideoInfo& VideoReader::info() const { return state_->info; }
const std::string& VideoReader::name() const { return state_->name; }

std::optional<VideoFrame> VideoReader::next() {
  if (!state_->advance()) return std::nullopt;
  state_->decoder->convert(state_->frame);
  return VideoFrame{shown(state_->frame), state_->frame.seconds};
}

std::optional<double> VideoReader::skip() {
  if (!state_->advance()) return std::nullopt;
  return state_->frame.seconds;
}

void VideoReader::seek(double seconds) {
  require(std::isfinite(seconds), kUnit, "expected a finite time to go to");
  state_->decoder->seek(seconds);
  state_->from = seconds;
  state_->first.reset();
  state_->tick = 0;
}

namespace {

std::optional<VideoFrame> next_prepared(VideoReader& reader, const PrepareFrame& prepare) {
  std::optional<VideoFrame> frame = reader.next();
  if (frame && prepare) frame->pixels = prepare(frame->pixels);
  return frame;
}

}  // namespace

std::vector<VideoFrame> sample_frames(VideoReader& reader, int64_t count,
                                      const PrepareFrame& prepare) {
  require(count >= 1, kUnit, "expected a count of at least 1");
  const VideoInfo& info = reader.info();
  // Headers are believed first and checked by decoding; a wrong one costs a second pass.
  int64_t total = info.frames;
  if (total < 1) {
    double guess = std::round(info.seconds * info.frames_per_second);
    total = guess >= 1 && guess < 1e9 ? static_cast<int64_t>(guess) : 0;
  }
  for (int pass = 0; pass < 3; ++pass) {
    std::vector<VideoFrame> out;
    int64_t at = 0;
    bool ended = false;
    for (int64_t wanted : total > 0 ? middles(total, count) : std::vector<int64_t>{}) {
      if (!out.empty() && wanted == at - 1) {
        out.push_back(out.back());
        continue;
      }
      while (at < wanted && !(ended = !reader.skip())) ++at;
      std::optional<VideoFrame> frame;
      if (!ended) frame = next_prepared(reader, prepare);
      if (!frame) {
        ended = true;
        break;
      }
      ++at;
      out.push_back(std::move(*frame));
    }
    while (!ended && reader.skip()) ++at;
    if (at == 0) no_frames(reader.name());
    if (at == total) return out;
    total = at;
    reader.seek(-1e9);
  }
  fail(ErrorCode::kCorruptData, kUnit,
       reader.name() + ": expected as many frames on every reading, got different numbers");
}

std::vector<VideoFrame> sample_video_value(const Value& value, const std::string& where,
                                           int64_t count, const VideoOptions& options,
                                           const PrepareFrame& prepare) {
  require(count >= 1, kUnit, "expected a count of at least 1");
  std::vector<VideoFrame> out;
  if (auto* tensor = std::get_if<at::Tensor>(&value)) {
    at::Tensor frames = check_frames(*tensor, where, options);
    for (int64_t i : middles(frames.size(0), count))
      out.push_back({prepare ? prepare(frames[i]) : frames[i], static_cast<double>(i)});
    return out;
  }
  with_reader(value, where, options,
              [&](VideoReader& reader) { out = sample_frames(reader, count, prepare); });
  return out;
}

std::vector<VideoFrame> first_video_frames(const Value& value, const std::string& where,
                                           int64_t count, const VideoOptions& options,
                                           const PrepareFrame& prepare) {
  require(count >= 1, kUnit, "expected a count of at least 1");
  std::vector<VideoFrame> out;
  if (auto* tensor = std::get_if<at::Tensor>(&value)) {
    at::Tensor frames = check_frames(*tensor, where, options);
    for (int64_t i = 0; i < std::min(count, frames.size(0)); ++i)
      out.push_back({prepare ? prepare(frames[i]) : frames[i], static_cast<double>(i)});
    return out;
  }
  with_reader(value, where, options, [&](VideoReader& reader) {
    while (static_cast<int64_t>(out.size()) < count) {
      std::optional<VideoFrame> frame = next_prepared(reader, prepare);
      if (!frame) break;
      out.push_back(std::move(*frame));
    }
    if (out.empty()) no_frames(where);
  });
  return out;
}

Value check_video_value(const Value& value, const std::string& where, const VideoOptions& options) {
  if (auto* tensor = std::get_if<at::Tensor>(&value)) return check_frames(*tensor, where, options);
  with_reader(value, where, options, [](VideoReader& reader) { return reader.info().frames; });
  return value;
}

}  // namespace plait::data
