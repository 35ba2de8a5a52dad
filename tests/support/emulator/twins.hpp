#pragma once
// How a twin of the emulated library reads its arguments, and where it runs.
#include <utility>

#include "sherd/kernels/interface.hpp"
#include "support/emulator/memory.hpp"
#include "support/emulator/queue.hpp"

namespace sherd::emulator {

[[nodiscard]] const kernels::Interface& twins();

/// The same bytes where the CPU may touch them. **Errors** DeviceError: not the device's.
[[nodiscard]] inline View real(View view) {
  if (!view || view.numel() == 0) return view;
  const std::int64_t reach = (view.shape.rows - 1) * view.row_pitch() + view.shape.cols;
  view.data =
      Memory::of_process().real(view.data, bytes_of(view.type, static_cast<std::uint64_t>(reach)));
  return view;
}
[[nodiscard]] inline Grad real(Grad grad) {
  grad.to = real(grad.to);
  return grad;
}
template <class T>
[[nodiscard]] T* real(T* at) {
  if (at == nullptr) return nullptr;
  const auto* bytes = reinterpret_cast<const std::byte*>(at);
  return reinterpret_cast<T*>(Memory::of_process().real(bytes, sizeof(T)));
}

template <class Kernel>
void put(StreamRef stream, Kernel kernel) {
  stream.queue().put_kernel(std::move(kernel));
}

/// Scratch of the CPU's size; what the caller gave is spoiled, as a device may.
[[nodiscard]] inline View room(Hands& hands, Bytes size, View given) {
  if (given) std::fill_n(real(given).data, std::min<Bytes>(given.bytes(), 4096), std::byte{0xff});
  if (size == 0) return {};
  return {hands.room(size), {1, static_cast<std::int64_t>(size)}, DType::u8};
}

/// Products, losses, the llama family's, and whatever else needs rows staged or scratch of another
/// size.
void matmul(const kernels::MatmulArgs& args, StreamRef stream);
[[nodiscard]] double best_product(const kernels::MatmulArgs& args, StreamRef stream, int rounds);
void bias_gradient(const kernels::BiasGradientArgs& args, StreamRef stream);
void cross_entropy(const kernels::CrossEntropyArgs& args, StreamRef stream);
void attention(const kernels::AttentionArgs& args, StreamRef stream);
void attention_backward(const kernels::AttentionBackwardArgs& args, StreamRef stream);
void cache_append(const kernels::CacheAppendArgs& args, StreamRef stream);
void attention_cached(const kernels::AttentionCachedArgs& args, StreamRef stream);
void rms_norm(const kernels::RmsNormArgs& args, StreamRef stream);
void rms_norm_backward(const kernels::RmsNormBackwardArgs& args, StreamRef stream);
void rotary(const kernels::RotaryArgs& args, StreamRef stream);
void rotary_backward(const kernels::RotaryBackwardArgs& args, StreamRef stream);
void swiglu(View gate_up, View out, StreamRef stream);
void swiglu_backward(View gate_up, View d_out, View d_gate_up, StreamRef stream);
void layer_norm_backward(const kernels::LayerNormBackwardArgs& args, StreamRef stream);
void embedding_backward(const kernels::EmbeddingBackwardArgs& args, StreamRef stream);

}  // namespace sherd::emulator
