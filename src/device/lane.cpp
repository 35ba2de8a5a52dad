#include "sherd/device/lane.hpp"

#include <pthread.h>

#include <array>
#include <chrono>
#include <string>

#include "sherd/base/errors.hpp"

namespace sherd::device {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto spin = std::chrono::microseconds(20);
constexpr auto slice =
    std::chrono::milliseconds(20);  // how soon a sleeper sees an abort nobody woke it for
constexpr std::uint64_t last = 0;   // the ticket of the entry that ends the thread

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

void Progress::block(std::uint64_t ticket, const AbortWord& abort,
                     const std::function<void()>& watch) const {
  const auto until = Clock::now() + spin;
  while (done() < ticket) {
    if (Clock::now() < until) continue;
    if (watch) watch();  // first: whoever watches ends its own work when the run has ended
    abort.poll();
    const std::uint32_t seen = tick_.load(std::memory_order_acquire);
    if (done() >= ticket) return;
    futex_wait(tick_, seen, slice);
  }
}

LaneWorker::LaneWorker(std::string_view name, Task task, AbortWord& abort, std::string who)
    : task_(std::move(task)), abort_(abort), who_(std::move(who)), ring_(capacity) {
  thread_ = std::thread([this] { serve(); });
  pthread_setname_np(thread_.native_handle(), std::string(name.substr(0, 15)).c_str());
}

LaneWorker::~LaneWorker() {
  push(0, last);  // in the ring like any other, so nothing pushed before it can be lost
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
    const Entry entry = ring_[head % capacity];
    if (entry.ticket == last) return;
    if (!failed_.load(std::memory_order_relaxed)) attempt(entry);
    head_.store(head + 1, std::memory_order_release);
    futex_wake_all(head_);
  }
}

void LaneWorker::attempt(const Entry& entry) noexcept {
  try {
    task_(entry.step, entry.ticket);
  } catch (const std::exception& error) {
    fail(exit_code(error), who_ + error.what());
  } catch (...) {
    fail(1, "a lane's task threw something that is no std::exception");
  }
}

void LaneWorker::fail(int exit_code, std::string_view cause) noexcept {
  failure_ = std::current_exception();
  failed_.store(true, std::memory_order_release);
  abort_.set(exit_code, cause);
}

void rethrow_cause(std::span<LaneWorker* const> workers) {
  std::exception_ptr heard;
  for (LaneWorker* worker : workers) {
    if (worker == nullptr) continue;
    try {
      worker->rethrow();
    } catch (const CommError&) {
      if (!heard) heard = std::current_exception();
    }
  }
  if (heard) std::rethrow_exception(heard);
}

}  // namespace sherd::device
