#pragma once
// When each step began and ended, and in which order over all lanes.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "sherd/plan/program.hpp"

namespace sherd::engine {

struct TraceEvent {
  const char* program = "";
  std::uint32_t step = 0;  // index in the program
  plan::Verb verb = plan::Verb::feed;
  std::uint16_t subject = 0;
  plan::Lane lane = plan::Lane::compute;
  std::uint64_t began = 0, ended = 0;              // one counter over all lanes
  std::chrono::nanoseconds start{0}, duration{0};  // since the trace was made
};

/// Optional; recording costs a lock a step. Keeps the first `limit` events.
class Trace {
 public:
  explicit Trace(std::size_t limit = 1'000'000) : limit_(limit) {}
  [[nodiscard]] std::uint64_t tick() { return ticks_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] std::chrono::nanoseconds now() const {
    return std::chrono::steady_clock::now() - zero_;
  }
  void record(const TraceEvent& event) {
    const std::scoped_lock lock(mutex_);
    if (events_.size() < limit_) events_.push_back(event);
  }
  /// Not while a program runs.
  [[nodiscard]] const std::vector<TraceEvent>& events() const { return events_; }

 private:
  std::chrono::steady_clock::time_point zero_ = std::chrono::steady_clock::now();
  std::atomic<std::uint64_t> ticks_{0};
  std::size_t limit_;
  std::mutex mutex_;
  std::vector<TraceEvent> events_;
};

}  // namespace sherd::engine
