#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace plait::train {

/// Turns autocast on for one device type on this thread and restores what was there; with `on`
/// false it does nothing. Matrix products and convolutions then run in `dtype`, losses and norms in
/// float32, as torch.autocast decides.
class AutocastGuard {
 public:
  AutocastGuard(c10::DeviceType device, c10::ScalarType dtype, bool on);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  c10::DeviceType device_;
  c10::ScalarType previous_dtype_ = c10::ScalarType::Undefined;
  bool on_, previous_ = false;
};

}  // namespace plait::train
