#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace plait::data {

/// Whether a video file goes as far as its outermost elements say: boxes of MP4 and MOV, RIFF
/// chunks of AVI, the segment of Matroska and WebM, the last byte of a GIF. Lengths that a live
/// writer left open count as whole. `format` is FFmpeg's name of the container.
bool container_is_whole(std::span<const uint8_t> bytes, std::string_view format);

}  // namespace plait::data
