#pragma once
// In place of the device's instruction.
#include "sherd/base/dtype.hpp"

namespace sherd::cuda {

inline float widen_half(std::uint32_t bits) {
  return to_float(float16{static_cast<std::uint16_t>(bits)});
}

}  // namespace sherd::cuda
