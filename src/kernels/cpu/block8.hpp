#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/block8.hpp"

namespace sherd::kernels::cpu {

void encode_blocks(View values, View blocks, device::Workers& workers);
void decode_blocks(View blocks, View out, device::Workers& workers);

}  // namespace sherd::kernels::cpu
