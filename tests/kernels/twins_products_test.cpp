// Products, their bias gradients and losses on the device, against fp64.
#include <doctest/doctest.h>

#include <array>

#include "kernels/twin.hpp"
#include "sherd/kernels/cross_entropy.hpp"
#include "sherd/kernels/matmul.hpp"

using namespace sherd;
using kernels::Transpose;
using test::Array;
using test::Both;
using test::float_types;
using test::half_ulp;
using test::noise;
using test::Twin;

namespace {

enum class Form { plain, random, keeps_before_gelu, times_gelu_slope };

struct Product {
  std::int64_t m, n, k;
  DType a = DType::f32, b = DType::f32, out = DType::f32;
  Transpose turn_a = Transpose::no, turn_b = Transpose::no;
  Write mode = Write::set;
  bool bias = false, pitched = false;
  Form form = Form::plain;
};

double inner(double x) { return 0.79788456080286541 * (x + 0.044715 * x * x * x); }
double gelu(double x) { return 0.5 * x * (1 + std::tanh(inner(x))); }
double gelu_slope(double x) {
  const double t = std::tanh(inner(x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.79788456080286541 * (1 + 3 * 0.044715 * x * x);
}

Shape stored(std::int64_t rows, std::int64_t cols, Transpose turn) {
  return turn == Transpose::yes ? Shape{cols, rows} : Shape{rows, cols};
}
std::int64_t aligned(std::int64_t cols) { return (cols + 63) / 64 * 64; }

/// All operands of one product, and what fp64 says of it.
struct Problem {
  Problem(Twin& on, const Product& of)
      : p(of),
        a(make(on, stored(of.m, of.k, of.turn_a), of.a, 1)),
        b(make(on, stored(of.k, of.n, of.turn_b), of.b, 2)),
        out(make(on, {of.m, of.n}, of.out, 3)),
        before(make(on, {of.m, of.n}, of.out, 4)),
        slope(make(on, {of.m, of.n}, of.out, 5)),
        bias(on.make({1, of.n}, of.b, noise(6))) {}

  Both& make(Twin& on, Shape shape, DType type, std::uint64_t salt) const {
    return on.make(shape, type, noise(salt), {.pitch = p.pitched ? aligned(shape.cols) : 0});
  }
  [[nodiscard]] Bytes need(StreamRef s) const {
    const DType half = p.a == DType::f32 ? p.b : p.a;
    return kernels::matmul_scratch(p.m, p.n, p.k, half, p.out, {.kind = s.kind(), .threads = 2});
  }
  void multiply(Twin& on, StreamRef s) {
    const Philox bits{5, 6};
    kernels::MatmulArgs args{.a = a.at(s),
                             .b = b.at(s),
                             .transpose_a = p.turn_a,
                             .transpose_b = p.turn_b,
                             .out = out.at(s),
                             .mode = p.mode};
    args.scratch = on.scratch(s, need(s));
    if (p.bias) args.bias = bias.at(s);
    if (p.form == Form::random) args.round = &bits;
    if (p.form == Form::keeps_before_gelu) args.before_gelu = before.at(s);
    if (p.form == Form::times_gelu_slope) args.gelu_of = slope.at(s);
    kernels::matmul(args, s);
  }
  /// Largest errors in units of what rounding allows: of the result, and of what is kept of it.
  [[nodiscard]] double worst(Twin& on, const Array& start) {
    const Array got = out.device(on.stream), kept = before.device(on.stream);
    const double half = half_ulp(p.out) * (p.form == Form::random ? 2 : 1);
    double most = 0;
    const auto judge = [&](double have, double want, double allowed) {
      const double off = std::abs(have - want) / allowed;
      if (!(off <= most)) most = std::isnan(off) ? 1e30 : off;
    };
    for (std::int64_t i = 0; i < p.m; ++i) {
      for (std::int64_t j = 0; j < p.n; ++j) {
        const std::int64_t at = i * p.n + j;
        double size = 0, sum = p.mode == Write::add ? start[at] : 0;
        if (p.bias) sum += bias.host[j];
        for (std::int64_t t = 0; t < p.k; ++t) {
          const double x = a.host[p.turn_a == Transpose::yes ? t * p.m + i : i * p.k + t] *
                           b.host[p.turn_b == Transpose::yes ? j * p.k + t : t * p.n + j];
          sum += x;
          size += std::abs(x);
        }
        const double noise_of = 4e-7 * std::sqrt(double(p.k)) * (size + 1) + 1e-7;
        const double plain = noise_of + half * std::abs(sum);
        if (p.form == Form::keeps_before_gelu) {
          judge(kept[at], sum, plain);
          judge(got[at], gelu(sum), 1.13 * plain + half * std::abs(gelu(sum)) + 1e-6);
        } else if (p.form == Form::times_gelu_slope) {
          const double want = sum * gelu_slope(slope.host[at]);
          judge(got[at], want, 1.13 * plain + half * std::abs(want) + 2e-6 * std::abs(sum));
        } else {
          judge(got[at], sum, plain);
        }
      }
    }
    return most;
  }

  Product p;
  Both &a, &b, &out, &before, &slope, &bias;
};

void check(Twin& twin, const Product& product) {
  Problem problem(twin, product);
  const Array start = problem.out.host;
  twin.run([&](StreamRef s) { problem.multiply(twin, s); });
  CAPTURE(product.m);
  CAPTURE(product.n);
  CAPTURE(product.k);
  CAPTURE(name_of(product.a));
  CAPTURE(name_of(product.b));
  CAPTURE(name_of(product.out));
  CHECK(problem.worst(twin, start) < 1);
  CHECK(twin.is_sound());
  twin.clear();
}

double row_loss(const Array& logits, std::int64_t row, std::int64_t cols, std::int64_t label) {
  double top = -HUGE_VAL, sum = 0;
  for (std::int64_t c = 0; c < cols; ++c) top = std::max(top, logits[row * cols + c]);
  for (std::int64_t c = 0; c < cols; ++c) sum += std::exp(logits[row * cols + c] - top);
  return std::log(sum) + top - logits[row * cols + label];
}
kernels::LossSum sums_of(Both& both, Twin& twin) {
  kernels::LossSum sums;
  std::memcpy(&sums, both.device(twin.stream).bytes().data(), sizeof sums);
  return sums;
}

/// One chunk of the loss: what fp64 says of its gradient and its sum.
void check_loss(Twin& twin, Shape shape, DType gradient, bool in_place, bool pitched) {
  const auto [rows, cols] = shape;
  const Both::Layout layout{.pitch = pitched ? aligned(cols) : 0};
  Both &logits = twin.make(shape, DType::f32, noise(1, 8), layout),
       &d_logits = twin.make(shape, gradient, noise(2), layout),
       &labels =
           twin.make({rows, 1}, DType::i32,
                     [=, n = cols](std::int64_t i) {
                       return i % 7 == 3 ? double(kernels::ignored_label) : double(i * 13 % n);
                     }),
       &scale = twin.make({1, 1}, DType::f32, [](std::int64_t) { return 512.0; }),
       &sums = twin.bytes_of(kernels::LossSum{}), &alone = twin.bytes_of(kernels::LossSum{}),
       &copy = twin.make(shape, DType::f32, noise(1, 8), layout);
  const Array x = logits.host;
  twin.run([&](StreamRef s) {
    const bool apart = !in_place && s.kind() != DeviceKind::cpu;
    kernels::cross_entropy({logits.at(s), labels.at(s), scale.as<float>(s), 50,
                            sums.as<kernels::LossSum>(s), apart ? d_logits.at(s) : View{}},
                           s);
    kernels::cross_entropy(
        {copy.at(s), labels.at(s), nullptr, 50, alone.as<kernels::LossSum>(s), {}}, s);
  });
  double loss = 0, most = 0;
  std::int64_t tokens = 0;
  const DType type = in_place ? DType::f32 : gradient;
  const Array got = in_place ? logits.device(twin.stream) : d_logits.device(twin.stream);
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto label = static_cast<std::int64_t>(labels.host[r]);
    const bool counts = label != kernels::ignored_label;
    if (counts) loss += row_loss(x, r, cols, label);
    tokens += counts ? 1 : 0;
    const double norm = row_loss(x, r, cols, 0) + x[r * cols];  // log of the sum of exponentials
    for (std::int64_t c = 0; c < cols; ++c) {
      const double p = std::exp(x[r * cols + c] - norm);
      const double want = counts ? (p - (c == label ? 1 : 0)) * 512 / 50 : 0;
      const double off = std::abs(got[r * cols + c] - want);
      most = std::max(most, off / (1e-5 + half_ulp(type) * std::abs(want)));
    }
  }
  CHECK(most < 1);
  for (Both* both : {&sums, &alone}) {
    const kernels::LossSum found = sums_of(*both, twin);
    CHECK(std::abs(found.loss.value() - loss) < 1e-6 * (1 + loss));
    CHECK(found.tokens == tokens);
    CHECK(found.nonfinite == 0);
  }
  CHECK(sums_of(sums, twin).loss.limb == sums_of(alone, twin).loss.limb);
  CHECK(twin.is_sound());
  twin.clear();
}

}  // namespace

TEST_CASE("products on the device agree with fp64 for every mix of types") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType a : float_types) {
    for (const DType b : float_types) {
      for (const DType out : float_types) check(twin, {33, 259, 72, a, b, out});
    }
  }
}

