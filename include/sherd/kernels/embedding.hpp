#pragma once
// Token and position lookup; the gradient adds rows in batch order, so it is deterministic.
#include "sherd/device/stream.hpp"
#include "sherd/kernels/grad.hpp"

namespace sherd::kernels {

/// out[i] = table[tokens[i]] + positions[i mod length]. Tokens are trusted to be inside the table
/// (data checks them).
struct EmbeddingArgs {
  View tokens;     // [sequences, length] i32
  View table;      // [vocabulary, width]
  View positions;  // [context, width] or absent
  View out;        // [sequences·length, width]
};
void embedding(const EmbeddingArgs& args, StreamRef stream);

struct EmbeddingBackwardArgs {
  View tokens, d_out;
  Grad d_table;      // set: rows no token names become zero
  Grad d_positions;  // absent `to`: not wanted; set: positions past length become zero
  View scratch;      // embedding_backward_scratch bytes
};
[[nodiscard]] Bytes embedding_backward_scratch(Shape tokens, std::int64_t vocabulary,
                                               std::int64_t width, const Target& target);
void embedding_backward(const EmbeddingBackwardArgs& args, StreamRef stream);

}  // namespace sherd::kernels
