#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/norm_layer.hpp"

namespace sherd::kernels::cpu {

void layer_norm(const LayerNormArgs& args, device::Workers& workers);
void layer_norm_backward(const LayerNormBackwardArgs& args, device::Workers& workers);

}  // namespace sherd::kernels::cpu
