#include "kernels/cpu/update.hpp"

#include "kernels/cpu/blocks.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/update.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>

#include "kernels/cpu/adamw_block-inl.hpp"
#include "sherd/kernels/update_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

// The next block's lines, asked for while this one computes; its own stores are cached.
inline void prefetch_block(const View& view, std::int64_t at) {
  if (!view || at + block > view.numel()) return;
  const std::byte* from = view.data + bytes_of(view.type, static_cast<std::uint64_t>(at));
  const auto bytes = static_cast<std::int64_t>(bytes_of(view.type, block));
  for (std::int64_t line = 0; line < bytes; line += 64) hwy::Prefetch(from + line);
}
inline void prefetch_all(const UpdateArgs& args, std::int64_t at) {
  prefetch_block(args.master, at);
  prefetch_block(args.m, at);
  prefetch_block(args.v, at);
  prefetch_block(args.grad, at);
  if (is_split(args)) prefetch_block(args.param, at);
}

/// The stored parameter is written past the caches: nothing here reads it.
inline void stream_param(const float* p, const View& param, std::int64_t at, std::int64_t n) {
  if (!param) return;
#if HWY_TARGET != HWY_SCALAR
  auto* to = param.as<std::uint16_t>() + at;
  const hn::ScalableTag<std::uint16_t> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  if (n == block && reinterpret_cast<std::uintptr_t>(to) % 64 == 0) {
    alignas(64) std::uint16_t space[block];
    store_param(p, {reinterpret_cast<std::byte*>(space), {1, block}, param.type}, 0, block);
    for (std::int64_t i = 0; i < block; i += lanes) hn::Stream(hn::Load(d, space + i), d, to + i);
    return;
  }
#endif
  store_param(p, param, at, n);
}

/// Of one block; stays in the first-level cache.
struct Windows {
  alignas(64) float g[block], p[block], m[block], v[block];
  alignas(64) std::uint16_t bits[2 * word_space];
};

inline float* open_master(const UpdateArgs& args, std::int64_t at, std::int64_t n, float* space) {
  if (!is_split(args)) return args.master.as<float>() + at;
  join_row(args.param.as<const bfloat16>() + at, args.master.as<const std::uint16_t>() + at, space,
           n);
  return space;
}
inline void close_master(const float* p, const UpdateArgs& args, std::int64_t at, std::int64_t n) {
  if (!is_split(args)) return stream_param(p, args.param, at, n);
  store_row(p, args.param.as<bfloat16>() + at, n);
  remainder_row(p, args.master.as<std::uint16_t>() + at, n);
}

/// One fused pass; `rule(p, m, v, g, n)` on pointers to n elements, of which m and v may be null.
/// `whole(at, bits)` may do a whole block itself, and says so.
template <class Rule, class Whole>
HWY_ATTR inline void update_chunk(const UpdateArgs& args, std::int64_t first, std::int64_t count,
                                  const Rule& rule, const Whole& whole) {
  Windows space;
  const bool rounds = args.m && args.m.type == DType::bf16;
  const Philox rounding = moment_rounding(args.round, args.scalars->applied);
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    prefetch_all(args, at + block);
    const std::uint16_t* bits = space.bits;
    if (rounds) {
      const std::uint64_t element = args.first + static_cast<std::uint64_t>(at);
      bits = moment_bits(rounding, element, n, space.bits);
    }
    if (n == block && whole(at, bits)) continue;
    const float* g = widen(args.grad, at, n, space.g);
    float* p = open_master(args, at, n, space.p);
    float* m = open_moment<Moment::first>(args.m, at, n, space.m);
    float* v = open_moment<Moment::second>(args.v, at, n, space.v);
    rule(p, m, v, g, n);
    close_master(p, args, at, n);
    close_moment<Moment::first>(m, args.m, at, n, bits);
    close_moment<Moment::second>(v, args.v, at, n, bits);
  }
  hwy::FlushStream();
}

