#pragma once
// Where in our scratch a library's workspace lies. Pure arithmetic.
#include "sherd/base/view.hpp"

namespace sherd::cuda {

/// Scratch begins at multiples of 64 bytes, cuBLASLt asks for one of 256.
inline constexpr Bytes workspace_alignment = 256;

/// What `scratch` bytes hold wherever they begin, so that choices do not depend on that.
[[nodiscard]] constexpr Bytes workspace_size(Bytes scratch) {
  return scratch - workspace_alignment;
}
[[nodiscard]] inline std::byte* workspace_in(const View& scratch) {
  const auto address = reinterpret_cast<std::uintptr_t>(scratch.data);
  return scratch.data + (round_up(address, workspace_alignment) - address);
}

}  // namespace sherd::cuda
