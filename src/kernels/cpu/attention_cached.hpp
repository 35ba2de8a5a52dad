#pragma once
#include "sherd/device/workers.hpp"
#include "sherd/kernels/attention_cached.hpp"

namespace sherd::kernels::cpu {

void cache_append(const CacheAppendArgs& args, device::Workers& workers);
void attention_cached(const AttentionCachedArgs& args, device::Workers& workers);

}  // namespace sherd::kernels::cpu
