#pragma once
#include "plait/core/processor.h"

/// Loops that are compiled for several kinds of x86-64 processors, of which the best is taken when
/// they are called. A loop is a template `loops::name<kBytes>` that is inlined into its variants,
/// kBytes the width of the processor's registers; loops see finite numbers only (their files are
/// compiled so).
namespace plait::models {

#if defined(__x86_64__)
#define PLAIT_VARIANTS(result, name, parameters, arguments)                                 \
  namespace {                                                                               \
  result name##_any parameters { return loops::name<16> arguments; }                        \
  __attribute__((target("avx2,fma"))) result name##_avx2 parameters {                       \
    return loops::name<32> arguments;                                                       \
  }                                                                                         \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512"))) \
  result name##_avx512 parameters {                                                         \
    return loops::name<64> arguments;                                                       \
  }                                                                                         \
  }                                                                                         \
  result name parameters {                                                                  \
    switch (processor()) {                                                                  \
      case Processor::kAvx512: return name##_avx512 arguments;                              \
      case Processor::kAvx2: return name##_avx2 arguments;                                  \
      default: return name##_any arguments;                                                 \
    }                                                                                       \
  }
#else
#define PLAIT_VARIANTS(result, name, parameters, arguments) \
  result name parameters { return loops::name<16> arguments; }
#endif

}  // namespace plait::models
