#pragma once
// The word every wait re-reads. Lives in memory all ranks share; the first cause wins.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace sherd {

/// Trivially constructible in zeroed shared memory.
struct AbortWord {
  std::atomic<std::uint32_t> state;  // 0 running, 1 being written, 2 set; a futex
  std::int32_t code;                 // exit code of the run
  std::array<char, 504> text;        // the cause, one sentence

  /// Records `cause` unless one is there already; wakes every sleeper. True if this cause won.
  bool set(int exit_code, std::string_view cause) noexcept;
  [[nodiscard]] bool is_set() const noexcept { return state.load(std::memory_order_acquire) == 2; }
  [[nodiscard]] std::string cause() const;
  /// Throws CommError with the cause if set.
  void poll() const;
};
static_assert(sizeof(AbortWord) == 512);

/// Sleeps until `word` is no longer `seen`, at most `slice`; works across processes. Spurious
/// wake-ups happen.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::chrono::nanoseconds slice) noexcept;
void futex_wake_all(std::atomic<std::uint32_t>& word) noexcept;

}  // namespace sherd
