#include "plait/train/autocast.h"

#include <ATen/autocast_mode.h>

namespace plait::train {

AutocastGuard::AutocastGuard(c10::DeviceType device, c10::ScalarType dtype, bool on)
    : device_(device), on_(on) {
  if (!on_) return;
  previous_ = at::autocast::is_autocast_enabled(device_);
  previous_dtype_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::set_autocast_dtype(device_, dtype);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::increment_nesting();
}

AutocastGuard::~AutocastGuard() {
  if (!on_) return;
  // The cache holds weights in the lower precision; they are stale once the optimizer has moved the
  // originals.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, previous_);
  at::autocast::set_autocast_dtype(device_, previous_dtype_);
}

}  // namespace plait::train