TEST_CASE("products on the device transpose, add, take a bias and rows that are apart") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  constexpr std::array<std::array<std::int64_t, 3>, 5> sizes = {
      {{1, 1, 1}, {7, 5, 3}, {257, 64, 48}, {65, 17, 700}, {40, 1009, 33}}};
  for (const auto& [m, n, k] : sizes) {
    for (const DType type : float_types) {
      for (int form = 0; form < 32; ++form) {
        check(twin, {m, n, k, type, type, (form & 16) != 0 ? DType::f32 : type,
                     (form & 1) != 0 ? Transpose::yes : Transpose::no,
                     (form & 2) != 0 ? Transpose::yes : Transpose::no,
                     (form & 4) != 0 ? Write::add : Write::set, (form & 8) != 0 && (form & 4) == 0,
                     (form & 8) != 0});
      }
    }
  }
}

TEST_CASE("a GELU behind a product on the device, or its slope, agrees with fp64") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const DType type : float_types) {
    for (const bool pitched : {false, true}) {
      for (const auto turn : {Transpose::no, Transpose::yes}) {
        Product product{33, 259, 72, type, type, type, Transpose::no, turn};
        product.pitched = pitched;
        product.form = Form::keeps_before_gelu;
        product.bias = true;
        check(twin, product);
        product.form = Form::times_gelu_slope;
        product.bias = false;
        check(twin, product);
      }
    }
  }
}

