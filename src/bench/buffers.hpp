#pragma once
// Memory for one set of rows: resident before anything is timed.
#include "sherd/base/errors.hpp"
#include "sherd/base/philox.hpp"
#include "sherd/bench/bounds.hpp"
#include "sherd/device/stream.hpp"
#include "sherd/memory/arena.hpp"

namespace sherd::bench {

class Buffers {
 public:
  explicit Buffers(Bytes size) : arena_(memory::Arena::anonymous(size)) {}

  /// The next free bytes, 64-byte aligned and off the 4 KiB grid, where row strides would collide.
  [[nodiscard]] View take(Shape shape, DType type) {
    const View view{arena_.bytes().data() + used_, shape, type};
    used_ += cost(shape, type);
    expects(used_ <= arena_.bytes().size(), "Buffers: got too many views, need a larger arena");
    return view;
  }
  [[nodiscard]] static Bytes cost(Shape shape, DType type) {
    return round_up(static_cast<Bytes>(shape.numel()) * size_of(type), 4096) + 320;
  }

 private:
  memory::Arena arena_;
  Bytes used_ = 0;
};

[[nodiscard]] inline Bytes operand_bytes(const GemmShape& shape) {
  return Buffers::cost({shape.m, shape.k}, DType::f32) +
         Buffers::cost({shape.k, shape.n}, DType::f32) +
         Buffers::cost({shape.m, shape.n}, DType::f32);
}

/// Uniform in [-1, 1), a function of (stream, index) alone: references recompute inputs from it.
[[nodiscard]] inline float sample(std::uint64_t stream, std::int64_t index) {
  const std::uint64_t bits = mix(mix(stream) ^ static_cast<std::uint64_t>(index));
  return static_cast<float>(bits >> 40) * 0x1p-23f - 1.0f;
}

/// Elements a task covers in a sweep over all of a view.
inline constexpr std::int64_t sweep = 1 << 16;

/// task(first, last) over [0, count) in parts of at most `sweep`.
template <class Task>
void for_parts(std::int64_t count, StreamRef stream, Task&& task) {
  stream.workers().run((count + sweep - 1) / sweep, [&](std::int64_t part, int) {
    const std::int64_t first = part * sweep;
    task(first, first + sweep < count ? first + sweep : count);
  });
}

inline void fill(View to, std::uint64_t stream_of_bits, float scale, StreamRef stream) {
  for_parts(to.numel(), stream, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const float value = scale * sample(stream_of_bits, i);
      if (to.type == DType::bf16) {
        to.as<bfloat16>()[i] = to_bfloat16(value);
      } else {
        to.as<float>()[i] = value;
      }
    }
  });
}

}  // namespace sherd::bench
