#pragma once
// Learning rate by applied updates.
#include <cstdint>

#include "sherd/optim/config.hpp"

namespace sherd::optim {

/// lr for the update that would be number `applied` + 1 of `total` steps: linear warm-up to lr over
/// warmup_steps, then constant; cosine or linear to lr · min_lr_ratio at update number `total`;
/// wsd: constant, then linear over the last fifth. Later updates keep the last value.
///
/// **Source** cosine: Loshchilov & Hutter 2017, §3; wsd: Hu et al. 2024, "MiniCPM", §4.
[[nodiscard]] double learning_rate(const OptimizerConfig& config, std::uint64_t applied,
                                   std::uint64_t total);

/// 1 - beta^(applied + 1), in fp64 by repeated squaring with rounding errors carried along: no
/// libm, the same bits everywhere, right to the last place also where beta is close to 1.
[[nodiscard]] double bias_correction(double beta, std::uint64_t applied);

}  // namespace sherd::optim
