#include "sherd/device/stream.hpp"

#include <chrono>
#include <cstring>
#include <functional>
#include <thread>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::device {
namespace {

constexpr auto spin = std::chrono::microseconds(50);  // longer than a kernel's launch
constexpr auto nap = std::chrono::microseconds(50);

void await(Driver& driver, Mark& mark, const AbortWord& abort, const Watch& watch) {
  const auto until = std::chrono::steady_clock::now() + spin;
  while (!driver.reached(mark)) {
    if (watch) watch();  // first: whoever watches ends its own work when the run has ended
    abort.poll();
    if (std::chrono::steady_clock::now() > until) std::this_thread::sleep_for(nap);
  }
}

}  // namespace

Stream::Stream(const OpenDevice& device) : device_(&device), queue_(device.driver->make_queue()) {}

Stream::~Stream() {
  if (queue_ != nullptr) device_->driver->drop(queue_);
}

Ready::Ready(const OpenDevice& device) : device_(&device), mark_(device.driver->make_mark()) {}
Ready::Ready(Ready&& other) noexcept
    : device_(other.device_), mark_(std::exchange(other.mark_, nullptr)) {}
Ready& Ready::operator=(Ready&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(mark_, other.mark_);
  return *this;
}
Ready::~Ready() {
  if (mark_ != nullptr) device_->driver->drop(mark_);
}

void Ready::record(StreamRef stream) { device_->driver->record(*mark_, stream.queue()); }
void Ready::gate(StreamRef stream) const { device_->driver->gate(stream.queue(), *mark_); }
bool Ready::reached() const { return device_->driver->reached(*mark_); }

void Ready::block(const AbortWord& abort, const Watch& watch) const {
  await(*device_->driver, *mark_, abort, watch);
}

void copy(std::span<std::byte> to, std::span<const std::byte> from, StreamRef stream) {
  expects(to.size() == from.size(), "copy: got two sizes, need equal ones");
  if (to.empty()) return;
  if (stream.kind() == DeviceKind::cpu) {
    std::memcpy(to.data(), from.data(), to.size());
  } else {
    stream.driver().copy(stream.queue(), to.data(), from.data(), to.size());
  }
}

void block(StreamRef stream, const AbortWord& abort, const Watch& watch) {
  if (stream.kind() == DeviceKind::cpu) return;
  device::Driver& driver = stream.driver();
  const std::unique_ptr<Mark, std::function<void(Mark*)>> mark(driver.make_mark(),
                                                               [&](Mark* at) { driver.drop(at); });
  driver.record(*mark, stream.queue());
  await(driver, *mark, abort, watch);
}

}  // namespace sherd::device
