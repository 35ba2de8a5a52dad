#pragma once
// Which devices this machine has, asked only when `--device` allows one.
#include "sherd/launch/run_config.hpp"

namespace sherd::launch {

/// Looks for CUDA devices unless `device` says cpu. Nothing is loaded where there is no driver, so
/// such a run pays nothing.
///
/// `library`: the device library to use instead of the one beside this program; its driver is then
/// its own business.
[[nodiscard]] Devices find_devices(std::string_view device, std::string_view library = {});

}  // namespace sherd::launch
