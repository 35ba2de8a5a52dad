#include "sherd/launch/machine.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "sherd/base/errors.hpp"

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

struct Cgroup {
  std::string root, path;                     // of the memory controller, and our place below it
  const char *limit, *usage, *inactive_file;  // its files, and a key of memory.stat
};

// Version 2 has one line "0::/path"; version 1 names the memory controller.
std::vector<Cgroup> cgroups() {
  std::vector<Cgroup> found;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto path = line.substr(line.rfind(':') + 1);
    if (line.rfind("0::", 0) == 0)
      found.push_back({"/sys/fs/cgroup", path, "/memory.max", "/memory.current", "inactive_file"});
    if (line.find(":memory:") != std::string::npos)
      found.push_back({"/sys/fs/cgroup/memory", path, "/memory.limit_in_bytes",
                       "/memory.usage_in_bytes", "total_inactive_file"});
  }
  return found;
}

// The value of a "key number" line.
Bytes stat_value(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string name;
  for (Bytes value = 0; file >> name >> value;) {
    if (name == key) return value;
  }
  return 0;
}

// What the tightest group from ours up to the root leaves; cached file pages give way.
Bytes left_by(const Cgroup& group) {
  Bytes least = std::numeric_limits<Bytes>::max();
  for (std::string path = group.path;; path.resize(path.rfind('/'))) {
    const std::string folder = group.root + path;
    const auto limit = number(folder + group.limit), usage = number(folder + group.usage);
    if (limit && usage) {
      const Bytes cached = stat_value(folder + "/memory.stat", group.inactive_file);
      const Bytes held = *usage - std::min(*usage, cached);
      least = std::min(least, *limit - std::min(*limit, held));
    }
    if (path.empty() || path.find('/') == std::string::npos) return least;
  }
}

std::vector<int> numbers_of_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(static_cast<std::size_t>(core), &set)) cores.push_back(core);
  return cores;
}

}  // namespace

int usable_cores() { return static_cast<int>(numbers_of_cores().size()); }

std::vector<int> share_of_cores(Rank rank, int world) {
  const std::vector<int> all = numbers_of_cores();
  const std::size_t ranks = static_cast<std::size_t>(world), at = static_cast<std::size_t>(rank);
  const std::size_t each = std::max<std::size_t>(1, all.size() / ranks), first = at * each;
  if (first + each > all.size()) return {all[at % all.size()]};
  return {all.begin() + static_cast<std::ptrdiff_t>(first),
          all.begin() + static_cast<std::ptrdiff_t>(first + each)};
}

void bind_to(std::span<const int> cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(static_cast<std::size_t>(core), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0)
    throw DeviceError(fmt::format("--pin-threads: {}", std::strerror(errno)));
}

Bytes free_memory() {
  const Bytes available = kilobytes("/proc/meminfo", "MemAvailable");
  Bytes free = available > 0 ? available : std::numeric_limits<Bytes>::max();
  for (const Cgroup& group : cgroups()) free = std::min(free, left_by(group));
  return free;
}

Bytes resident() { return kilobytes("/proc/self/status", "VmRSS"); }
Bytes peak_resident() { return kilobytes("/proc/self/status", "VmHWM"); }

}  // namespace sherd::launch
