#pragma once
// Where a kernel runs: the in-order queue it is put on.
#include "sherd/device/target.hpp"
#include "sherd/device/workers.hpp"

namespace sherd::device {

/// Owns one queue of the compute device. On the CPU a call on it has run when it returns.
class Stream {
 public:
  explicit Stream(int threads) : workers_(threads) {}
  [[nodiscard]] DeviceKind kind() const { return DeviceKind::cpu; }
  [[nodiscard]] Workers& workers() { return workers_; }

 private:
  Workers workers_;
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

 private:
  device::Stream* stream_;
};

}  // namespace sherd
