// Compiled once per instruction set: AdamW on a whole block, in vectors from and to each format at
// once, so that decoding and rounding go on while roots and quotients are under way.
#if defined(SHERD_KERNELS_CPU_ADAMW_BLOCK_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef SHERD_KERNELS_CPU_ADAMW_BLOCK_INL
#undef SHERD_KERNELS_CPU_ADAMW_BLOCK_INL
#else
#define SHERD_KERNELS_CPU_ADAMW_BLOCK_INL
#endif

#include "kernels/cpu/update_rows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR

HWY_API Vector widen_halves(const bfloat16* from) {
  const auto half = hn::LoadU(hd, reinterpret_cast<const std::uint16_t*>(from));
  return hn::BitCast(fd, hn::ShiftLeft<16>(hn::PromoteTo(ud, half)));
}

/// A moment of one block: each vector is loaded once, then stored at `x` in fp32, then closed; the
/// block is closed after all of them.
template <Moment moment, DType type>
struct MomentBlock;

template <Moment moment>
struct MomentBlock<moment, DType::f32> {
  float* x;
  MomentBlock(const View& view, std::int64_t first, float*, const std::uint16_t*)
      : x(view.as<float>() + first) {}
  HWY_INLINE Vector load(std::int64_t i) const { return hn::LoadU(fd, x + i); }
  HWY_INLINE void close(Vector, std::int64_t) const {}
  HWY_INLINE void close() const {}
};

template <Moment moment>
struct MomentBlock<moment, DType::bf16> {
  bfloat16* at;
  float* x;
  const std::uint16_t* bits;
  MomentBlock(const View& view, std::int64_t first, float* space, const std::uint16_t* random)
      : at(view.as<bfloat16>() + first), x(space), bits(random) {}
  HWY_INLINE Vector load(std::int64_t i) const { return widen_halves(at + i); }
  HWY_INLINE void close(Vector, std::int64_t) const {}
  HWY_INLINE void close() const { round_row<moment>(x, at, block, bits); }
};

template <Moment moment>
struct MomentBlock<moment, DType::q8> {
  std::byte* at;
  float* x;
  Decoder<moment> decode;
  Words most = hn::Zero(ud);
  MomentBlock(const View& view, std::int64_t first, float* space, const std::uint16_t*)
      : at(block_at(view, first)), x(space), decode(scale_of(at)) {}
  HWY_INLINE Vector load(std::int64_t i) {
    return decode(reinterpret_cast<const std::uint8_t*>(at) + i);
  }
  HWY_INLINE void close(Vector value, std::int64_t) {
    most = hn::Max(most, hn::BitCast(ud, hn::Abs(value)));
  }
  HWY_INLINE void close() const {
    encode_block<moment>(x, hn::GetLane(hn::MaxOfLanes(ud, most)), at);
  }
};

/// A master weight, and its stored parameter, which nothing here reads: past the caches.
template <bool split>
struct MasterBlock {
  float* whole;
  std::uint16_t* rest;
  bfloat16* param;
  bool streams;
  MasterBlock(const UpdateArgs& args, std::int64_t first)
      : whole(split ? nullptr : args.master.as<float>() + first),
        rest(split ? args.master.as<std::uint16_t>() + first : nullptr),
        param(args.param ? args.param.as<bfloat16>() + first : nullptr),
        streams(!split && reinterpret_cast<std::uintptr_t>(param) % 64 == 0) {}
  HWY_INLINE Vector load(std::int64_t i) const {
    if constexpr (!split) return hn::LoadU(fd, whole + i);
    const auto low = hn::PromoteTo(ud, hn::LoadU(hd, rest + i));
    const auto high = hn::BitCast(ud, widen_halves(param + i));
    const auto carry = hn::ShiftLeft<1>(hn::And(low, hn::Set(ud, 0x8000u)));
    return hn::BitCast(fd, high + low - carry);
  }
  /// Two vectors, [i, …) and what follows.
  HWY_INLINE void store(Vector low, Vector high, std::int64_t i) const {
    const auto u = hn::BitCast(ud, low), w = hn::BitCast(ud, high);
    if constexpr (split) {
      const hn::RebindToSigned<decltype(fd)> di;
      const auto extended = [&](Words x) HWY_ATTR {
        return hn::ShiftRight<16>(hn::BitCast(di, hn::ShiftLeft<16>(x)));
      };
      store_halves<Reuse::some>(extended(u), extended(w), rest + i);
    } else {
      hn::StoreU(low, fd, whole + i);
      hn::StoreU(high, fd, whole + i + wide);
      if (param == nullptr) return;
    }
    const auto tie = hn::Set(ud, 0x8000u);
    const auto first = high_half(u + tie, low), second = high_half(w + tie, high);
    auto* to = reinterpret_cast<std::uint16_t*>(param + i);
    if (streams) return store_halves<Reuse::none>(first, second, to);
    store_halves<Reuse::some>(first, second, to);
  }
};

