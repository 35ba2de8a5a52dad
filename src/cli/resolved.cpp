#include "cli/resolved.hpp"

#include <cstdlib>
#include <utility>

#include "sherd/base/log.hpp"
#include "sherd/launch/devices.hpp"
#include "sherd/launch/rank_environment.hpp"

namespace sherd::cli {

launch::Validated resolved(const launch::RunConfig& config, launch::Purpose purpose) {
  const char* library = std::getenv("SHERD_DEVICE_LIBRARY");
  launch::Devices devices =
      launch::find_devices(config.ranks.device, library == nullptr ? "" : library);
  // Who has a GPU must learn why it is not used; once, not from every rank.
  const bool expected = config.ranks.device == "auto" && devices.has_driver && devices.count == 0;
  if (expected && std::getenv(launch::rank_variable) == nullptr)
    log::warn("--device auto takes the CPU, as no GPU works: " + devices.why_none);
  return launch::resolve(config, purpose, std::move(devices));
}

}  // namespace sherd::cli
