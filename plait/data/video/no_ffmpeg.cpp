#include "plait/core/error.h"
#include "plait/data/video/codec.h"

namespace plait::data {

bool video_codecs_available() { return false; }

std::unique_ptr<FrameDecoder> open_frames(std::span<const uint8_t>, const std::string& name,
                                          const VideoRequest&) {
  fail(ErrorCode::kUnavailable, "video",
       name + ": expected a build with PLAIT_WITH_MEDIA=ON to decode video, got one without");
}

}  // namespace plait::data
