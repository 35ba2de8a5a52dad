#pragma once
// The CUDA twins of the public kernels, with their signatures: pointers to data are device
// addresses, and a call puts work on the stream and returns.
#include "sherd/kernels/interface.hpp"

namespace sherd::cuda {

using namespace sherd::kernels;  // NOLINT: the arguments' types are theirs

void attention(const AttentionArgs& args, StreamRef stream);
void attention_backward(const AttentionBackwardArgs& args, StreamRef stream);

void cache_append(const CacheAppendArgs& args, StreamRef stream);
void attention_cached(const AttentionCachedArgs& args, StreamRef stream);

void cross_entropy(const CrossEntropyArgs& args, StreamRef stream);
void squared_error(const SquaredErrorArgs& args, StreamRef stream);

void gelu(View in, View out, StreamRef stream);
void gelu_backward(View in, View d_out, View d_in, StreamRef stream);
void add(View a, View b, View out, StreamRef stream);
void dropout(const DropoutArgs& args, StreamRef stream);
void cast(View in, View out, StreamRef stream, const Philox* round);
void scale(View x, float factor, StreamRef stream);
void zero(std::span<std::byte> bytes, StreamRef stream);
void accumulate(View value, const Grad& to, StreamRef stream);
void fill_normal(View x, std::uint64_t first, float mean, float stddev, Philox rng,
                 StreamRef stream);

void embedding(const EmbeddingArgs& args, StreamRef stream);
void embedding_backward(const EmbeddingBackwardArgs& args, StreamRef stream);

void matmul(const MatmulArgs& args, StreamRef stream);
void bias_gradient(const BiasGradientArgs& args, StreamRef stream);
[[nodiscard]] std::string path(DType operands);
[[nodiscard]] double best_product(const MatmulArgs& args, StreamRef stream, int rounds);

void layer_norm(const LayerNormArgs& args, StreamRef stream);
void layer_norm_backward(const LayerNormBackwardArgs& args, StreamRef stream);

void rms_norm(const RmsNormArgs& args, StreamRef stream);
void rms_norm_backward(const RmsNormBackwardArgs& args, StreamRef stream);

void rotary(const RotaryArgs& args, StreamRef stream);
void rotary_backward(const RotaryBackwardArgs& args, StreamRef stream);
void swiglu(View gate_up, View out, StreamRef stream);
void swiglu_backward(View gate_up, View d_out, View d_gate_up, StreamRef stream);

void square_norm(View x, NormSum& sum, StreamRef stream);
void fold(const FoldArgs& args, StreamRef stream);

void adamw(const UpdateArgs& args, StreamRef stream);
void lion(const UpdateArgs& args, StreamRef stream);
void sgd(const UpdateArgs& args, StreamRef stream);

void decode_blocks(View blocks, View out, StreamRef stream);

}  // namespace sherd::cuda
