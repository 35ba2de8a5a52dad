#include "sherd/device/lane.hpp"

#include <pthread.h>

#include <array>
#include <chrono>
#include <string>

namespace sherd::device {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto spin = std::chrono::microseconds(20);
constexpr auto slice =
    std::chrono::milliseconds(20);  // how soon a sleeper sees an abort nobody woke it for

}  // namespace

std::string_view name_of(Lane lane) {
  constexpr std::array<std::string_view, lanes> names = {"compute", "net",  "down",
                                                         "up",      "disk", "host"};
  return names[static_cast<std::size_t>(lane)];
}

void Progress::finish(std::uint64_t ticket) noexcept {
  done_.store(ticket, std::memory_order_release);
  tick_.fetch_add(1, std::memory_order_release);
  futex_wake_all(tick_);
}

void Progress::block(std::uint64_t ticket, const AbortWord& abort) const {
  const auto until = Clock::now() + spin;
  while (done() < ticket) {
    if (Clock::now() < until) continue;
    abort.poll();
    const std::uint32_t seen = tick_.load(std::memory_order_acquire);
    if (done() >= ticket) return;
    futex_wait(tick_, seen, slice);
  }
}

LaneWorker::LaneWorker(std::string_view name, Task task, AbortWord& abort)
    : task_(std::move(task)), abort_(abort), ring_(capacity) {
  thread_ = std::thread([this] { serve(); });
  pthread_setname_np(thread_.native_handle(), std::string(name.substr(0, 15)).c_str());
}

LaneWorker::~LaneWorker() {
  stop_.store(true, std::memory_order_release);
  tail_.fetch_add(1, std::memory_order_release);  // a last entry, never read, wakes the sleeper
  futex_wake_all(tail_);
  thread_.join();
}

void LaneWorker::push(std::uint32_t step, std::uint64_t ticket) {
  const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
  for (std::uint32_t head = head_.load(std::memory_order_acquire); tail - head >= capacity;
       head = head_.load(std::memory_order_acquire)) {
    futex_wait(head_, head, slice);
  }
  ring_[tail % capacity] = {step, ticket};
  tail_.store(tail + 1, std::memory_order_release);
  futex_wake_all(tail_);
}

void LaneWorker::rethrow() {
  if (failed()) std::rethrow_exception(failure_);
}

void LaneWorker::serve() {
  for (;;) {
    const std::uint32_t head = head_.load(std::memory_order_relaxed);
    std::uint32_t tail = tail_.load(std::memory_order_acquire);
    while (tail == head) {
      futex_wait(tail_, tail, slice);
      tail = tail_.load(std::memory_order_acquire);
    }
    if (stop_.load(std::memory_order_acquire) && tail - head == 1) return;
    const Entry entry = ring_[head % capacity];
    if (!failed_.load(std::memory_order_relaxed)) {
      try {
        task_(entry.step, entry.ticket);
      } catch (const std::exception& error) {
        failure_ = std::current_exception();
        abort_.set(5, error.what());
        failed_.store(true, std::memory_order_release);
      }
    }
    head_.store(head + 1, std::memory_order_release);
    futex_wake_all(head_);
  }
}

}  // namespace sherd::device
