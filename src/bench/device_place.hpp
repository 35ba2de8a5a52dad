#pragma once
// Arrays of a kernel's call, in host memory or on a device, the same numbers in both.
#include <deque>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "sherd/base/view.hpp"
#include "sherd/device/stream.hpp"
#include "sherd/memory/arena.hpp"

namespace sherd::bench {

class Place {
 public:
  explicit Place(device::Stream& stream) : stream_(&stream) {}

  [[nodiscard]] StreamRef stream() const { return *stream_; }
  [[nodiscard]] bool on_device() const { return stream_->kind() != DeviceKind::cpu; }

  /// Zeros. A pitch holds on a device alone.
  [[nodiscard]] View room(Shape shape, DType type, std::int64_t pitch = 0);
  /// Noise in [-scale, scale), every array's own, with a period of at least 2^19 elements.
  [[nodiscard]] View noise(Shape shape, DType type, float scale = 1, std::int64_t pitch = 0);
  /// i32 in [0, below).
  [[nodiscard]] View tokens(Shape shape, std::int64_t below);
  [[nodiscard]] View scratch(Bytes size);  // absent for 0
  template <class T>
  [[nodiscard]] T* keep(const T& value) {
    const View view = room({1, static_cast<std::int64_t>(sizeof(T))}, DType::u8);
    device::copy(view.raw(), std::as_bytes(std::span(&value, 1)), *stream_);
    return view.as<T>();
  }

  /// `view` is compared: equal bits, or at most `tolerance` (1 + |value|) apart.
  View result(View view, double tolerance = 0) {
    return results_.emplace_back(view, tolerance).first;
  }
  /// Elements of the results that differ; both sides made the same calls.
  friend std::int64_t count_different(const Place& got, const Place& wanted);

 private:
  using Value = std::function<float(std::int64_t)>;
  void fill(const View& view, const Value& value);
  [[nodiscard]] std::vector<std::byte> bytes_of(const View& view) const;  // rows together

  device::Stream* stream_;
  std::deque<memory::Arena> arenas_;
  std::vector<std::pair<View, double>> results_;
  std::uint64_t salt_ = 0;
};

}  // namespace sherd::bench
