#pragma once

/// For what is inlined into functions that are compiled for one kind of processor each.
#define PLAIT_INLINE inline __attribute__((always_inline))

namespace plait {

/// Kinds of processors that hot loops are compiled for, each able to run what those before it can.
enum class Processor { kAny, kAvx2, kAvx512 };

/// The best kind that this machine has: kAvx2 with FMA, kAvx512 with F, BW, DQ and VL. The
/// environment variable PLAIT_PROCESSOR ("any", "avx2" or "avx512"), read once, asks for a lesser
/// one: the same tests then run over other loops. What the machine cannot run is never chosen.
/// Thread-safe. @throws Error kInvalidArgument for another value of the variable.
Processor processor();

}  // namespace plait
