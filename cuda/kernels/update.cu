// One fused pass over the state of an optimizer, with the CPU's bits. Nothing is read again soon,
// so all accesses are marked as streaming.
#include "sherd/kernels/update.hpp"

#include "cuda/device/queue.hpp"
#include "cuda/kernels/access.cuh"
#include "cuda/kernels/run.cuh"
#include "cuda/kernels/twins.hpp"
#include "sherd/kernels/update_math.hpp"

namespace sherd::cuda {
namespace {

constexpr unsigned block_threads = 256;
constexpr int blocks_each = 4;  // of a multiprocessor: 64 registers a thread

struct UpdateOperands {
  Operand grad, master, m, v, param;
  float beta1, beta2, eps, weight_decay;
  const UpdateScalars* scalars;

  explicit UpdateOperands(const UpdateArgs& args)
      : grad(flat(args.grad)),
        master(flat(args.master)),
        m(flat(args.m)),
        v(flat(args.v)),
        param(flat(args.param)),
        beta1(args.beta1),
        beta2(args.beta2),
        eps(args.eps),
        weight_decay(args.weight_decay),
        scalars(args.scalars) {}
};

/// What every rule's factors share.
__device__ inline UpdateFactors plain_factors(const UpdateOperands& args, const UpdateScalars& s) {
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

struct AdamW {
  __device__ static UpdateFactors factors(const UpdateOperands& args, const UpdateScalars& s) {
    UpdateFactors k = plain_factors(args, s);
    k.step = static_cast<float>(static_cast<double>(s.lr) / s.bias1);
    k.inverse_root_bias2 = static_cast<float>(1.0 / ::sqrt(s.bias2));
    return k;
  }
  __device__ static void element(float& p, float& m, float& v, float g, const UpdateFactors& k) {
    adamw_element(p, m, v, g, k);
  }
};
struct Lion {
  __device__ static UpdateFactors factors(const UpdateOperands& args, const UpdateScalars& s) {
    return plain_factors(args, s);
  }
  __device__ static void element(float& p, float& m, float&, float g, const UpdateFactors& k) {
    lion_element(p, m, g, k);
  }
};
struct Sgd {
  __device__ static UpdateFactors factors(const UpdateOperands& args, const UpdateScalars& s) {
    UpdateFactors k = plain_factors(args, s);
    k.decay = args.weight_decay;
    return k;
  }
  __device__ static void element(float& p, float& m, float&, float g, const UpdateFactors& k) {
    sgd_element(p, m, g, k);
  }
};

template <class Rule>
__device__ inline void update_pack(const UpdateOperands& args, std::int64_t index,
                                   std::int64_t numel, const UpdateFactors& k) {
  const std::int64_t at = index * pack;
  const int count = elements_at(index, numel);
  const bool has_m = args.m.data != nullptr, has_v = args.v.data != nullptr;
  const Packed grad = fetch<Reuse::none>(args.grad, at, count);
  const Packed master = fetch<Reuse::none>(args.master, at, count);
  const Packed first = has_m ? fetch<Reuse::none>(args.m, at, count) : Packed{};
  const Packed second = has_v ? fetch<Reuse::none>(args.v, at, count) : Packed{};
  float g[pack], p[pack], m[pack], v[pack];
  widen(grad, args.grad.type, g);
  widen(master, DType::f32, p);
  widen(first, DType::f32, m);
  widen(second, DType::f32, v);
#pragma unroll
  for (int i = 0; i < pack; ++i) Rule::element(p[i], m[i], v[i], g[i], k);
  put<Reuse::none>(args.master, at, count, narrow(p, DType::f32));
  if (has_m) put<Reuse::none>(args.m, at, count, narrow(m, DType::f32));
  if (has_v) put<Reuse::none>(args.v, at, count, narrow(v, DType::f32));
  if (args.param.data == nullptr) return;
  put<Reuse::none>(args.param, at, count, narrow(p, args.param.type));
}

/// Bytes an element: grad + 8 a state array (master, m, v) + param; AdamW with bf16 gradients and
/// parameters moves 28.
template <class Rule>
__global__ void __launch_bounds__(block_threads, blocks_each)
    update_kernel(UpdateOperands args, std::int64_t numel) {
  if (args.scalars->skip != 0) return;
  __shared__ float shared_factors[sizeof(UpdateFactors) / sizeof(float)];
  auto& k = *reinterpret_cast<UpdateFactors*>(shared_factors);
  if (threadIdx.x == 0) k = Rule::factors(args, *args.scalars);
  __syncthreads();
  const UpdateFactors factors = k;
  const std::int64_t packs = ceil_div(numel, pack), step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs; i += step) {
    update_pack<Rule>(args, i, numel, factors);
  }
}

template <class Rule>
void run(const UpdateArgs& args, StreamRef stream) {
  const std::int64_t numel = args.master.numel();
  if (numel == 0) return;
  const Launch grid =
      resident(ceil_div(numel, pack), block_threads, stream.queue().multiprocessors, blocks_each);
  launch(update_kernel<Rule>, grid.blocks, grid.threads, stream_of(stream), UpdateOperands(args),
         numel);
  check_launch("optimizer update (launch)");
}

}  // namespace

void adamw(const UpdateArgs& args, StreamRef stream) { run<AdamW>(args, stream); }
void lion(const UpdateArgs& args, StreamRef stream) { run<Lion>(args, stream); }
void sgd(const UpdateArgs& args, StreamRef stream) { run<Sgd>(args, stream); }

}  // namespace sherd::cuda
