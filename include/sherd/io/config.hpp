#pragma once
// Where the file tier lives, and how bytes get there.
#include <cstdint>
#include <string>

#include "sherd/base/units.hpp"

namespace sherd::io {

enum class IoEngine : std::uint8_t { automatic, uring, threads };
struct FileTierConfig {
  std::string offload_dir;                   // of the file tier; needed where something is in it
  bool offload_dir_any = false;              // even where it is memory or a network's
  IoEngine io_engine = IoEngine::automatic;  // automatic: io_uring where the machine grants it
  Bytes file_limit = 0;                      // all ranks together; 0: what is free
};

}  // namespace sherd::io
