#pragma once

/// Loops that are compiled for several kinds of x86-64 processors, of which the best is taken when
/// they are called. A loop is a template `loops::name<kBytes>` that is inlined into its variants,
/// kBytes the width of the processor's registers; loops see finite numbers only (their files are
/// compiled so).
namespace plait::models {

#define PLAIT_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__)
/// 0: any, 1: AVX2, 2: AVX-512.
inline int processor_kind() {
  static const int kKind = [] {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return avx2 && avx512 ? 2 : avx2 ? 1 : 0;
  }();
  return kKind;
}

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
    switch (processor_kind()) {                                                             \
      case 2: return name##_avx512 arguments;                                               \
      case 1: return name##_avx2 arguments;                                                 \
      default: return name##_any arguments;                                                 \
    }                                                                                       \
  }
#else
#define PLAIT_VARIANTS(result, name, parameters, arguments) \
  result name parameters { return loops::name<16> arguments; }
#endif

}  // namespace plait::models
