#pragma once
// The same kernel on the same numbers, by the CPU and by the device under test.
#include <cmath>
#include <deque>
#include <optional>
#include <vector>

#include "kernels/array.hpp"
#include "support/device_under_test.hpp"

namespace sherd::test {

using Formula = std::function<double(std::int64_t)>;

/// One array in both places; on the device rows may be apart and the start off by some elements.
class Both {
 public:
  struct Layout {
    std::int64_t pitch = 0, offset = 0;  // elements
  };
  Both(const device::OpenDevice& device, Array array, const Layout& layout)
      : host(std::move(array)),
        view_(host.view()),
        room_(device, device::Memory::device, size(view_, layout)),
        start_(host) {
    view_.pitch = layout.pitch;
    view_.data = room_.bytes().data() + static_cast<Bytes>(layout.offset) * size_of(view_.type);
  }

  [[nodiscard]] View at(StreamRef stream) {
    return stream.kind() == DeviceKind::cpu ? host.view() : view_;
  }
  template <class T>
  [[nodiscard]] T* as(StreamRef stream) {
    return at(stream).as<T>();
  }
  /// To what it was made of, on both sides; guard bytes fill whatever is between and behind.
  void reset(device::Stream& stream) {
    host = start_;
    std::vector<std::byte> image(room_.bytes().size(), guard);
    each_row([&](std::size_t from, std::size_t to, std::size_t size) {
      std::memcpy(image.data() + to, start_.bytes().data() + from, size);
    });
    device::copy(room_.bytes(), image, stream);
    device::block(stream, AbortWord{});
  }
  /// What the device holds, rows together.
  [[nodiscard]] Array device(device::Stream& stream) {
    std::vector<std::byte> image(room_.bytes().size());
    device::copy(image, room_.bytes(), stream);
    device::block(stream, AbortWord{});
    Array all = start_;
    each_row([&](std::size_t to, std::size_t from, std::size_t size) {
      std::memcpy(all.view().data + to, image.data() + from, size);
    });
    for (std::size_t i = image.size() - guards; i < image.size(); ++i)
      guarded_ = guarded_ && image[i] == guard;
    return all;
  }
  [[nodiscard]] bool guarded() const { return guarded_; }

  Array host;

 private:
  static constexpr std::byte guard{0xa5};
  static constexpr std::size_t guards = 64;

  static Bytes size(View view, const Layout& layout) {
    view.pitch = layout.pitch;  // kernels may write zeros up to it
    view.shape.cols = view.row_pitch();
    return view.bytes() + static_cast<Bytes>(layout.offset) * size_of(view.type) + guards;
  }
  template <class Visit>  // visit(place without pitch, place with it, bytes)
  void each_row(Visit visit) const {
    const auto row = static_cast<std::size_t>(view_.shape.cols) * size_of(view_.type);
    const auto pitch = static_cast<std::size_t>(view_.row_pitch()) * size_of(view_.type);
    const auto first = static_cast<std::size_t>(view_.data - room_.bytes().data());
    for (std::size_t r = 0; r < static_cast<std::size_t>(view_.shape.rows); ++r)
      visit(r * row, first + r * pitch, row);
  }

  View view_;
  Room room_;
  Array start_;
  bool guarded_ = true;
};

/// Scratch on both sides, aligned to 64, full of NaN at first.
class Workspace {
 public:
  Workspace(const device::OpenDevice& device, device::Stream& stream, Bytes size)
      : host_(size + 64, std::byte{0xff}), room_(device, device::Memory::device, size) {
    device::copy(room_.bytes(), std::span(host_).first(size), stream);
    device::block(stream, AbortWord{});
  }
  [[nodiscard]] Bytes size() const { return room_.bytes().size(); }
  [[nodiscard]] View at(StreamRef stream, Bytes size) {
    const auto misfit = reinterpret_cast<std::uintptr_t>(host_.data()) % 64;
    std::byte* host = host_.data() + (64 - misfit) % 64;
    return {stream.kind() == DeviceKind::cpu ? host : room_.bytes().data(),
            {1, static_cast<std::int64_t>(size)},
            DType::u8};
  }

 private:
  std::vector<std::byte> host_;
  Room room_;
};

/// The device, a queue of it, and all arrays of one comparison.
class Twin {
 public:
  Twin() : stream(opened), cpu(2) {}

  Both& make(Shape shape, DType type, const Formula& value, const Both::Layout& layout = {}) {
    return keep({shape, type, value}, layout);
  }
  template <class T>
  Both& bytes_of(const T& value) {
    Array raw({1, static_cast<std::int64_t>(sizeof(T))}, DType::u8);
    std::memcpy(raw.view().data, &value, sizeof(T));
    return keep(std::move(raw), {});
  }

  /// One for all that ask, as large as the largest wanted so far.
  View scratch(StreamRef on, Bytes size) {
    if (!workspace_ || workspace_->size() < size) workspace_.emplace(opened, stream, size);
    return workspace_->at(on, size);
  }

  /// `call(stream)` on the CPU, and twice on the device from the same start.
  template <class Call>
  void run(Call&& call) {
    repeats_ = true;
    for (Both& both : all_) both.reset(stream);
    call(StreamRef(stream));
    std::vector<Array> first;
    for (Both& both : all_) first.push_back(both.device(stream));
    for (Both& both : all_) both.reset(stream);
    call(StreamRef(stream));
    std::size_t i = 0;
    for (Both& both : all_) repeats_ = repeats_ && first[i++] == both.device(stream);
    call(StreamRef(cpu));
  }
  /// The second run on the device gave the bits of the first, and wrote behind no array.
  [[nodiscard]] bool is_sound() const {
    for (const Both& both : all_) {
      if (!both.guarded()) return false;
    }
    return repeats_;
  }
  /// The same bits on both sides; a NaN is a NaN.
  [[nodiscard]] bool same(Both& both) {
    const Array got = both.device(stream);
    if (got == both.host) return true;
    const DType type = both.at(cpu).type;
    if (type == DType::u8) return false;
    for (std::int64_t i = 0; i < got.numel(); ++i) {
      const double a = got[i], b = both.host[i];
      if (!(std::isnan(a) && std::isnan(b)) && (a != b || std::signbit(a) != std::signbit(b)))
        return false;
    }
    return true;
  }
  void clear() { all_.clear(); }

  device::OpenDevice opened = open_device();
  device::Stream stream, cpu;

 private:
  Both& keep(Array array, const Both::Layout& layout) {
    return all_.emplace_back(opened, std::move(array), layout);
  }
  std::optional<Workspace> workspace_;
  std::deque<Both> all_;
  bool repeats_ = true;
};

/// Noise with zeros, subnormals, infinities, NaN and the ends of every type's range in it.
inline Formula awkward(std::uint64_t salt) {
  return [plain = noise(salt, 4)](std::int64_t i) {
    constexpr double odd[] = {0.0,    -0.0, 1e-45, -1e-40, 6e-8, 65504,    65520,     -3.38e38,
                              3.4e38, 1,    -1,    10,     -10,  HUGE_VAL, -HUGE_VAL, NAN};
    return i % 5 == 4 ? odd[(i / 5) % 16] : plain(i);
  };
}

/// Largest |got - want(i)| / allowed(i); huge where a value is missing.
inline double worst(const Array& got, const Formula& want, const Formula& allowed) {
  double most = 0;
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    const double off = std::abs(got[i] - want(i)) / allowed(i);
    if (!(off <= most)) most = std::isnan(off) ? 1e30 : off;
  }
  return most;
}

}  // namespace sherd::test
