#pragma once
// The distributions a transformer's first parameters are drawn from.
#include <cmath>
#include <cstdint>

#include "sherd/model/block.hpp"

namespace sherd::model {

inline constexpr Init init_one{1, 0}, init_zero{0, 0}, init_weight{0, 0.02f};

/// Of a projection into the residual stream, which 2·layers branches add to.
/// **Source** Radford et al. 2019, §2.3.
[[nodiscard]] inline Init init_residual(std::int64_t layers) {
  return {0, 0.02f / std::sqrt(2.0f * static_cast<float>(layers))};
}

}  // namespace sherd::model