struct FactorVectors {
  Vector gradient, decay, step, root, weight, beta2, rest2, eps;
  hn::Mask<decltype(fd)> near;  // does m move from itself, or from the gradient?
  explicit FactorVectors(const UpdateFactors& k)
      : gradient(hn::Set(fd, k.gradient)),
        decay(hn::Set(fd, k.decay)),
        step(hn::Set(fd, k.step)),
        root(hn::Set(fd, k.inverse_root_bias2)),
        weight(hn::Set(fd, k.rest1 < 0.5f ? k.rest1 : -k.beta1)),
        beta2(hn::Set(fd, k.beta2)),
        rest2(hn::Set(fd, k.rest2)),
        eps(hn::Set(fd, k.eps)),
        near(hn::Set(fd, k.rest1) < hn::Set(fd, 0.5f)) {}
};

/// As `adamw_element`, in the same order.
template <DType type, bool split>
HWY_NOINLINE inline void adamw_block_as(const UpdateArgs& args, const UpdateFactors& factors,
                                        std::int64_t first, const std::uint16_t* bits) {
  alignas(64) float space_m[block], space_v[block];
  const FactorVectors k(factors);
  const MasterBlock<split> master(args, first);
  MomentBlock<Moment::first, type> moment_m(args.m, first, space_m, bits);
  MomentBlock<Moment::second, type> moment_v(args.v, first, space_v, bits);
  const bool narrow = args.grad.type == DType::bf16;
  const float* whole_grad = args.grad.as<const float>() + (narrow ? 0 : first);
  const bfloat16* grad = args.grad.as<const bfloat16>() + first;
  const auto gather = [&](std::int64_t i) HWY_ATTR {
    const auto raw = narrow ? widen_halves(grad + i) : hn::LoadU(fd, whole_grad + i);
    const auto g = raw * k.gradient;
    auto m = moment_m.load(i), v = moment_v.load(i);
    const auto gap = g - m;
    m = hn::MulAdd(k.weight, gap, hn::IfThenElse(k.near, m, g));
    v = hn::MulAdd(k.rest2 * g, g, v * k.beta2);
    hn::StoreU(m, fd, moment_m.x + i);
    hn::StoreU(v, fd, moment_v.x + i);
    moment_m.close(m, i);
    moment_v.close(v, i);
  };
  const auto moved = [&](std::int64_t i) HWY_ATTR {
    const auto m = hn::LoadU(fd, moment_m.x + i), v = hn::LoadU(fd, moment_v.x + i);
    const auto decayed = master.load(i) * k.decay;
    const auto divisor = hn::MulAdd(hn::Sqrt(v), k.root, k.eps);
    return decayed - k.step * m / divisor;
  };
  // Roots and quotients of vectors before go on beside the moments of the next ones.
  constexpr std::int64_t lag = 4 * wide;
  for (std::int64_t i = 0; i < lag; i += wide) gather(i);
  for (std::int64_t i = lag; i < block + lag; i += 2 * wide) {
    if (i < block) {
      gather(i);
      gather(i + wide);
    }
    const auto low = moved(i - lag), high = moved(i - lag + wide);
    master.store(low, high, i - lag);
  }
  moment_m.close();
  moment_v.close();
}
template <DType type>
inline void adamw_block_of(const UpdateArgs& args, const UpdateFactors& factors, std::int64_t first,
                           const std::uint16_t* bits) {
  if (is_split(args)) return adamw_block_as<type, true>(args, factors, first, bits);
  adamw_block_as<type, false>(args, factors, first, bits);
}
#endif

/// Of the block that begins at `first`; false, and nothing done, where no vectors are made for it.
inline bool adamw_block([[maybe_unused]] const UpdateArgs& args,
                        [[maybe_unused]] const UpdateFactors& factors,
                        [[maybe_unused]] std::int64_t first,
                        [[maybe_unused]] const std::uint16_t* bits) {
#if HWY_TARGET != HWY_SCALAR
  if (args.param && args.param.type != DType::bf16) return false;
  if (args.m.type == DType::f32) {
    adamw_block_of<DType::f32>(args, factors, first, bits);
    return true;
  }
  if (args.m.type == DType::bf16) {
    adamw_block_of<DType::bf16>(args, factors, first, bits);
    return true;
  }
  if constexpr (permutes) {
    adamw_block_of<DType::q8>(args, factors, first, bits);
    return true;
  }
#endif
  return false;
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
