// video_stream OUTPUT.json FILE: frames a second of the streaming video encoder at its default
// size, on 1 and 2 threads in turn, seven rounds; and of the whole way from FILE (decode, resize,
// normalise, encode). `measure.py` makes the file and runs this.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>

#include "plait/core/parallel.h"
#include "plait/data/video/video_processor.h"
#include "plait/models/encoders/temporal_video.h"

namespace plait::bench {
namespace {

constexpr int64_t kSide = 112, kFrames = 60;
constexpr int kRounds = 7, kThreads[] = {1, 2};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Json summary(std::vector<double> rates) {
  std::sort(rates.begin(), rates.end());
  return Json::object({{"median", rates[rates.size() / 2]}, {"best", rates.back()}});
}

double push_all(models::VideoStream& stream, const at::Tensor& frames) {
  auto start = std::chrono::steady_clock::now();
  for (int64_t t = 0; t < frames.size(0); ++t) stream.push(frames.narrow(0, t, 1));
  return static_cast<double>(frames.size(0)) / seconds_since(start);
}

/// Frames a second from the file to tokens.
double follow(const std::shared_ptr<models::TemporalVideo>& model, const std::string& file,
              int threads) {
  data::VideoOptions options;
  options.threads = threads;
  data::VideoProcessorConfig config;
  data::ImageProcessor prepare(config.frame());
  auto start = std::chrono::steady_clock::now();
  auto reader = data::VideoReader::open(file, options);
  models::VideoStream stream(model);
  while (auto frame = reader.next())
    stream.push(prepare.normalise(prepare.resize(frame->pixels)).unsqueeze(0));
  return static_cast<double>(stream.frames()) / seconds_since(start);
}

/// Frames a second of reading alone.
double read(const std::string& file, int threads, data::VideoInfo& info) {
  data::VideoOptions options;
  options.threads = threads;
  auto start = std::chrono::steady_clock::now();
  auto reader = data::VideoReader::open(file, options);
  info = reader.info();
  double frames = 0;
  while (reader.next()) ++frames;
  return frames / seconds_since(start);
}

int run(const std::string& output, const std::string& file) {
  at::NoGradGuard no_grad;
  auto model = std::make_shared<models::TemporalVideo>(models::TemporalVideo::Config{});
  model->initialize(1);
  at::Tensor frames = at::randn({kFrames, 3, kSide, kSide});
  data::VideoInfo info;
  std::map<int, std::array<std::vector<double>, 3>> rates;
  for (int round = 0; round < kRounds; ++round) {
    for (int threads : kThreads) {
      at::set_num_threads(threads);
      models::VideoStream stream(model);
      push_all(stream, frames.narrow(0, 0, 40));  // The window is full from here on.
      rates[threads][0].push_back(push_all(stream, frames));
      rates[threads][1].push_back(read(file, threads, info));
      rates[threads][2].push_back(follow(model, file, threads));
    }
  }
  Json rows = Json::array();
  for (int threads : kThreads) {
    rows.push_back(Json::object({{"threads", threads},
                                 {"encode", summary(rates[threads][0])},
                                 {"read", summary(rates[threads][1])},
                                 {"read_resize_encode", summary(rates[threads][2])}}));
  }
  Json result = Json::object({{"side", kSide},
                              {"parameters", model->parameter_count()},
                              {"rounds", kRounds},
                              {"unit", "frames a second"},
                              {"file", Json::object({{"codec", info.codec},
                                                     {"width", info.width},
                                                     {"height", info.height},
                                                     {"frames", info.frames}})},
                              {"results", rows}});
  result.write(output);
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace plait::bench

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "video_stream OUTPUT.json FILE\n");
    return 2;
  }
  try {
    return plait::bench::run(argv[1], argv[2]);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
