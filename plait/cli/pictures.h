#pragma once
#include <string>
#include <vector>

#include "plait/data/image/text_boxes.h"

namespace plait::cli {

/// Writes the picture of a file with outlines, and their labels if any, as a PNG. @throws Error
/// kIo.
void draw_quads(const std::string& picture, const std::vector<data::Quad>& quads,
                const std::vector<std::string>& labels, const std::string& output);

}  // namespace plait::cli
