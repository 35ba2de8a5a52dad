#include "bench/device_place.hpp"

#include <cmath>
#include <cstring>

#include "bench/buffers.hpp"

namespace sherd::bench {
namespace {

constexpr std::int64_t tile = 1 << 20;  // elements made on the host

void store(std::byte* at, DType type, float value) {
  const auto put = [at](auto x) { std::memcpy(at, &x, sizeof x); };
  switch (type) {
    case DType::bf16:
      return put(to_bfloat16(value));
    case DType::i32:
      return put(static_cast<std::int32_t>(value));
    default:
      return put(value);
  }
}

double load(const std::byte* at, DType type) {
  if (type == DType::u8) return std::to_integer<int>(*at);
  if (type == DType::bf16) {
    bfloat16 narrow;
    std::memcpy(&narrow, at, sizeof narrow);
    return static_cast<double>(to_float(narrow));
  }
  float value = 0;
  std::memcpy(&value, at, sizeof value);
  return static_cast<double>(value);
}

// The last row with what follows it up to the next one, as kernels may write it.
Bytes padded_bytes(const View& view) {
  return bytes_of(view.type, static_cast<std::uint64_t>(view.shape.rows * view.row_pitch()));
}

}  // namespace

View Place::room(Shape shape, DType type, std::int64_t pitch) {
  View view{nullptr, shape, type, on_device() ? pitch : 0};
  const Bytes size = padded_bytes(view);
  arenas_.push_back(on_device() ? memory::Arena::on(stream_->driver(), device::Memory::device, size)
                                : memory::Arena::anonymous(size));
  view.data = arenas_.back().bytes().data();
  return view;
}

View Place::noise(Shape shape, DType type, float scale, std::int64_t pitch) {
  const View view = room(shape, type, pitch);
  fill(view, [salt = ++salt_, scale](std::int64_t i) { return scale * sample(salt, i); });
  return view;
}

View Place::tokens(Shape shape, std::int64_t below) {
  const View view = room(shape, DType::i32);
  fill(view, [salt = ++salt_, half = 0.5f * static_cast<float>(below)](std::int64_t i) {
    return std::min(half * (sample(salt, i) + 1), 2 * half - 1);
  });
  return view;
}

View Place::scratch(Bytes size) {
  return size == 0 ? View{} : room({1, static_cast<std::int64_t>(size)}, DType::u8);
}

// One tile from the host, then copies of what is there, each twice as long.
void Place::fill(const View& view, const Value& value) {
  const std::int64_t cols = view.shape.cols, pitch = view.row_pitch();
  const bool together = pitch == cols;
  const std::int64_t rows = std::min(view.shape.rows, std::max<std::int64_t>(1, tile / cols));
  const std::int64_t count = together ? std::min(view.numel(), tile) : rows * pitch;
  const Bytes each = size_of(view.type);
  std::vector<std::byte> image(static_cast<Bytes>(count) * each);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t element = together ? i : i / pitch * cols + i % pitch;
    if (together || i % pitch < cols)
      store(image.data() + static_cast<Bytes>(i) * each, view.type, value(element));
  }
  const std::span<std::byte> all{view.data, padded_bytes(view)};
  device::copy(all.first(image.size()), image, *stream_);
  for (Bytes done = image.size(); done < all.size();) {
    const Bytes next = std::min<Bytes>(done, all.size() - done);
    device::copy(all.subspan(done, next), all.first(next), *stream_);
    done += next;
  }
  device::block(*stream_, AbortWord{});
}

std::vector<std::byte> Place::bytes_of(const View& view) const {
  std::vector<std::byte> image(view.bytes());
  device::block(*stream_, AbortWord{});
  device::copy(image, view.raw(), *stream_);
  device::block(*stream_, AbortWord{});
  const Bytes row = static_cast<Bytes>(view.shape.cols) * size_of(view.type),
              pitch = static_cast<Bytes>(view.row_pitch()) * size_of(view.type);
  const auto rows = static_cast<Bytes>(view.shape.rows);
  for (Bytes r = 1; r < rows && row != pitch; ++r)
    std::memmove(image.data() + r * row, image.data() + r * pitch, row);
  image.resize(rows * row);
  return image;
}

std::int64_t count_different(const Place& got, const Place& wanted) {
  expects(got.results_.size() == wanted.results_.size(),
          "count_different: got unlike places, need two of one case");
  std::int64_t wrong = 0;
  for (std::size_t k = 0; k < got.results_.size(); ++k) {
    const auto& [view, tolerance] = got.results_[k];
    const std::vector<std::byte> ours = got.bytes_of(view),
                                 theirs = wanted.bytes_of(wanted.results_[k].first);
    const Bytes each = size_of(view.type);
    for (Bytes at = 0; at + each <= ours.size(); at += each) {
      const double x = load(ours.data() + at, view.type), y = load(theirs.data() + at, view.type);
      const bool right = tolerance == 0
                             ? std::memcmp(ours.data() + at, theirs.data() + at, each) == 0
                             : std::abs(x - y) <= tolerance * (1 + std::abs(y));
      wrong += right ? 0 : 1;
    }
  }
  return wrong;
}

}  // namespace sherd::bench
