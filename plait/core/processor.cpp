#include "plait/core/processor.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "plait/core/error.h"

namespace plait {
namespace {

Processor best() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Processor::kAny;
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return wide ? Processor::kAvx512 : Processor::kAvx2;
#else
  return Processor::kAny;
#endif
}

Processor asked() {
  const char* value = std::getenv("PLAIT_PROCESSOR");
  const std::string name = value ? value : "";
  if (name.empty() || name == "avx512") return Processor::kAvx512;
  if (name == "avx2") return Processor::kAvx2;
  if (name == "any") return Processor::kAny;
  fail(ErrorCode::kInvalidArgument, "processor",
       "expected any, avx2 or avx512 in PLAIT_PROCESSOR, got \"" + name + "\"");
}

}  // namespace

Processor processor() {
  static const Processor kProcessor = std::min(best(), asked());
  return kProcessor;
}

}  // namespace plait
