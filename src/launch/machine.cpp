#include "sherd/launch/machine.hpp"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

namespace sherd::launch {
namespace {

// The number behind `key` in a file of "Key:  123 kB" lines.
Bytes kilobytes(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key + ":", 0) == 0) return std::stoull(line.substr(key.size() + 1)) * kib;
  }
  return 0;
}

// A file that holds one number; nothing if there is none ("max").
std::optional<Bytes> number(const std::string& path) {
  std::ifstream file(path);
  Bytes value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

struct CgroupFiles {
  std::string limit, usage;
};

// Version 2 has one line "0::/path"; version 1 names the memory controller.
std::optional<CgroupFiles> cgroup_files() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto path = line.substr(line.rfind(':') + 1);
    if (line.rfind("0::", 0) == 0) {
      const std::string folder = "/sys/fs/cgroup" + path;
      if (number(folder + "/memory.max"))
        return CgroupFiles{folder + "/memory.max", folder + "/memory.current"};
    }
    if (line.find(":memory:") != std::string::npos) {
      const std::string folder = "/sys/fs/cgroup/memory" + path;
      return CgroupFiles{folder + "/memory.limit_in_bytes", folder + "/memory.usage_in_bytes"};
    }
  }
  return std::nullopt;
}

}  // namespace

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

Bytes free_memory() {
  const Bytes available = kilobytes("/proc/meminfo", "MemAvailable");
  Bytes free = available > 0 ? available : std::numeric_limits<Bytes>::max();
  if (const auto files = cgroup_files()) {
    const auto limit = number(files->limit), usage = number(files->usage);
    if (limit && usage) free = std::min(free, *limit > *usage ? *limit - *usage : 0);
  }
  return free;
}

Bytes resident() { return kilobytes("/proc/self/status", "VmRSS"); }
Bytes peak_resident() { return kilobytes("/proc/self/status", "VmHWM"); }

}  // namespace sherd::launch
