#pragma once
// The threads of a compute lane: fixed tasks, any thread, so bits never depend on the thread count.
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace sherd::device {

/// Runs task(0) … task(count - 1), each once, on the calling thread and `threads - 1` helpers.
///
/// **Order** `run` returns when all tasks have. One `run` at a time, from one thread.
/// **Errors** rethrows the first exception of a task after all have ended.
class Workers {
 public:
  /// Helper i runs on core `cores[i % size]`; without any, where the system likes.
  /// **Errors** DeviceError for a core that this process may not use.
  explicit Workers(int threads, std::span<const int> cores = {});
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  [[nodiscard]] int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  /// `task(index, worker)`: `worker` in [0, threads) names private scratch, never a share of the
  /// work.
  template <class Task>
  void run(std::int64_t count, Task&& task) {
    if (count <= 0) return;
    using Plain = std::remove_reference_t<Task>;
    dispatch(
        count,
        [](void* self, std::int64_t index, int worker) {
          (*static_cast<Plain*>(self))(index, worker);
        },
        const_cast<void*>(static_cast<const void*>(&task)));
  }

 private:
  using Call = void (*)(void* self, std::int64_t index, int worker);
  void start(int worker, std::span<const int> cores);
  void dispatch(std::int64_t count, Call call, void* self);
  void drain(int worker) noexcept;
  void serve(int worker);
  void stop() noexcept;

  Call call_ = nullptr;
  void* self_ = nullptr;
  std::int64_t count_ = 0;
  std::atomic<std::int64_t> next_{0};
  std::atomic<int> busy_{0};  // helpers still in this run
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::exception_ptr failure_;
  std::vector<std::thread> helpers_;
};

}  // namespace sherd::device
