#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/update.hpp"

namespace sherd::kernels::cpu {

void adamw(const UpdateArgs& args, device::Workers& workers);
void lion(const UpdateArgs& args, device::Workers& workers);
void sgd(const UpdateArgs& args, device::Workers& workers);
void store_master(View master, View param, View remainder, device::Workers& workers);
void load_master(View param, View remainder, View out);

}  // namespace sherd::kernels::cpu
