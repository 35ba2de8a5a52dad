#include "kernels/cpu/update.hpp"

#include "kernels/cpu/blocks.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/update.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>

#include "kernels/cpu/block-inl.hpp"
#include "sherd/kernels/update_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

// The next block's lines, asked for while this one computes; its own stores are cached.
inline void prefetch_block(const View& view, std::int64_t at) {
  if (!view || at + block > view.numel()) return;
  const std::byte* from = view.data + static_cast<Bytes>(at) * size_of(view.type);
  const auto bytes = static_cast<std::int64_t>(size_of(view.type)) * block;
  for (std::int64_t line = 0; line < bytes; line += 64) hwy::Prefetch(from + line);
}
inline void prefetch_all(const UpdateArgs& args, std::int64_t at) {
  prefetch_block(args.master, at);
  prefetch_block(args.m, at);
  prefetch_block(args.v, at);
  prefetch_block(args.grad, at);
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
    if (param.type == DType::bf16) {
      narrow_row(p, reinterpret_cast<bfloat16*>(space), block);
    } else {
      narrow_row(p, reinterpret_cast<float16*>(space), block);
    }
    for (std::int64_t i = 0; i < block; i += lanes) hn::Stream(hn::Load(d, space + i), d, to + i);
    return;
  }
#endif
  narrow(p, param, at, n);
}

/// One fused pass; `rule(p, m, v, g)` on pointers to n elements, of which m and v may be null.
template <class Rule>
HWY_ATTR inline void update_chunk(const UpdateArgs& args, std::int64_t first, std::int64_t count,
                                  const Rule& rule) {
  float space[block];
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    prefetch_all(args, at + block);
    const float* g = widen(args.grad, at, n, space);
    float* p = args.master.as<float>() + at;
    float* m = args.m ? args.m.as<float>() + at : nullptr;
    float* v = args.v ? args.v.as<float>() + at : nullptr;
    rule(p, m, v, g, n);
    stream_param(p, args.param, at, n);
  }
  hwy::FlushStream();
}

void adamw_chunk(const UpdateArgs& args, const UpdateFactors& factors, std::int64_t first,
                 std::int64_t count) {
  update_chunk(args, first, count,
               [&](float* p, float* m, float* v, const float* g, std::int64_t n) HWY_ATTR {
                 const UpdateFactors k = factors;
#pragma GCC ivdep
                 for (std::int64_t i = 0; i < n; ++i) adamw_element(p[i], m[i], v[i], g[i], k);
               });
}

void lion_chunk(const UpdateArgs& args, const UpdateFactors& factors, std::int64_t first,
                std::int64_t count) {
  update_chunk(args, first, count,
               [&](float* p, float* m, float*, const float* g, std::int64_t n) HWY_ATTR {
                 const UpdateFactors k = factors;
#pragma GCC ivdep
                 for (std::int64_t i = 0; i < n; ++i) lion_element(p[i], m[i], g[i], k);
               });
}

void sgd_chunk(const UpdateArgs& args, const UpdateFactors& factors, std::int64_t first,
               std::int64_t count) {
  float none[block];
  update_chunk(args, first, count,
               [&](float* p, float* m, float*, const float* g, std::int64_t n) HWY_ATTR {
                 const UpdateFactors k = factors;
                 if (m == nullptr) std::memset(m = none, 0, sizeof none);
#pragma GCC ivdep
                 for (std::int64_t i = 0; i < n; ++i) sgd_element(p[i], m[i], g[i], k);
               });
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(adamw_chunk);
HWY_EXPORT(lion_chunk);
HWY_EXPORT(sgd_chunk);

namespace {

UpdateFactors factors_of(const UpdateArgs& args) {
  const UpdateScalars& s = *args.scalars;
  const auto lr = static_cast<double>(s.lr), beta1 = static_cast<double>(args.beta1),
             beta2 = static_cast<double>(args.beta2);
  UpdateFactors k;
  k.gradient = s.factor;
  k.decay = static_cast<float>(1.0 - lr * static_cast<double>(args.weight_decay));
  k.step = s.lr;
  k.beta1 = args.beta1;
  k.rest1 = static_cast<float>(1.0 - beta1);
  k.beta2 = args.beta2;
  k.rest2 = static_cast<float>(1.0 - beta2);
  k.eps = args.eps;
  return k;
}

}  // namespace

void adamw(const UpdateArgs& args, device::Workers& workers) {
  if (args.scalars->skip != 0) return;
  UpdateFactors factors = factors_of(args);
  factors.step = static_cast<float>(static_cast<double>(args.scalars->lr) / args.scalars->bias1);
  factors.inverse_root_bias2 = static_cast<float>(1.0 / std::sqrt(args.scalars->bias2));
  run_chunks(workers, args.master.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(adamw_chunk)(args, factors, first, count);
  });
}

void lion(const UpdateArgs& args, device::Workers& workers) {
  if (args.scalars->skip != 0) return;
  const UpdateFactors factors = factors_of(args);
  run_chunks(workers, args.master.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(lion_chunk)(args, factors, first, count);
  });
}

void sgd(const UpdateArgs& args, device::Workers& workers) {
  if (args.scalars->skip != 0) return;
  UpdateFactors factors = factors_of(args);
  factors.decay = args.weight_decay;
  run_chunks(workers, args.master.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(sgd_chunk)(args, factors, first, count);
  });
}

}  // namespace sherd::kernels::cpu
#endif
