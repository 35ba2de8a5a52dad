#include "cli/resolved.hpp"

#include <cstdlib>

#include "sherd/launch/devices.hpp"

namespace sherd::cli {

launch::Validated resolved(const launch::RunConfig& config, launch::Purpose purpose) {
  const char* library = std::getenv("SHERD_DEVICE_LIBRARY");
  return launch::resolve(
      config, purpose,
      launch::find_devices(config.ranks.device, library == nullptr ? "" : library));
}

}  // namespace sherd::cli