TEST_CASE("a product rounded at random on the device lies beside the exact one, without drift") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const Write mode : {Write::set, Write::add}) {
    Product product{130, 259, 40, DType::bf16, DType::bf16, DType::bf16};
    product.mode = mode;
    product.form = Form::random;
    product.turn_a = Transpose::yes;
    check(twin, product);
  }
}

TEST_CASE("column sums on the device agree with fp64 in fp32 and bf16") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const Shape shape : {Shape{1, 1}, {255, 257}, {1000, 24}, {7, 1537}, {0, 5}}) {
    for (const DType type : float_types) {
      for (const DType grad : {DType::f32, DType::bf16}) {
        for (const Write mode : {Write::set, Write::add}) {
          Both &d_out = twin.make(shape, type, noise(1)),
               &to = twin.make({1, shape.cols}, grad, noise(2));
          const Bytes need = kernels::bias_gradient_scratch(shape.cols, {.kind = DeviceKind::cuda});
          const Array start = to.host;
          twin.run([&](StreamRef s) {
            kernels::bias_gradient({d_out.at(s), {to.at(s), mode, {7, 8}}, twin.scratch(s, need)},
                                   s);
          });
          std::vector<double> sum(static_cast<std::size_t>(shape.cols)), size(sum.size());
          for (std::int64_t i = 0; i < shape.numel(); ++i) {
            sum[static_cast<std::size_t>(i % shape.cols)] += d_out.host[i];
            size[static_cast<std::size_t>(i % shape.cols)] += std::abs(d_out.host[i]);
          }
          const auto want = [&](std::int64_t c) {
            return sum[static_cast<std::size_t>(c)] + (mode == Write::add ? start[c] : 0);
          };
          const double step = grad == DType::bf16 ? 2 * half_ulp(grad) : 1e-7;
          CHECK(test::worst(to.device(twin.stream), want, [&](std::int64_t c) {
                  return 1e-6 * (1 + size[static_cast<std::size_t>(c)]) + step * std::abs(want(c));
                }) < 1);
          CHECK(twin.is_sound());
          twin.clear();
        }
      }
    }
  }
}

