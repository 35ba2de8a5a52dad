#pragma once
// In-order queues of a program. Compute is the calling thread; any other lane is one worker thread,
// or inline.
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "sherd/base/abort.hpp"

namespace sherd::device {

enum class Lane : std::uint8_t { compute, net, down, up, disk, host };
inline constexpr int lanes = 6;
[[nodiscard]] std::string_view name_of(Lane lane);

/// Counts what a lane has finished. Tickets start at 1 and grow by one.
class Progress {
 public:
  void finish(std::uint64_t ticket) noexcept;
  /// Returns once `ticket` is finished; `watch` is called meanwhile, and may throw.
  /// **Errors** CommError when `abort` is set meanwhile.
  void block(std::uint64_t ticket, const AbortWord& abort,
             const std::function<void()>& watch = {}) const;
  [[nodiscard]] std::uint64_t done() const { return done_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::uint64_t> done_{0};
  mutable std::atomic<std::uint32_t> tick_{0};  // futex beside the counter
};

/// One worker thread that takes tasks in order from a bounded ring. Tasks are plain indices.
///
/// **Order** the destructor runs what was pushed before it joins.
/// **Errors** the first exception of a task sets `abort` with its exit code and `who` before its
/// text, is kept, and is rethrown by `rethrow`; later tasks are dropped, and who waits for them
/// learns it from `abort`.
class LaneWorker {
 public:
  using Task = std::function<void(std::uint32_t step, std::uint64_t ticket)>;
  LaneWorker(std::string_view name, Task task, AbortWord& abort, std::string who = {});
  ~LaneWorker();
  LaneWorker(const LaneWorker&) = delete;
  LaneWorker& operator=(const LaneWorker&) = delete;

  /// Blocks while the ring is full. Tickets start at 1.
  void push(std::uint32_t step, std::uint64_t ticket);
  void rethrow();
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_acquire); }

 private:
  struct Entry {
    std::uint32_t step;
    std::uint64_t ticket;
  };
  void serve();
  void attempt(const Entry& entry) noexcept;
  void fail(int exit_code, std::string_view cause) noexcept;

  static constexpr std::uint32_t capacity = 1024;
  Task task_;
  AbortWord& abort_;
  std::string who_;
  std::vector<Entry> ring_;
  std::atomic<std::uint32_t> head_{0}, tail_{0};  // taken, pushed
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
  std::thread thread_;
};

/// Rethrows what one of the workers threw by itself; failing that, a CommError, which most likely
/// is of the abort that another's failure caused. Those that are null are passed over.
void rethrow_cause(std::span<LaneWorker* const> workers);

}  // namespace sherd::device
