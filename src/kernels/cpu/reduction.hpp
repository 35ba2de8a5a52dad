#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/reduction.hpp"

namespace sherd::kernels::cpu {

void square_norm(View x, NormSum& sum, device::Workers& workers);
void fold(const FoldArgs& args);

}  // namespace sherd::kernels::cpu
