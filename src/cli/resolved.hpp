#pragma once
// Flags become a run: the devices that `--device` allows are looked for, and `auto` is chosen.
#include "sherd/launch/run_config.hpp"

namespace sherd::cli {

/// Reads SHERD_DEVICE_LIBRARY: a device library to use instead of the one beside this program.
[[nodiscard]] launch::Validated resolved(const launch::RunConfig& config, launch::Purpose purpose);

}  // namespace sherd::cli