void adamw_chunk(const UpdateArgs& args, const UpdateFactors& factors, std::int64_t first,
                 std::int64_t count) {
  update_chunk(
      args, first, count,
      [&](float* p, float* m, float* v, const float* g, std::int64_t n) HWY_ATTR {
        const UpdateFactors k = factors;
#pragma GCC ivdep
        for (std::int64_t i = 0; i < n; ++i) adamw_element(p[i], m[i], v[i], g[i], k);
      },
      [&](std::int64_t at, const std::uint16_t* bits)
          HWY_ATTR { return adamw_block(args, factors, at, bits); });
}

inline constexpr auto nothing = [](std::int64_t, const std::uint16_t*) { return false; };

void lion_chunk(const UpdateArgs& args, const UpdateFactors& factors, std::int64_t first,
                std::int64_t count) {
  update_chunk(
      args, first, count,
      [&](float* p, float* m, float*, const float* g, std::int64_t n) HWY_ATTR {
        const UpdateFactors k = factors;
#pragma GCC ivdep
        for (std::int64_t i = 0; i < n; ++i) lion_element(p[i], m[i], g[i], k);
      },
      nothing);
}

void sgd_chunk(const UpdateArgs& args, const UpdateFactors& factors, std::int64_t first,
               std::int64_t count) {
  float none[block];
  update_chunk(
      args, first, count,
      [&](float* p, float* m, float*, const float* g, std::int64_t n) HWY_ATTR {
        const UpdateFactors k = factors;
        if (m == nullptr) std::memset(m = none, 0, sizeof none);
#pragma GCC ivdep
        for (std::int64_t i = 0; i < n; ++i) sgd_element(p[i], m[i], g[i], k);
      },
      nothing);
}

void store_chunk(const View& master, const View& param, const View& remainder, std::int64_t first,
                 std::int64_t count) {
  const float* p = master.as<const float>() + first;
  store_param(p, param, first, count);
  if (remainder) remainder_row(p, remainder.as<std::uint16_t>() + first, count);
}

void load_chunk(const View& param, const View& remainder, const View& out) {
  float* to = out.as<float>();
  if (!remainder) {
    widen(param, 0, param.numel(), to);
    return;
  }
  join_row(param.as<const bfloat16>(), remainder.as<const std::uint16_t>(), to, param.numel());
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(adamw_chunk);
HWY_EXPORT(lion_chunk);
HWY_EXPORT(sgd_chunk);
HWY_EXPORT(store_chunk);
HWY_EXPORT(load_chunk);

namespace {

/// chunk_of(first, count) over all elements. A skipped step leaves the state alone and makes the
/// parameter again: where it is a copy on its way home, what lies there is not the parameter.
template <class Chunk>
void run(const UpdateArgs& args, device::Workers& workers, Chunk&& chunk_of) {
  if (args.scalars->skip == 0) return run_chunks(workers, args.master.numel(), chunk, chunk_of);
  if (args.param && !is_split(args)) store_master(args.master, args.param, {}, workers);
}

}  // namespace

void adamw(const UpdateArgs& args, device::Workers& workers) {
  const UpdateFactors factors = adamw_factors(args, *args.scalars);
  run(args, workers, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(adamw_chunk)(args, factors, first, count);
  });
}

void lion(const UpdateArgs& args, device::Workers& workers) {
  const UpdateFactors factors = lion_factors(args, *args.scalars);
  run(args, workers, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(lion_chunk)(args, factors, first, count);
  });
}

void sgd(const UpdateArgs& args, device::Workers& workers) {
  const UpdateFactors factors = sgd_factors(args, *args.scalars);
  run(args, workers, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(sgd_chunk)(args, factors, first, count);
  });
}

void store_master(View master, View param, View remainder, device::Workers& workers) {
  run_chunks(workers, master.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(store_chunk)(master, param, remainder, first, count);
  });
}

void load_master(View param, View remainder, View out) {
  HWY_DYNAMIC_DISPATCH(load_chunk)(param, remainder, out);
}

}  // namespace sherd::kernels::cpu
#endif
