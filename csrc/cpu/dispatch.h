// Picks the instruction set at run time. Files of csrc/cpu/simd are compiled once per instruction set with
// YOLOKKN_ISA naming the namespace; the op's own file calls the one that active_isa() names.
#pragma once

namespace yolokkn {

enum class Isa { kBaseline, kAvx2 };

// The best instruction set of this CPU that this build has; the environment variable YOLOKKN_ISA=baseline (read once)
// holds it down, so that one machine can test every path.
Isa active_isa() noexcept;

const char* isa_name(Isa isa) noexcept;

}  // namespace yolokkn
