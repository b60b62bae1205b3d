#include "dispatch.h"

#include <cstdlib>
#include <cstring>

namespace yolokkn {
namespace {

Isa detect() noexcept {
#if defined(YOLOKKN_HAVE_AVX2)
  const char* wish = std::getenv("YOLOKKN_ISA");
  const bool held_down = wish != nullptr && std::strcmp(wish, "baseline") == 0;
  if (!held_down && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
      __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")) {
    return Isa::kAvx2;
  }
#endif
  return Isa::kBaseline;
}

}  // namespace

Isa active_isa() noexcept {
  static const Isa isa = detect();
  return isa;
}

const char* isa_name(Isa isa) noexcept { return isa == Isa::kAvx2 ? "avx2" : "baseline"; }

}  // namespace yolokkn
