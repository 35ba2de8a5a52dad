#pragma once
// Fused attention by cuDNN, or by nothing where the build has no cuDNN: one of two files is
// compiled.
#include <string>

#include "cuda/kernels/attention_layout.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::cuda {

/// False, and nothing done, for a shape or type that the library does not compute.
///
/// **Errors** UsageError: an address is not a multiple of 16. DeviceError: the library failed.
bool library_attention(const kernels::AttentionArgs& args, StreamRef stream);
/// In slices of device_scratch::attention_slice sequences, deterministically.
bool library_attention_backward(const kernels::AttentionBackwardArgs& args, StreamRef stream);

/// "cuDNN 9.19.0 (frontend 1.32.0)", or empty.
[[nodiscard]] std::string attention_library();

enum class Direction : std::uint8_t { forward, backward };
/// Why the library refuses a graph of this shape on an architecture (90), as far as can be told
/// without a device; empty if it does not.
[[nodiscard]] std::string graph_problem(const AttentionShape& shape, DType type,
                                        Direction direction, int architecture);

}  // namespace sherd::cuda
