#pragma once
// Questions that the public kernel functions ask of their arguments.
#include "sherd/base/errors.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

[[nodiscard]] inline bool is_float(const View& view) {
  return view.type == DType::f32 || view.type == DType::bf16 || view.type == DType::f16;
}
/// Present and of this many elements; a view of nothing may have no address.
[[nodiscard]] inline bool holds(const View& view, std::int64_t numel) {
  return view.numel() == numel && (view || numel == 0);
}
[[nodiscard]] inline bool absent_or_holds(const View& view, std::int64_t numel) {
  return !view || view.numel() == numel;
}
[[nodiscard]] inline bool is_grad(const View& view) {
  return view.type == DType::f32 || view.type == DType::bf16;
}
[[nodiscard]] inline bool absent_or_takes(const Grad& grad, std::int64_t numel) {
  return !grad.to || (grad.to.numel() == numel && is_grad(grad.to));
}

}  // namespace sherd::kernels
