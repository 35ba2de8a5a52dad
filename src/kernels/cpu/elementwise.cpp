#include "kernels/cpu/elementwise.hpp"

#include "kernels/cpu/blocks.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/block-inl.hpp"
#include "sherd/kernels/gelu_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace sherd::kernels::cpu::HWY_NAMESPACE {

void gelu_chunk(View in, View out, std::int64_t first, std::int64_t count) {
  float in_space[block], out_space[block];
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    const float* x = widen(in, at, n, in_space);
    float* y = window(out, at, out_space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) y[i] = gelu_element(x[i]);
    narrow(y, out, at, n);
  }
}

void gelu_backward_chunk(View in, View d_out, View d_in, std::int64_t first, std::int64_t count) {
  float in_space[block], d_out_space[block], d_in_space[block];
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    const float* x = widen(in, at, n, in_space);
    const float* dy = widen(d_out, at, n, d_out_space);
    float* dx = window(d_in, at, d_in_space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) dx[i] = dy[i] * gelu_slope_element(x[i]);
    narrow(dx, d_in, at, n);
  }
}

void add_chunk(View a, View b, View out, std::int64_t first, std::int64_t count) {
  float a_space[block], b_space[block], out_space[block];
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    const float* x = widen(a, at, n, a_space);
    const float* y = widen(b, at, n, b_space);
    float* sum = window(out, at, out_space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) sum[i] = x[i] + y[i];
    narrow(sum, out, at, n);
  }
}

void dropout_chunk(const DropoutArgs& args, std::int64_t first, std::int64_t count) {
  float branch_space[block], residual_space[block], out_space[block];
  std::uint32_t word_buffer[word_space];
  const float grow = 1.0f / (1.0f - args.p);
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    const float* x = widen(args.branch, at, n, branch_space);
    const std::uint32_t* words =
        random_words(args.rng, static_cast<std::uint64_t>(at), n, word_buffer);
    float* y = out_space;
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) {
      const float uniform = static_cast<float>(static_cast<std::int32_t>(words[i] >> 8)) * 0x1p-24f;
      y[i] = uniform >= args.p ? x[i] * grow : 0.0f;
    }
    if (args.residual) {
      const float* r = widen(args.residual, at, n, residual_space);
#pragma GCC ivdep
      for (std::int64_t i = 0; i < n; ++i) y[i] = r[i] + y[i];
    }
    narrow(y, args.out, at, n);
  }
}

void cast_chunk(View in, View out, const Philox* round, std::int64_t first, std::int64_t count) {
  float space[block];
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    const float* x = widen(in, at, n, space);
    if (round != nullptr) {
      narrow_stochastic(x, out, at, n, *round, static_cast<std::uint64_t>(at));
    } else {
      narrow(x, out, at, n);
    }
  }
}

void scale_chunk(View x, float factor, std::int64_t first, std::int64_t count) {
  float in_space[block], out_space[block];
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    const float* from = widen(x, at, n, in_space);
    float* to = window(x, at, out_space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < n; ++i) to[i] = from[i] * factor;
    narrow(to, x, at, n);
  }
}

void accumulate_chunk(View value, const Grad& to, std::int64_t first, std::int64_t count) {
  float space[block];
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    const float* x = widen(value, at, n, space);
    if (x != space) std::memcpy(space, x, static_cast<std::size_t>(n) * sizeof(float));
    store_grad(space, to, at, n);
  }
}

// Elements 2q and 2q + 1 are the pair made from words 2q and 2q + 1.
void fill_normal_chunk(View x, std::uint64_t index, const Normal& normal, std::int64_t first,
                       std::int64_t count) {
  constexpr double turn = 6.283185307179586476925286766559;
  float space[block];
  std::uint32_t word_buffer[word_space];
  const auto mean = static_cast<double>(normal.mean), stddev = static_cast<double>(normal.stddev);
  for (std::int64_t at = first; at < first + count; at += block) {
    const std::int64_t n = std::min(block, first + count - at);
    const std::uint64_t element = index + static_cast<std::uint64_t>(at), even = element & ~1ull;
    const auto skip = static_cast<std::int64_t>(element - even);
    const std::uint32_t* words =
        random_words(normal.rng, even, (skip + n + 1) & ~std::int64_t{1}, word_buffer);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t pair = (skip + i) & ~std::int64_t{1};
      const double u = (static_cast<double>(words[pair]) + 1.0) * 0x1p-32;
      const double quarter = (skip + i) % 2 == 0 ? 0.0 : 0.25;  // cos(t - π/2) = sin(t)
      const double angle = (static_cast<double>(words[pair + 1]) * 0x1p-32 - quarter) * turn;
      const double value = std::sqrt(-2.0 * std::log(u)) * std::cos(angle);
      space[i] = static_cast<float>(std::fma(stddev, value, mean));
    }
    narrow(space, x, at, n);
  }
}

}  // namespace sherd::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sherd::kernels::cpu {

HWY_EXPORT(gelu_chunk);
HWY_EXPORT(gelu_backward_chunk);
HWY_EXPORT(add_chunk);
HWY_EXPORT(dropout_chunk);
HWY_EXPORT(cast_chunk);
HWY_EXPORT(scale_chunk);
HWY_EXPORT(accumulate_chunk);
HWY_EXPORT(fill_normal_chunk);

void gelu(View in, View out, device::Workers& workers) {
  run_chunks(workers, in.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(gelu_chunk)(in, out, first, count);
  });
}
void gelu_backward(View in, View d_out, View d_in, device::Workers& workers) {
  run_chunks(workers, in.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(gelu_backward_chunk)(in, d_out, d_in, first, count);
  });
}
void add(View a, View b, View out, device::Workers& workers) {
  run_chunks(workers, out.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(add_chunk)(a, b, out, first, count);
  });
}
void dropout(const DropoutArgs& args, device::Workers& workers) {
  if (args.p == 0 && args.residual) return add(args.residual, args.branch, args.out, workers);
  if (args.p == 0) return cast(args.branch, args.out, nullptr, workers);
  run_chunks(workers, args.out.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(dropout_chunk)(args, first, count);
  });
}
void cast(View in, View out, const Philox* round, device::Workers& workers) {
  if (in.data == out.data && in.type == out.type) return;
  run_chunks(workers, out.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(cast_chunk)(in, out, round, first, count);
  });
}
void scale(View x, float factor, device::Workers& workers) {
  run_chunks(workers, x.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(scale_chunk)(x, factor, first, count);
  });
}
void zero(std::span<std::byte> bytes, device::Workers& workers) {
  const auto total = static_cast<std::int64_t>(bytes.size());
  run_chunks(workers, total, 16 * chunk, [&](std::int64_t first, std::int64_t count) {
    std::memset(bytes.data() + first, 0, static_cast<std::size_t>(count));
  });
}
void accumulate(View value, const Grad& to, device::Workers& workers) {
  run_chunks(workers, value.numel(), chunk, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(accumulate_chunk)(value, to, first, count);
  });
}
void fill_normal(View x, std::uint64_t first, float mean, float stddev, Philox rng,
                 device::Workers& workers) {
  const Normal normal{mean, stddev, rng};
  run_chunks(workers, x.numel(), chunk, [&](std::int64_t at, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(fill_normal_chunk)(x, first, normal, at, count);
  });
}

}  // namespace sherd::kernels::cpu
#endif
