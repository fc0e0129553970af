#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait {

/// The back ends that would work now, best first, e.g. {"cuda", "cpu"}; each was probed with a
/// small computation.
std::vector<std::string> available_backends();

/// "cpu", "cuda", "cuda:1" → device. @throws Error kUnavailable saying why it cannot be used,
/// kInvalidArgument otherwise.
c10::Device device_from_string(const std::string& name);

/// "float32", "bfloat16", "float16" (also "fp32", "bf16", "fp16").
c10::ScalarType dtype_from_string(const std::string& name);

/// Threads of torch's intra-op pool, the only OpenMP pool in the process; 0 keeps the default.
void set_threads(int threads);
int threads();

/// {"cpu": {"model", "features": [...], "threads"}, "cuda": {"available", "reason", ...}, "torch":
/// "2.13.0"} for `plait doctor`.
Json describe_devices();

}  // namespace plait
