#include "sherd/memory/arena.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "sherd/base/errors.hpp"

namespace sherd {
namespace {

using memory::Arena;

class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("arena_test", MFD_CLOEXEC)) { REQUIRE(fd_ >= 0); }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

bool zeroed(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// Pages of the arena in memory right now.
std::size_t resident(std::span<std::byte> bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((bytes.size() + page - 1) / page);
  REQUIRE(mincore(bytes.data(), bytes.size(), pages.data()) == 0);
  return static_cast<std::size_t>(
      std::count_if(pages.begin(), pages.end(), [](unsigned char p) { return (p & 1) != 0; }));
}

}  // namespace

TEST_CASE("an arena is zeroed, resident, page aligned and exactly as large as asked") {
  const MemoryFile file;
  for (const bool shared : {false, true}) {
    const Bytes size = 1 * mib + 5;
    const Arena arena = shared ? Arena::shared(file.fd(), size) : Arena::anonymous(size);
    CHECK(arena.bytes().size() == size);
    CHECK(reinterpret_cast<std::uintptr_t>(arena.bytes().data()) % 4096 == 0);
    CHECK(resident(arena.bytes()) == 257);
    CHECK(zeroed(arena.bytes()));
  }
}

TEST_CASE("bytes written to a shared arena are seen through its file, and the other way") {
  const MemoryFile file;
  const Arena arena = Arena::shared(file.fd(), 8192);
  arena.bytes()[5000] = std::byte{7};
  std::byte seen{};
  REQUIRE(pread(file.fd(), &seen, 1, 5000) == 1);
  CHECK(seen == std::byte{7});
  const std::byte other{9};
  REQUIRE(pwrite(file.fd(), &other, 1, 8191) == 1);
  CHECK(arena.bytes()[8191] == std::byte{9});
}

TEST_CASE("an arena of nothing is empty") {
  const MemoryFile file;
  CHECK(Arena::anonymous(0).bytes().empty());
  CHECK(Arena::shared(file.fd(), 0).bytes().empty());
  CHECK(Arena().bytes().empty());
}

TEST_CASE("a moved arena keeps its bytes and the source is empty") {
  Arena from = Arena::anonymous(4096);
  from.bytes()[1] = std::byte{3};
  const std::byte* at = from.bytes().data();
  Arena to(std::move(from));
  CHECK(to.bytes().data() == at);
  CHECK(from.bytes().empty());
  Arena last;
  last = std::move(to);
  CHECK(last.bytes()[1] == std::byte{3});
}

TEST_CASE("memory the machine refuses is a capacity error that names the size") {
  const MemoryFile file;
  CHECK_THROWS_AS((void)Arena::anonymous(Bytes{1} << 62), CapacityError);
  CHECK_THROWS_AS((void)Arena::shared(file.fd(), Bytes{1} << 63), CapacityError);
  try {
    (void)Arena::anonymous(Bytes{1} << 62);
  } catch (const CapacityError& error) {
    CHECK(std::string(error.what()).find(format_bytes(Bytes{1} << 62)) != std::string::npos);
  }
}

}  // namespace sherd
