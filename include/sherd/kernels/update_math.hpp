#pragma once
// The arithmetic of one element of each optimizer, shared by every device. A zero element with a
// zero gradient stays exactly zero, which keeps padding clean.
#include "sherd/kernels/exp_math.hpp"
#include "sherd/kernels/update.hpp"

namespace sherd::kernels {

/// Per-step factors, formed once in fp64 and rounded once.
struct UpdateFactors {
  float gradient = 1;            // multiplier of the gradient
  float decay = 1;               // 1 - lr·weight_decay (coupled: weight_decay itself)
  float step = 0;                // lr / bias1
  float inverse_root_bias2 = 1;  // 1 / sqrt(bias2)
  float beta1 = 0, rest1 = 1;    // beta and 1 - beta
  float beta2 = 0, rest2 = 1;
  float eps = 0;
};

/// What every rule's factors share.
template <class Args>  // beta1, beta2, eps, weight_decay
SHERD_FORMULA UpdateFactors plain_factors(const Args& args, const UpdateScalars& s) {
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
template <class Args>
SHERD_FORMULA UpdateFactors adamw_factors(const Args& args, const UpdateScalars& s) {
  UpdateFactors k = plain_factors(args, s);
  k.step = static_cast<float>(static_cast<double>(s.lr) / s.bias1);
  k.inverse_root_bias2 = static_cast<float>(1.0 / ::sqrt(s.bias2));
  return k;
}
template <class Args>
SHERD_FORMULA UpdateFactors lion_factors(const Args& args, const UpdateScalars& s) {
  return plain_factors(args, s);
}
template <class Args>
SHERD_FORMULA UpdateFactors sgd_factors(const Args& args, const UpdateScalars& s) {
  UpdateFactors k = plain_factors(args, s);
  k.decay = args.weight_decay;
  return k;
}

/// The bits that round bf16 moments at this update: `applied` is the last index of their stream's
/// path. Element i takes 16 bits, half i % 2 of word i / 2 % 4 of block i / 8: m as they are, v
/// with their bytes exchanged, so that what decides for one hardly matters to the other.
SHERD_FORMULA Philox moment_rounding(Philox round, std::uint64_t applied) {
  return {round.key, mix(round.stream ^ applied)};
}
SHERD_FORMULA std::uint32_t second_moment_bits(std::uint32_t half) {
  return (half << 8 | half >> 8) & 0xffffu;
}

/// Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", Algorithm 2, in the
/// order of PyTorch's `_single_tensor_adamw`; sqrt(v) is multiplied by the rounded 1/sqrt(bias2).
SHERD_FORMULA void adamw_element(float& p, float& m, float& v, float g, const UpdateFactors& k) {
  const float grad = g * k.gradient;
  const float decayed = p * k.decay;
  const float gap = grad - m;  // lerp from the nearer end
  m = k.rest1 < 0.5f ? ::fmaf(k.rest1, gap, m) : ::fmaf(-k.beta1, gap, grad);
  v = ::fmaf(k.rest2 * grad, grad, v * k.beta2);
  const float denominator = ::fmaf(::sqrtf(v), k.inverse_root_bias2, k.eps);
  p = decayed - k.step * m / denominator;
}

/// Source: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", Algorithm 2, decay
/// first as in the authors' code; the sign of 0 is 0.
SHERD_FORMULA void lion_element(float& p, float& m, float g, const UpdateFactors& k) {
  const float grad = g * k.gradient;
  const float blend = ::fmaf(k.rest1, grad, k.beta1 * m);
  const float positive = blend > 0.0f ? k.step : 0.0f;
  const float signed_step = blend < 0.0f ? -k.step : positive;
  p = p * k.decay - signed_step;
  m = ::fmaf(k.rest2, grad, k.beta2 * m);
}

/// Source: Sutskever et al. 2013 in PyTorch's form, m = beta1·m + (g + decay·p), p -= lr·m.
SHERD_FORMULA void sgd_element(float& p, float& m, float g, const UpdateFactors& k) {
  m = ::fmaf(k.beta1, m, ::fmaf(k.decay, p, g * k.gradient));
  p = ::fmaf(-k.step, m, p);
}

}  // namespace sherd::kernels
