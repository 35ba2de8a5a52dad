#pragma once
// Separate random bits for each use inside a block.
#include "sherd/base/philox.hpp"

namespace sherd::model {

/// `from` with one more index in its path.
[[nodiscard]] constexpr Philox substream(Philox from, std::uint64_t index) {
  return {from.key, mix(from.stream ^ index)};
}

}  // namespace sherd::model
