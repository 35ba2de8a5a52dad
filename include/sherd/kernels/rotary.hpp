#pragma once
// Rotary position embedding of queries and keys, after an RMS norm of each head where there are
// gains (Qwen3). Pairs are elements i and i + head_dim/2 of a head, as transformers has them.
// Source: Su et al. 2021, "RoFormer", §3.4.2; scaling as transformers' modeling_rope_utils.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/attention.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

enum class RotaryScaling : std::uint8_t { none, linear, llama3 };

/// How fast pair i turns: theta^(-2i/head_dim) radians a position, then scaled (rotary_math.hpp).
struct Rotary {
  double theta = 10000;
  RotaryScaling scaling = RotaryScaling::none;
  double factor = 1;                                 // linear, llama3: positions are divided by it
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3: where that begins and is complete
  double original_context = 8192;                    // llama3: positions of the pre-training
  bool operator==(const Rotary&) const = default;
};
inline constexpr std::int64_t largest_rotary_head = 256;  // elements, an even number

struct RotaryArgs {
  AttentionShape shape{};
  View in{};                // [rows, qkv_width]: q | k | v
  View out{};               // as in; may be in
  View q_gain{}, k_gain{};  // [1, head_dim], or both absent: no norm
  View rstd{};              // [rows, heads + key_heads] fp32, written where there are gains
  float eps = 1e-6f;
  Rotary rotary{};
  View scratch{};                   // rotary_scratch bytes
  std::int64_t first_position = 0;  // of the first row of every sequence
};
[[nodiscard]] Bytes rotary_scratch(const AttentionShape& shape, const Target& target);
/// v is carried over.
void rotary(const RotaryArgs& args, StreamRef stream);

struct RotaryBackwardArgs {
  AttentionShape shape{};
  View d_out{};                   // [rows, qkv_width]
  View d_in{};                    // as d_out; may be d_out
  View in{}, q_gain{}, k_gain{};  // with gains: what the forward pass had
  View rstd{};                    // with gains: what it wrote
  Grad d_q_gain{}, d_k_gain{};    // [1, head_dim]
  Rotary rotary{};
  View scratch{};  // rotary_backward_scratch bytes
  std::int64_t first_position = 0;
};
[[nodiscard]] Bytes rotary_backward_scratch(const AttentionShape& shape, const Target& target);
void rotary_backward(const RotaryBackwardArgs& args, StreamRef stream);

}  // namespace sherd::kernels
