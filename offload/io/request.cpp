#include "io/request.hpp"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

constexpr int patience = 1000;

void expect_blocks(Bytes offset, const std::byte* data, std::size_t bytes) {
  const bool whole = offset % direct_block == 0 && bytes % direct_block == 0 &&
                     reinterpret_cast<std::uintptr_t>(data) % direct_block == 0;
  expects(whole, "transfer: got an offset, size or address within a block, need whole blocks");
}

}  // namespace

Job reading(Bytes offset, std::span<std::byte> into, Passing* passing) {
  expect_blocks(offset, into.data(), into.size());
  return {Direction::read, offset, into.data(), into.size(), passing};
}

Job writing(Bytes offset, std::span<const std::byte> from, Passing* passing) {
  expect_blocks(offset, from.data(), from.size());
  return {Direction::write, offset, const_cast<std::byte*>(from.data()), from.size(), passing};
}

Request request_of(const Job& job, std::size_t part) {
  const std::size_t first = part * transfer_part;
  return {job.data + first, job.offset + first, std::min(transfer_part, job.bytes - first), part};
}

Failure failure_of(Direction direction, const Request& request, int answer) {
  return {direction, request.offset, request.bytes, answer < 0 ? -answer : 0};
}

Progress advance(Request& request, int answer) {
  const bool waits = answer == -EINTR || answer == -EAGAIN;
  if (answer == 0 || (answer < 0 && !waits)) return Progress::failed;
  const std::size_t moved = waits ? 0 : std::min(static_cast<std::size_t>(answer), request.bytes);
  if (moved == request.bytes) return Progress::done;
  // The rest must begin with a block, so one that came in part is asked for again.
  const std::size_t kept = moved - moved % direct_block;
  if (kept == 0) {
    if (++request.tries > patience) return Progress::failed;
    ::sched_yield();
    return Progress::again;
  }
  request.data += kept;
  request.offset += kept;
  request.bytes -= kept;
  request.tries = 0;
  return Progress::again;
}

void throw_failure(const Failure& failure) {
  const std::string verb = failure.direction == Direction::read ? "read" : "written";
  const std::string why = failure.error != 0 ? std::strerror(failure.error)
                                             : "fewer than the " + std::to_string(failure.bytes) +
                                                   " bytes asked for were moved";
  throw DeviceError("cannot be " + verb + " at byte " + std::to_string(failure.offset) + " (" +
                    why + ")");
}

}  // namespace sherd::io
