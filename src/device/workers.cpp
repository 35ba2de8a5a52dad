#include "sherd/device/workers.hpp"

#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <cstring>
#include <string>

#include "sherd/base/errors.hpp"

namespace sherd::device {
namespace {

// Long enough to catch the next kernel of a step, short enough to leave an oversubscribed core
// alone.
constexpr auto spin = std::chrono::microseconds(30);

template <class Word, class Value>
void wait_change(const Word& word, Value seen) {
  const auto until = std::chrono::steady_clock::now() + spin;
  while (word.load(std::memory_order_acquire) == seen) {
    if (std::chrono::steady_clock::now() > until) {
      word.wait(seen, std::memory_order_acquire);
      return;
    }
  }
}

}  // namespace

Workers::Workers(int threads, std::span<const int> cores) {
  expects(threads >= 1 && threads <= 1024, "Workers: got threads out of range, need 1 to 1024");
  try {
    for (int worker = 1; worker < threads; ++worker) start(worker, cores);
  } catch (...) {  // the machine has no thread left; those there must end before they are gone
    stop();
    throw;
  }
}

Workers::~Workers() { stop(); }

void Workers::start(int worker, std::span<const int> cores) {
  helpers_.emplace_back([this, worker] { serve(worker); });
  if (cores.empty()) return;
  const int core = cores[static_cast<std::size_t>(worker) % cores.size()];
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(core), &set);
  const int refused = pthread_setaffinity_np(helpers_.back().native_handle(), sizeof set, &set);
  if (refused != 0)
    throw DeviceError("a thread cannot run on core " + std::to_string(core) + ": " +
                      std::strerror(refused));
}

void Workers::stop() noexcept {
  stop_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  generation_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Workers::dispatch(std::int64_t count, Call call, void* self) {
  const bool alone = helpers_.empty() || count == 1;
  call_ = call;
  self_ = self;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  if (!alone) {  // every helper takes part in every such run, so none is late for the next
    busy_.store(static_cast<int>(helpers_.size()), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_acq_rel);
    generation_.notify_all();
  }
  drain(0);
  for (int busy = busy_.load(std::memory_order_acquire); busy != 0;
       busy = busy_.load(std::memory_order_acquire)) {
    wait_change(busy_, busy);
  }
  if (failure_) {
    const std::exception_ptr failure = std::exchange(failure_, nullptr);
    std::rethrow_exception(failure);
  }
}

void Workers::drain(int worker) noexcept {
  for (;;) {
    const std::int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    try {
      call_(self_, index, worker);
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }
}

void Workers::serve(int worker) {
  std::uint32_t seen = 0;
  for (;;) {
    wait_change(generation_, seen);
    const std::uint32_t now = generation_.load(std::memory_order_acquire);
    if (now == seen) continue;
    seen = now;
    if (stop_.load(std::memory_order_acquire)) return;
    drain(worker);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_all();
  }
}

}  // namespace sherd::device
