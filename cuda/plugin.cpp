// What the program finds in this library: a version and four tables.
#include "cuda/comm/nccl.hpp"
#include "cuda/device/driver.hpp"
#include "cuda/kernels/twins.hpp"
#include "cuda/optim/decide.hpp"
#include "sherd/device/library.hpp"
#include "sherd/optim/interface.hpp"

namespace sherd::cuda {
namespace {

constexpr int version = device::interface_version;

constexpr device::Interface devices{
    .count = count_devices, .name = name_device, .open = open_device};

constexpr kernels::Interface twins{.attention = attention,
                                   .attention_backward = attention_backward,
                                   .cache_append = cache_append,
                                   .attention_cached = attention_cached,
                                   .cross_entropy = cross_entropy,
                                   .squared_error = squared_error,
                                   .gelu = gelu,
                                   .gelu_backward = gelu_backward,
                                   .add = add,
                                   .dropout = dropout,
                                   .cast = cast,
                                   .scale = scale,
                                   .zero = zero,
                                   .accumulate = accumulate,
                                   .fill_normal = fill_normal,
                                   .embedding = embedding,
                                   .embedding_backward = embedding_backward,
                                   .matmul = matmul,
                                   .bias_gradient = bias_gradient,
                                   .layer_norm = layer_norm,
                                   .layer_norm_backward = layer_norm_backward,
                                   .rms_norm = rms_norm,
                                   .rms_norm_backward = rms_norm_backward,
                                   .rotary = rotary,
                                   .rotary_backward = rotary_backward,
                                   .swiglu = swiglu,
                                   .swiglu_backward = swiglu_backward,
                                   .square_norm = square_norm,
                                   .fold = fold,
                                   .adamw = adamw,
                                   .lion = lion,
                                   .sgd = sgd,
                                   .decode_blocks = decode_blocks,
                                   .path = path,
                                   .best_product = best_product};

constexpr optim::Interface verdicts{.decide = decide, .report = report};

}  // namespace
}  // namespace sherd::cuda

extern "C" {
[[gnu::visibility("default")]] const void* sherd_interface_version() {
  return &sherd::cuda::version;
}
[[gnu::visibility("default")]] const void* sherd_device() { return &sherd::cuda::devices; }
[[gnu::visibility("default")]] const void* sherd_kernels() { return &sherd::cuda::twins; }
[[gnu::visibility("default")]] const void* sherd_optim() { return &sherd::cuda::verdicts; }
[[gnu::visibility("default")]] const void* sherd_comm() { return &sherd::comm::nccl_interface(); }
}
