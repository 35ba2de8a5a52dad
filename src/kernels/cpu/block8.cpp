#include "kernels/cpu/block8.hpp"

#include "kernels/cpu/blocks.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/block8.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/update_rows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

void encode_chunk(const View& values, const View& blocks, std::int64_t first, std::int64_t count) {
  const auto* from = values.as<const float>();
  for (std::int64_t at = first; at < first + count; at += block)
    encode_block<Moment::first>(from + at, largest_bits(from + at), block_at(blocks, at));
}

void decode_chunk(const View& blocks, const View& out, std::int64_t first, std::int64_t count) {
  alignas(64) float space[block];
  for (std::int64_t at = first; at < first + count; at += block) {
    float* to = window(out, at, space);
    decode_block<Moment::first>(block_at(blocks, at), to);
    if (out.type != DType::f32) store_param(to, out, at, block);
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(encode_chunk);
HWY_EXPORT(decode_chunk);

void encode_blocks(View values, View blocks, device::Workers& workers) {
  run_chunks(workers, values.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(encode_chunk)(values, blocks, first, count);
  });
}

void decode_blocks(View blocks, View out, device::Workers& workers) {
  run_chunks(workers, out.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(decode_chunk)(blocks, out, first, count);
  });
}

}  // namespace sherd::kernels::cpu
#endif
