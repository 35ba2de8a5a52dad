#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/cross_entropy.hpp"

namespace sherd::kernels::cpu {

void cross_entropy(const CrossEntropyArgs& args, device::Workers& workers);
void squared_error(const SquaredErrorArgs& args, device::Workers& workers);

}  // namespace sherd::kernels::cpu
