#pragma once
// Cuts a block's scratch into views. The same code counts in `declare` and cuts in a call, so what
// is declared is what is used.
#include "sherd/base/errors.hpp"
#include "sherd/base/view.hpp"

namespace sherd::model {

class Carver {
 public:
  Carver() = default;  // only counts: every view is absent
  explicit Carver(View scratch) : base_(scratch.data), size_(scratch.bytes()), counts_(false) {}

  View take(Shape shape, DType type) {
    const Bytes bytes = static_cast<Bytes>(shape.numel()) * size_of(type);
    const Bytes at = round_up(used_, 64);
    if (bytes == 0) return {nullptr, shape, type};
    used_ = at + bytes;
    if (counts_) return {nullptr, shape, type};
    expects(used_ <= size_, "Carver::take: scratch is smaller than declared");
    return {base_ + at, shape, type};
  }
  /// Rows that start `pitch` elements apart.
  View take(Shape shape, DType type, std::int64_t pitch) {
    View view = take({shape.rows, pitch}, type);
    view.shape = shape;
    view.pitch = pitch == shape.cols ? 0 : pitch;
    return view;
  }
  View take(Bytes bytes) { return take({1, static_cast<std::int64_t>(bytes)}, DType::u8); }
  /// All that is left: the kernels' own scratch, which `declare` counts last.
  [[nodiscard]] View rest() const {
    const Bytes at = round_up(used_, 64);
    if (at >= size_) return {};
    return {base_ + at, {1, static_cast<std::int64_t>(size_ - at)}, DType::u8};
  }

  [[nodiscard]] Bytes used() const { return used_; }

 private:
  std::byte* base_ = nullptr;
  Bytes size_ = 0, used_ = 0;
  bool counts_ = true;
};

}  // namespace sherd::model
