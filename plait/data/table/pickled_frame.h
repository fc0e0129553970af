#pragma once
#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plait/core/weights/pickle.h"

namespace plait::data {

/// The numbers of a pandas.DataFrame.
struct PickledFrame {
  std::vector<std::string> columns;
  at::Tensor values;  ///< [N, columns] float64
};

/// What pickled arrays and frames name, for PickleMachine's `recorded`. Nothing of it is called.
std::span<const std::string_view> pickled_frame_globals();

/// A frame as pandas 0.25 to 1.0 pickle it, of float64 and int64 columns; `where` stands for the
/// value in messages. @throws Error kCorruptData for anything else.
PickledFrame read_frame(const PickleValue& value, const std::string& where);

}  // namespace plait::data
