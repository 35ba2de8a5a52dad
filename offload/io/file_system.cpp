#include "io/file_system.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace sherd::io {
namespace {

struct Kind {
  std::uint32_t magic;  // of statfs(2), in its low 32 bits
  const char* name;
  const char* what;
};
constexpr const char* memory = "memory";
constexpr const char* network = "a network's";
constexpr const char* served = "served by a program";
constexpr std::array kinds = {
    Kind{0x01021994, "tmpfs", memory},     Kind{0x858458f6, "ramfs", memory},
    Kind{0x958458f6, "hugetlbfs", memory}, Kind{0x6969, "nfs", network},
    Kind{0xff534d42, "cifs", network},     Kind{0xfe534d42, "smb2", network},
    Kind{0x517b, "smb", network},          Kind{0x5346414f, "afs", network},
    Kind{0x00c36400, "ceph", network},     Kind{0x0bd00bd0, "lustre", network},
    Kind{0x01021997, "9p", network},       Kind{0x65735546, "fuse", served}};
constexpr std::uint32_t overlay = 0x794c7630;

bool is_direct(const std::string& folder, SystemCalls& system) {
  const int file = system.open_unnamed(folder.c_str());
  if (file < 0) return false;
  const bool direct = system.bypass_cache(file) == 0;
  ::close(file);
  return direct;
}

}  // namespace

std::string unfit_file_system(const std::string& folder, SystemCalls& system) {
  const auto magic = static_cast<std::uint32_t>(system.kind(folder.c_str()));
  const std::string remedy = "; choose a folder on a disk, or allow it with --offload-dir-any";
  const auto* found = std::ranges::find(kinds, magic, &Kind::magic);
  if (found != kinds.end())
    return std::string("is on ") + found->name + ", which is " + found->what + remedy;
  if (magic == overlay && !is_direct(folder, system))
    return "is on overlay, which has no direct transfers here" + remedy;
  return "";
}

}  // namespace sherd::io
