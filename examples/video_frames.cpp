// The frames of a video with their times: example_video_frames FILE
#include <ATen/ATen.h>

#include <cstdio>

#include "plait/core/error.h"
#include "plait/data/video/video.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "example_video_frames FILE\n");
    return 2;
  }
  try {
    // [snippet: frames]
    auto reader = plait::data::VideoReader::open(argv[1], {.frames_per_second = 5});
    const plait::data::VideoInfo& info = reader.info();
    std::printf("%s, %ld x %ld, %.1f s\n", info.codec.c_str(), info.width, info.height,
                info.seconds);
    while (auto frame = reader.next()) {
      std::printf("%6.2f s  mean %.1f\n", frame->seconds,
                  frame->pixels.to(at::kFloat).mean().item<double>());
    }
    // [end]
  } catch (const plait::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
