#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/swiglu.hpp"

namespace sherd::kernels::cpu {

void swiglu(View gate_up, View out, device::Workers& workers);
void swiglu_backward(View gate_up, View d_out, View d_gate_up, device::Workers& workers);

}  // namespace sherd::kernels::cpu
