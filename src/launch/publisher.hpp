#pragma once
// Rank 0's watch over saves: waits for every rank's report, then publishes or removes the draft.
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "sherd/launch/saving.hpp"

namespace sherd::launch {

using Clock = std::chrono::steady_clock;

/// Waits by looking, as long as some rank's file still grows; the end of the run ends it too.
class Patience {
 public:
  Patience(const comm::ControlBlock& control, std::string what)
      : control_(control), what_(std::move(what)) {}

  /// **Errors** CommError when the run has ended; DeviceError when nothing was written for long.
  template <class Condition>
  void until(Condition&& holds) const {
    Clock::time_point end = Clock::now() + limit;
    std::uint64_t seen = written();
    while (!holds()) {
      control_.abort.poll();
      if (const std::uint64_t now = written(); now != seen) {
        seen = now;
        end = Clock::now() + limit;
      }
      if (Clock::now() > end) throw_late();
      std::this_thread::sleep_for(look);
    }
  }

 private:
  [[nodiscard]] std::uint64_t written() const;
  [[noreturn]] void throw_late() const;
  static constexpr std::chrono::minutes limit{30};
  static constexpr std::chrono::milliseconds look{1};
  const comm::ControlBlock& control_;
  std::string what_;
};

/// The first rank whose part of a save fails says so; the others' cause is the same.
void warn_of_save(comm::ControlBlock& control, std::uint64_t attempt, const std::string& problem);

class Saving::Publisher {
 public:
  struct Expected {
    std::uint64_t attempt = 0;
    std::string draft;
    checkpoint::Manifest manifest;
    double stall = 0;
    Clock::time_point copied;
  };
  Publisher(comm::ControlBlock& control, checkpoint::Store& store, std::int64_t keep);
  ~Publisher();

  void expect(Expected save);
  [[nodiscard]] std::optional<Saved> news();

 private:
  void serve();
  [[nodiscard]] bool await_reports(const Expected& save);
  [[nodiscard]] bool ending();
  [[nodiscard]] bool all_good(const Expected& save) const;
  void publish(const Expected& save);

  comm::ControlBlock& control_;
  checkpoint::Store& store_;
  std::size_t keep_;
  std::mutex mutex_;
  std::condition_variable news_;
  std::optional<Expected> expected_;
  std::deque<Saved> saved_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace sherd::launch
