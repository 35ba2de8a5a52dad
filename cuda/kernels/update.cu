// One fused pass over the state of an optimizer, with the CPU's bits. Nothing is read again soon,
// so all accesses are marked as streaming.
#include "sherd/kernels/update.hpp"

#include "cuda/device/queue.hpp"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"
#include "cuda/kernels/update_state.cuh"
#include "sherd/kernels/update_math.hpp"

namespace sherd::cuda {
namespace {

constexpr unsigned block_threads = 256;
constexpr int blocks_each = 4;  // of a multiprocessor: 64 registers a thread

struct UpdateOperands {
  Operand grad, master, m, v, param;
  Philox round;
  std::uint64_t first;
  float beta1, beta2, eps, weight_decay;
  const UpdateScalars* scalars;

  explicit UpdateOperands(const UpdateArgs& args)
      : grad(flat(args.grad)),
        master(flat(args.master)),
        m(flat(args.m)),
        v(flat(args.v)),
        param(flat(args.param)),
        round(args.round),
        first(args.first),
        beta1(args.beta1),
        beta2(args.beta2),
        eps(args.eps),
        weight_decay(args.weight_decay),
        scalars(args.scalars) {}
  __device__ bool is_split() const { return master.type == DType::u16; }
};

struct AdamW {
  __device__ static UpdateFactors factors(const UpdateOperands& args, const UpdateScalars& s) {
    return adamw_factors(args, s);
  }
  __device__ static void element(float& p, float& m, float& v, float g, const UpdateFactors& k) {
    adamw_element(p, m, v, g, k);
  }
};
struct Lion {
  __device__ static UpdateFactors factors(const UpdateOperands& args, const UpdateScalars& s) {
    return lion_factors(args, s);
  }
  __device__ static void element(float& p, float& m, float&, float g, const UpdateFactors& k) {
    lion_element(p, m, g, k);
  }
};
struct Sgd {
  __device__ static UpdateFactors factors(const UpdateOperands& args, const UpdateScalars& s) {
    return sgd_factors(args, s);
  }
  __device__ static void element(float& p, float& m, float&, float g, const UpdateFactors& k) {
    sgd_element(p, m, g, k);
  }
};

/// What is the same for every pack of a launch.
struct Shared {
  UpdateFactors factors;
  Philox round;
  const Block8Maps* maps;
};

template <DType type>
__device__ inline void put_moments(const UpdateOperands& args, std::int64_t at, int count,
                                   const float (&m)[pack], const float (&v)[pack],
                                   const Shared& shared) {
  const bool has_m = args.m.data != nullptr, has_v = args.v.data != nullptr;
  if constexpr (type == DType::q8) {
    const Block8Maps& maps = *shared.maps;
    if (has_m) {
      put_block(args.m, at, m, [&](float x, float k) { return encode_m(x, k, maps.first); });
    }
    if (has_v) {
      put_block(args.v, at, v, [&](float x, float k) { return encode_v(x, k, maps.second); });
    }
  } else if constexpr (type == DType::bf16) {
    std::uint32_t bits[pack / 2];
    moment_bits(shared.round, args.first + static_cast<std::uint64_t>(at), bits);
    if (has_m) {
      const auto same = [](std::uint32_t half) { return half; };
      put<Reuse::none>(args.m, at, count, narrow_by(m, bits, same));
    }
    if (has_v) {
      const auto second = [](std::uint32_t half) { return second_moment_bits(half); };
      put<Reuse::none>(args.v, at, count, narrow_by(v, bits, second));
    }
  } else {
    if (has_m) put<Reuse::none>(args.m, at, count, narrow(m, DType::f32));
    if (has_v) put<Reuse::none>(args.v, at, count, narrow(v, DType::f32));
  }
}

__device__ inline void put_master(const UpdateOperands& args, std::int64_t at, int count,
                                  const float (&p)[pack]) {
  put<Reuse::none>(args.master, at, count, args.is_split() ? remainders(p) : narrow(p, DType::f32));
  if (args.param.data == nullptr) return;
  put<Reuse::none>(args.param, at, count, narrow_stored(p, args.param.type));
}

template <class Rule, DType type>
__device__ inline void update_pack(const UpdateOperands& args, std::int64_t index,
                                   std::int64_t numel, const Shared& shared) {
  const std::int64_t at = index * pack;
  const int count = elements_at(index, numel);
  const Packed grad = fetch<Reuse::none>(args.grad, at, count);
  const Packed master = fetch<Reuse::none>(args.master, at, count);
  const Packed stored = args.is_split() ? fetch<Reuse::none>(args.param, at, count) : Packed{};
  const RawMoment first = fetch_moment<type>(args.m, at, count);
  const RawMoment second = fetch_moment<type>(args.v, at, count);
  float g[pack], p[pack], m[pack], v[pack];
  widen(grad, args.grad.type, g);
  if (args.is_split()) {
    join(stored, master, p);
  } else {
    widen(master, DType::f32, p);
  }
  open_moment<type>(
      first, [&](std::uint8_t code, float x) { return decode_m(code, x, shared.maps->first); }, m);
  open_moment<type>(
      second, [&](std::uint8_t code, float x) { return decode_v(code, x, shared.maps->second); },
      v);
#pragma unroll
  for (int i = 0; i < pack; ++i) Rule::element(p[i], m[i], v[i], g[i], shared.factors);
  put_master(args, at, count, p);
  put_moments<type>(args, at, count, m, v, shared);
}

/// A skipped step: the state stays, and a parameter on its way home is made again.
__device__ inline void copy_again(const UpdateOperands& args, std::int64_t numel) {
  if (args.param.data == nullptr || args.is_split()) return;
  const std::int64_t packs = ceil_div(numel, pack), step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += step) {
    const int count = elements_at(i, numel);
    float p[pack];
    widen(fetch<Reuse::none>(args.master, i * pack, count), DType::f32, p);
    put<Reuse::none>(args.param, i * pack, count, narrow_stored(p, args.param.type));
  }
}

/// Bytes an element: as kernels::update.hpp says of each format; AdamW with bf16 gradients and
/// parameters and fp32 state moves 28. Of q8 a warp takes a block, so none of its lanes is idle.
template <class Rule, DType type>
__global__ void __launch_bounds__(block_threads, blocks_each)
    update_kernel(const __grid_constant__ UpdateOperands args, std::int64_t numel,
                  const __grid_constant__ Block8Maps maps) {
  if (args.scalars->skip != 0) return copy_again(args, numel);
  constexpr unsigned map_words = type == DType::q8 ? sizeof(Block8Maps) / sizeof(float) : 1;
  __shared__ float shared_factors[sizeof(UpdateFactors) / sizeof(float)];
  __shared__ float shared_maps[map_words];  // each lane looks up other entries
  auto& k = *reinterpret_cast<UpdateFactors*>(shared_factors);
  if (threadIdx.x == 0) k = Rule::factors(args, *args.scalars);
  if constexpr (type == DType::q8) {
    const auto* from = reinterpret_cast<const float*>(&maps);
    for (unsigned i = threadIdx.x; i < map_words; i += blockDim.x) shared_maps[i] = from[i];
  }
  __syncthreads();
  const Shared shared{k, moment_rounding(args.round, args.scalars->applied),
                      reinterpret_cast<const Block8Maps*>(shared_maps)};
  const std::int64_t packs = ceil_div(numel, pack), step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += step) {
    update_pack<Rule, type>(args, i, numel, shared);
  }
}

template <class Rule, DType type>
void run_as(const UpdateArgs& args, StreamRef stream) {
  const std::int64_t numel = args.master.numel();
  if (numel == 0) return;
  const Launch grid =
      resident(ceil_div(numel, pack), block_threads, stream.queue().multiprocessors, blocks_each);
  launch(update_kernel<Rule, type>, grid.blocks, grid.threads, stream_of(stream),
         UpdateOperands(args), numel, Block8Maps{});
  check_launch("optimizer update (launch)");
}

template <class Rule>
void run(const UpdateArgs& args, StreamRef stream) {
  const DType moments = args.m ? args.m.type : DType::f32;
  if (moments == DType::q8) return run_as<Rule, DType::q8>(args, stream);
  if (moments == DType::bf16) return run_as<Rule, DType::bf16>(args, stream);
  run_as<Rule, DType::f32>(args, stream);
}

}  // namespace

void adamw(const UpdateArgs& args, StreamRef stream) { run<AdamW>(args, stream); }
void lion(const UpdateArgs& args, StreamRef stream) { run<Lion>(args, stream); }
void sgd(const UpdateArgs& args, StreamRef stream) { run<Sgd>(args, stream); }

}  // namespace sherd::cuda
