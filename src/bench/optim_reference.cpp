#include "bench/optim_reference.hpp"

#include <cmath>

namespace sherd::bench {
namespace {

constexpr double ulp = 0x1p-23;
constexpr double tiny = 0x1p-126;

struct Scalars {
  double beta1, beta2, eps, decay, lr, bias1, bias2;
};

// Loshchilov & Hutter 2019, Algorithm 2, with the bias corrections of Kingma & Ba 2015.
Updated adamw(const Element& e, double g, const Scalars& k) {
  const double m = k.beta1 * e.m + (1 - k.beta1) * g;
  const double v = k.beta2 * e.v + (1 - k.beta2) * g * g;
  const double shift = k.lr * (m / k.bias1) / (std::sqrt(v / k.bias2) + k.eps);
  const double m_error = 4 * ulp * (std::abs(k.beta1 * e.m) + std::abs((1 - k.beta1) * g));
  const double m_part = std::abs(m) > 0 ? m_error / std::abs(m) : 0;
  const double master = e.master - k.lr * k.decay * e.master - shift;
  return {.master = master,
          .m = m,
          .v = v,
          .master_error = 2 * ulp * std::abs(e.master) + std::abs(shift) * (16 * ulp + m_part),
          .m_error = m_error,
          .v_error = 4 * ulp * v};
}

// Chen et al. 2023, Algorithm 2.
Updated lion(const Element& e, double g, const Scalars& k) {
  const double blend = k.beta1 * e.m + (1 - k.beta1) * g;
  const double width = std::abs(k.beta1 * e.m) + std::abs((1 - k.beta1) * g);
  const double sign = blend > 0 ? 1 : blend < 0 ? -1 : 0;
  return {.master = e.master - k.lr * (sign + k.decay * e.master),
          .m = k.beta2 * e.m + (1 - k.beta2) * g,
          .master_error = 2 * ulp * (std::abs(e.master) + k.lr),
          .m_error = 4 * ulp * (std::abs(k.beta2 * e.m) + std::abs((1 - k.beta2) * g)),
          .sign_open = std::abs(blend) <= 4 * ulp * width};
}

// Sutskever et al. 2013 in PyTorch's form, decay coupled.
Updated sgd(const Element& e, double g, const Scalars& k) {
  const double slope = g + k.decay * e.master;
  const double m = k.beta1 * e.m + slope;
  const double m_error =
      4 * ulp * (std::abs(k.beta1 * e.m) + std::abs(g) + std::abs(k.decay * e.master));
  return {.master = e.master - k.lr * m,
          .m = m,
          .master_error = 2 * ulp * (std::abs(e.master) + std::abs(k.lr * m)) + k.lr * m_error,
          .m_error = m_error};
}

bool near(double got, double expected, double error) {
  return std::abs(got - expected) <= error + tiny;
}

}  // namespace

Updated reference_update(Rule rule, const Element& before, const kernels::UpdateArgs& args) {
  const auto wide = [](float x) { return static_cast<double>(x); };
  const Scalars k{wide(args.beta1),        wide(args.beta2),       wide(args.eps),
                  wide(args.weight_decay), wide(args.scalars->lr), args.scalars->bias1,
                  args.scalars->bias2};
  const double g = before.grad * wide(args.scalars->factor);
  switch (rule) {
    case Rule::adamw:
      return adamw(before, g, k);
    case Rule::lion:
      return lion(before, g, k);
    case Rule::sgd:
      return sgd(before, g, k);
  }
  return {};
}

bool is_right(const Updated& expected, const Element& after, bfloat16 param) {
  if (!near(after.m, expected.m, expected.m_error)) return false;
  if (!near(after.v, expected.v, expected.v_error)) return false;
  if (!expected.sign_open && !near(after.master, expected.master, expected.master_error)) {
    return false;
  }
  return to_stored_bfloat16(static_cast<float>(after.master)).bits == param.bits;
}

}  // namespace sherd::bench
