#pragma once
#include <string>
#include <vector>

namespace plait::models {

/// The 80 kinds of things that COCO (Lin et al. 2014, arXiv 1405.0312) marks with boxes, in the
/// order of published detectors.
const std::vector<std::string>& coco_classes();

}  // namespace plait::models
