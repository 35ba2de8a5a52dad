#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/rotary.hpp"

namespace sherd::kernels::cpu {

/// Cosines and sines of one position, head_dim / 2 of each, for every position of a sequence.
[[nodiscard]] inline std::int64_t turn_floats(const AttentionShape& shape) {
  return shape.length * shape.head_dim;
}
/// Partial sums of both gains' gradients.
[[nodiscard]] std::int64_t gain_floats(const AttentionShape& shape);

void rotary(const RotaryArgs& args, device::Workers& workers);
void rotary_backward(const RotaryBackwardArgs& args, device::Workers& workers);

}  // namespace sherd::kernels::cpu
