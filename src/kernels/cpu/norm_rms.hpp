#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/norm_rms.hpp"

namespace sherd::kernels::cpu {

void rms_norm(const RmsNormArgs& args, device::Workers& workers);
void rms_norm_backward(const RmsNormBackwardArgs& args, device::Workers& workers);

}  // namespace sherd::kernels::cpu
