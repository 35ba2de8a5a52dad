#include "sherd/base/abort.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <ctime>

#include "sherd/base/errors.hpp"

namespace sherd {

bool AbortWord::set(int exit_code, std::string_view cause) noexcept {
  std::uint32_t running = 0;
  if (!state.compare_exchange_strong(running, 1, std::memory_order_acq_rel)) return false;
  code = exit_code;
  const std::size_t length = std::min(cause.size(), text.size() - 1);
  std::memcpy(text.data(), cause.data(), length);
  text[length] = '\0';
  state.store(2, std::memory_order_release);
  futex_wake_all(state);
  return true;
}

std::string AbortWord::cause() const { return is_set() ? std::string(text.data()) : std::string(); }

void AbortWord::poll() const {
  if (is_set()) throw CommError(cause());
}

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::chrono::nanoseconds slice) noexcept {
  timespec limit{};
  limit.tv_sec = static_cast<time_t>(slice.count() / 1'000'000'000);
  limit.tv_nsec = static_cast<long>(slice.count() % 1'000'000'000);
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &limit, nullptr, 0);
}

void futex_wake_all(std::atomic<std::uint32_t>& word) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace sherd
