#include "comm/nccl_id.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "comm/patience.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

// Two ranks may see the same bytes coming, so no read or write may sleep.
void never_sleep(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0) return;
  throw CommError(std::string("the pipe for the NCCL id is not open: ") + std::strerror(errno));
}

// One whole id through the pipe, by `transfer`; pipes move so few bytes in one piece.
template <class Transfer>
void pass(const NcclSeat& seat, pollfd end, std::span<std::byte> id, const Transfer& transfer) {
  Patience patience(seat.timeout);
  for (;;) {
    seat.control->abort.poll();
    const ssize_t moved = transfer(end.fd, id.data(), id.size());
    if (moved == static_cast<ssize_t>(id.size())) return;
    const bool again = moved < 0 && (errno == EAGAIN || errno == EINTR);
    if (!again) {
      throw CommError("the pipe for the NCCL id " +
                      (moved < 0 ? std::string("failed: ") + std::strerror(errno)
                                 : "gave " + std::to_string(moved) + " bytes, need " +
                                       std::to_string(id.size())));
    }
    if (patience.exhausted()) {
      throw CommError("rank 0 did not send the NCCL id within " + seconds_text(seat.timeout) +
                      ": rank 0 was last seen " + seat.control->whereabouts(0));
    }
    const auto wait = std::min<std::chrono::nanoseconds>(slice, seat.timeout);
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wait).count();
    poll(&end, 1, std::max(static_cast<int>(ms), 1));
  }
}

}  // namespace

void share_id(const NcclSeat& seat, std::span<std::byte> id) {
  const int world = seat.control->world;
  if (world == 1) return;
  if (seat.rank != 0) {
    never_sleep(seat.id_from);
    return pass(seat, {seat.id_from, POLLIN, 0}, id,
                [](int fd, std::byte* at, std::size_t size) { return read(fd, at, size); });
  }
  never_sleep(seat.id_to);
  for (Rank peer = 1; peer < world; ++peer) {
    pass(seat, {seat.id_to, POLLOUT, 0}, id,
         [](int fd, const std::byte* at, std::size_t size) { return write(fd, at, size); });
  }
}

}  // namespace sherd::comm
