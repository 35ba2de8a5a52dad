#pragma once
// Where a kernel runs: the in-order queue it is put on.
#include <functional>
#include <optional>
#include <span>

#include "sherd/base/abort.hpp"
#include "sherd/device/library.hpp"
#include "sherd/device/target.hpp"
#include "sherd/device/workers.hpp"

namespace sherd::device {

/// Owns one queue of the compute device. On the CPU a call on it has run when it returns; on any
/// other device it has been put on the queue.
class Stream {
 public:
  explicit Stream(int threads, std::span<const int> cores = {})
      : workers_(std::in_place, threads, cores) {}
  /// **Memory** `device` outlives the stream.
  explicit Stream(const OpenDevice& device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] DeviceKind kind() const {
    return device_ == nullptr ? DeviceKind::cpu : DeviceKind::cuda;
  }
  [[nodiscard]] Workers& workers() { return *workers_; }                     // of a CPU
  [[nodiscard]] const Library& library() const { return device_->library; }  // else
  [[nodiscard]] Driver& driver() const { return *device_->driver; }
  [[nodiscard]] Queue& queue() const { return *queue_; }
  [[nodiscard]] const OpenDevice* device() const { return device_; }

 private:
  std::optional<Workers> workers_;
  const OpenDevice* device_ = nullptr;
  Queue* queue_ = nullptr;
};

}  // namespace sherd::device

namespace sherd {

/// Borrows a Stream; cannot be made from nothing.
class StreamRef {
 public:
  StreamRef(device::Stream& stream) : stream_(&stream) {}  // NOLINT: borrowing is the point
  StreamRef(int) = delete;
  StreamRef(std::nullptr_t) = delete;
  [[nodiscard]] DeviceKind kind() const { return stream_->kind(); }
  [[nodiscard]] device::Workers& workers() const { return stream_->workers(); }
  [[nodiscard]] const device::Library& library() const { return stream_->library(); }
  [[nodiscard]] device::Driver& driver() const { return stream_->driver(); }
  [[nodiscard]] device::Queue& queue() const { return stream_->queue(); }

 private:
  device::Stream* stream_;
};

namespace device {

using Watch = std::function<void()>;

/// A place in a device stream: what was put there before it has run once it is reached.
class Ready {
 public:
  explicit Ready(const OpenDevice& device);
  Ready(Ready&& other) noexcept;
  Ready& operator=(Ready&& other) noexcept;
  ~Ready();

  void record(StreamRef stream);
  void gate(StreamRef stream) const;  // later work of `stream` waits
  [[nodiscard]] bool reached() const;
  /// The host waits, polling; `watch` is called meanwhile, and may throw. **Errors** CommError when
  /// `abort` is set.
  void block(const AbortWord& abort, const Watch& watch = {}) const;

 private:
  const OpenDevice* device_;
  Mark* mark_;
};

/// `to` becomes `from`, of equal size, in the order of the stream. Where either side is host memory
/// that is not pinned, it has happened on return.
void copy(std::span<std::byte> to, std::span<const std::byte> from, StreamRef stream);

/// The host waits for all that is on the stream, as Ready::block. Nothing to wait for on the CPU.
void block(StreamRef stream, const AbortWord& abort, const Watch& watch = {});

}  // namespace device
}  // namespace sherd
