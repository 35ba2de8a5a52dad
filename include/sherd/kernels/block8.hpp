#pragma once
// Frozen parameters in 8 bits: blocks of 256 codes of the signed map (block8_math.hpp), as a first
// moment is kept.
#include "sherd/base/view.hpp"
#include "sherd/device/stream.hpp"

namespace sherd::kernels {

/// Each block's largest magnitude and the nearest code of every element; on the CPU only.
///
/// **Shapes** values [1, n] fp32; blocks [1, n] q8; n a multiple of 256.
/// **Errors** UsageError on other types or sizes, or a device's stream; nothing changed.
void encode_blocks(View values, View blocks, StreamRef stream);

/// What the codes stand for, rounded to 16 bits as a stored parameter is: bf16 with ties away from
/// zero, fp16 with ties to even.
///
/// **Shapes** blocks [1, n] q8; out [1, n] fp32, bf16 or fp16; n a multiple of 256.
/// **Memory** reads 1.016 bytes an element and writes out's. Blocks start on a multiple of 4 bytes.
void decode_blocks(View blocks, View out, StreamRef stream);

}  // namespace sherd::kernels