TEST_CASE(
    "cross entropy on the device agrees with fp64, in place and apart, with rows of any pitch") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const Shape shape : {Shape{1, 1}, {3, 2}, {33, 259}, {10, 1023}, {600, 16}, {5, 50257}}) {
    for (const bool pitched : {false, true}) {
      CAPTURE(shape.cols);
      check_loss(twin, shape, DType::f32, true, pitched);
      for (const DType type : float_types) check_loss(twin, shape, type, false, pitched);
    }
  }
}

TEST_CASE("cross entropy on the device counts a chunk whose loss is not finite and adds nothing") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const double bad : {HUGE_VAL, std::nan("")}) {
    Both &logits = twin.make({3, 20}, DType::f32,
                             [=](std::int64_t i) { return i == 27 ? bad : double(i % 5); }),
         &labels = twin.make({3, 1}, DType::i32, [](std::int64_t) { return 19.0; }),
         &scale = twin.make({1, 1}, DType::f32, [](std::int64_t) { return 1.0; }),
         &sums = twin.bytes_of(kernels::LossSum{});
    twin.run([&](StreamRef s) {
      kernels::cross_entropy(
          {logits.at(s), labels.at(s), scale.as<float>(s), 1, sums.as<kernels::LossSum>(s), {}}, s);
    });
    CHECK(sums_of(sums, twin).nonfinite == 1);
    CHECK(sums_of(sums, twin).loss.value() == 0);
    CHECK(sums_of(sums, twin).tokens == 3);
    twin.clear();
  }
}

TEST_CASE("squared error on the device gives the CPU's gradient and the loss of fp64") {
  SHERD_NEEDS_DEVICE();
  Twin twin;
  for (const Shape shape : {Shape{1, 1}, {33, 5}, {700, 257}}) {
    Both &out = twin.make(shape, DType::f32, noise(1)),
         &target = twin.make(shape, DType::f32,
                             [&, plain = noise(2)](std::int64_t i) {
                               return i == 4 * shape.cols ? std::nan("") : plain(i);
                             }),
         &d_out = twin.make(shape, DType::f32, noise(3)),
         &scale = twin.make({1, 1}, DType::f32, [](std::int64_t) { return 8.0; }),
         &sums = twin.bytes_of(kernels::LossSum{});
    twin.run([&](StreamRef s) {
      kernels::squared_error({out.at(s), target.at(s), d_out.at(s), scale.as<float>(s), 4,
                              sums.as<kernels::LossSum>(s)},
                             s);
    });
    double loss = 0;
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      const double gap = i / shape.cols == 4 ? 0 : out.host[i] - target.host[i];
      loss += gap * gap / 2;
    }
    CHECK(twin.same(d_out));
    CHECK(std::abs(sums_of(sums, twin).loss.value() - loss) < 1e-12 * (1 + loss));
    CHECK(sums_of(sums, twin).tokens == shape.rows - (shape.rows > 4 ? 1 : 0));
    CHECK(twin.is_sound());
    twin.clear();
  }
}
