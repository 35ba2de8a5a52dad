#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/elementwise.hpp"

namespace sherd::kernels::cpu {

void gelu(View in, View out, device::Workers& workers);
void gelu_backward(View in, View d_out, View d_in, device::Workers& workers);
void add(View a, View b, View out, device::Workers& workers);
void dropout(const DropoutArgs& args, device::Workers& workers);
void cast(View in, View out, const Philox* round, device::Workers& workers);
void scale(View x, float factor, device::Workers& workers);
void zero(std::span<std::byte> bytes, device::Workers& workers);
void accumulate(View value, const Grad& to, device::Workers& workers);
void fill_normal(View x, std::uint64_t first, float mean, float stddev, Philox rng,
                 device::Workers& workers);

/// What fill_normal draws from.
struct Normal {
  float mean, stddev;
  Philox rng;
};

}  // namespace sherd::kernels::cpu
