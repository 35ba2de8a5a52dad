#include "sherd/comm/control_block.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "comm/fingerprint.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

constexpr std::uint32_t layout_version = 0x53480002;

[[noreturn]] void refuse(const char* call, int fd) {
  const std::string reason = std::strerror(errno);
  if (fd >= 0) close(fd);
  throw CommError(std::string("control block: ") + call + ": " + reason);
}

ControlBlock* map(int fd) {
  void* at = mmap(nullptr, sizeof(ControlBlock), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) refuse("mmap", fd);
  return static_cast<ControlBlock*>(at);
}

}  // namespace

ControlMapping ControlBlock::create(int world) {
  expects(world >= 1 && world <= max_ranks,
          "ControlBlock::create: got " + std::to_string(world) + " ranks, need 1 to 64");
  const int fd = memfd_create("sherd-control", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) refuse("memfd_create", fd);
  if (ftruncate(fd, sizeof(ControlBlock)) != 0) refuse("ftruncate", fd);
  if (const int code = posix_fallocate(fd, 0, sizeof(ControlBlock)); code != 0) {
    errno = code;
    refuse("fallocate", fd);
  }
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) refuse("seal", fd);
  ControlBlock* block = map(fd);
  block->layout = layout_version;
  block->world = world;
  block->members_taken.store(static_cast<std::uint32_t>(world), std::memory_order_relaxed);
  return {fd, block};
}

ControlMapping ControlBlock::attach(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) refuse("fstat", -1);
  if (status.st_size != static_cast<off_t>(sizeof(ControlBlock))) {
    throw CommError("control block: got " + std::to_string(status.st_size) + " bytes, need " +
                    std::to_string(sizeof(ControlBlock)) + ": another version of sherd?");
  }
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) refuse("fcntl", -1);
  ControlMapping mapping(fd, map(fd));
  const bool known =
      mapping->layout == layout_version && mapping->world >= 1 && mapping->world <= max_ranks;
  if (!known) throw CommError("control block: of another version of sherd, or damaged");
  return mapping;
}

void ControlBlock::note_step(Rank rank, std::int64_t step) noexcept {
  ranks[static_cast<std::size_t>(rank)].step.store(step, std::memory_order_relaxed);
}

bool ControlBlock::fail(int exit_code, std::string_view cause) noexcept {
  const bool won = abort.set(exit_code, cause);
  const std::uint32_t taken = std::min(members_taken.load(std::memory_order_relaxed), max_members);
  for (std::uint32_t member = 0; member < taken; ++member) futex_wake_all(members[member].progress);
  return won;
}

bool ControlBlock::fail(Rank rank, int exit_code, std::string_view what) noexcept {
  // No allocation: memory may be what ran out.
  std::array<char, sizeof(AbortWord::text)> line{};
  std::snprintf(line.data(), line.size(), "rank %d: %.*s", rank, static_cast<int>(what.size()),
                what.data());
  return fail(exit_code, std::string_view(line.data()));
}

std::string ControlBlock::cause(std::string_view otherwise) const {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
  while (!abort.is_set() && std::chrono::steady_clock::now() < until) {
    futex_wait(abort.state, 1, std::chrono::milliseconds(5));
  }
  if (!abort.is_set()) return std::string(otherwise);
  return printable({abort.text.data(), strnlen(abort.text.data(), abort.text.size())});
}

std::optional<std::uint32_t> ControlBlock::take_members(std::uint32_t count) noexcept {
  std::uint32_t first = members_taken.load(std::memory_order_relaxed);
  do {
    if (first > max_members || count > max_members - first) return std::nullopt;
  } while (!members_taken.compare_exchange_weak(first, first + count, std::memory_order_relaxed));
  return first;
}

std::string ControlBlock::call_text(std::uint32_t member, std::int64_t step) const {
  const MemberRecord& record = members[member];
  std::string text = named_call(record) + " (collective " +
                     std::to_string(record.sequence.load(std::memory_order_relaxed));
  if (step > 0) text += ", step " + std::to_string(step);
  return text + ")";
}

std::string ControlBlock::whereabouts(Rank rank) const {
  const std::uint32_t member =
      ranks[static_cast<std::size_t>(rank)].member.load(std::memory_order_relaxed);
  if (member == 0 || member > max_members) return "before its first collective";
  const MemberRecord& record = members[member - 1];
  const bool done = record.completed.load(std::memory_order_relaxed) ==
                    record.sequence.load(std::memory_order_relaxed);
  return (done ? "after " : "in ") + call_text(member - 1);
}

ControlMapping::ControlMapping(ControlMapping&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), block_(std::exchange(other.block_, nullptr)) {}

ControlMapping& ControlMapping::operator=(ControlMapping&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(block_, other.block_);
  return *this;
}

ControlMapping::~ControlMapping() {
  if (block_ != nullptr) munmap(block_, sizeof(ControlBlock));
  if (fd_ >= 0) close(fd_);
}

}  // namespace sherd::comm
