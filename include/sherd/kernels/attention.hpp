#pragma once
// Causal self-attention without the score matrix: blocks of keys, running maximum and sum in fp32.
// Source: Dao et al. 2022, "FlashAttention", Algorithm 1 and §B.2; backward sums over keys in a
// fixed order, those of a group's queries one after another.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

/// **Source** Ainslie et al. 2023, "GQA": query heads in groups of equal size share a key head.
struct AttentionShape {
  std::int64_t sequences = 0, length = 0;
  std::int64_t heads = 0, head_dim = 0;
  std::int64_t kv_heads = 0;  // divides heads; 0: as many as heads

  [[nodiscard]] constexpr std::int64_t rows() const { return sequences * length; }
  [[nodiscard]] constexpr std::int64_t key_heads() const {
    return kv_heads == 0 ? heads : kv_heads;
  }
  [[nodiscard]] constexpr std::int64_t group() const {
    return kv_heads == 0 ? 1 : heads / kv_heads;
  }
  [[nodiscard]] constexpr std::int64_t width() const { return heads * head_dim; }
  [[nodiscard]] constexpr std::int64_t kv_width() const { return key_heads() * head_dim; }
  [[nodiscard]] constexpr std::int64_t qkv_width() const { return width() + 2 * kv_width(); }
};

struct AttentionArgs {
  AttentionShape shape{};
  View qkv{};      // [sequences·length, qkv_width]: q | k | v, heads side by side
  View out{};      // [sequences·length, width]
  View lse{};      // [sequences·heads, length] fp32: log of the sum of exp of the scaled scores
  View scratch{};  // attention_scratch bytes
};
void attention(const AttentionArgs& args, StreamRef stream);

struct AttentionBackwardArgs {
  AttentionShape shape{};
  View qkv{}, out{}, lse{}, d_out{};
  View d_qkv{};    // as qkv, set
  View scratch{};  // attention_backward_scratch bytes
};
void attention_backward(const AttentionBackwardArgs& args, StreamRef stream);

[[nodiscard]] Bytes attention_scratch(const AttentionShape& shape, const Target& target);
[[nodiscard]] Bytes attention_backward_scratch(const AttentionShape& shape, const Target& target);

}  // namespace sherd::kernels
