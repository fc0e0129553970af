#pragma once
#include <functional>

namespace plait::train {

/// Where `f` is least in [low, high], to `tolerance`; f has one valley there (golden-section
/// search, Kiefer 1953).
double golden_section(const std::function<double(double)>& f, double low, double high,
                      double tolerance);

}  // namespace plait::train
