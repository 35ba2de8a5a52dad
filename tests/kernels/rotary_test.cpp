#include "sherd/kernels/rotary.hpp"

#include <doctest/doctest.h>

#include "kernels/rotary_reference.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/kernels/rotary_math.hpp"

using namespace sherd;
using namespace sherd::test;
using kernels::AttentionShape;
using kernels::Rotary;
using kernels::RotaryScaling;

namespace {

constexpr AttentionShape shapes[] = {
    {1, 1, 1, 2}, {2, 33, 3, 8}, {1, 40, 6, 20, 2}, {3, 5, 4, 64, 1}, {1, 2, 2, 256}};
const Rotary plain{.theta = 10000}, linear{10000, RotaryScaling::linear, 4};
const Rotary llama3{500000, RotaryScaling::llama3, 32, 1, 4, 8192};
const Rotary tight{100, RotaryScaling::llama3, 8, 1, 4, 64};  // all three ranges in small heads

/// Operands of one call, with gains or without.
struct Problem {
  Problem(const AttentionShape& s, DType type, bool with_gains, const Rotary& rotary = plain,
          std::int64_t first = 0)
      : reference{s, rotary, first},
        norms(with_gains),
        in(rows(), type, noise(1, 2)),
        out(rows(), type),
        d_out(rows(), type, noise(2)),
        d_in(rows(), type),
        gains{{{1, s.head_dim}, type, [](auto i) { return 1 + noise(3, 0.5)(i); }},
              {{1, s.head_dim}, type, [](auto i) { return 1 + noise(4, 0.5)(i); }}},
        rstd({s.rows(), reference.turning()}, DType::f32),
        d_gains{{{1, s.head_dim}, DType::f32}, {{1, s.head_dim}, DType::f32}} {}

  [[nodiscard]] Shape rows() const { return {reference.shape.rows(), reference.shape.qkv_width()}; }
  void forward(StreamRef stream, View to) {
    Array space = scratch(kernels::rotary_scratch(reference.shape, {}));
    kernels::RotaryArgs args{.shape = reference.shape, .in = in.view(), .out = to};
    if (norms) args.q_gain = gains[0].view();
    if (norms) args.k_gain = gains[1].view();
    if (norms) args.rstd = rstd.view();
    args.eps = static_cast<float>(reference.eps);
    args.rotary = reference.rotary;
    args.scratch = space.view();
    args.first_position = reference.first_position;
    kernels::rotary(args, stream);
    CHECK(space.guarded());
  }
  void backward(StreamRef stream, View to) {
    Array space = scratch(kernels::rotary_backward_scratch(reference.shape, {}));
    kernels::RotaryBackwardArgs args{
        .shape = reference.shape, .d_out = d_out.view(), .d_in = to, .in = {}, .rotary = {}};
    if (norms) {
      args.in = in.view();
      args.q_gain = gains[0].view();
      args.k_gain = gains[1].view();
      args.rstd = rstd.view();
      args.d_q_gain = {d_gains[0].view()};
      args.d_k_gain = {d_gains[1].view()};
    }
    args.rotary = reference.rotary;
    args.scratch = space.view();
    args.first_position = reference.first_position;
    kernels::rotary_backward(args, stream);
    CHECK(space.guarded());
  }
  [[nodiscard]] const Array* gain_of(std::int64_t head) const {
    return norms ? &gains[head < reference.shape.heads ? 0 : 1] : nullptr;
  }
  /// visit(row, head) for every head that turns.
  template <class Visit>
  void each(Visit visit) const {
    for (std::int64_t row = 0; row < reference.shape.rows(); ++row) {
      for (std::int64_t head = 0; head < reference.turning(); ++head) visit(row, head);
    }
  }
  /// Largest error over one head's elements, in units of what is allowed.
  [[nodiscard]] double off(const Array& got, std::int64_t row, std::int64_t head, const Head& want,
                           DType type) const {
    double most = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      const double x = got[reference.place(row, head) + static_cast<std::int64_t>(i)];
      const double error = std::abs(x - want[i]);
      most = std::max(most, error / (1e-5 + half_ulp(type) * std::abs(want[i])));
    }
    return most;
  }
  [[nodiscard]] bool carries(const Array& from, const Array& to) const {
    bool same = true;
    for (std::int64_t row = 0; row < reference.shape.rows(); ++row) {
      const std::int64_t end = reference.place(row + 1, 0);
      for (std::int64_t i = reference.place(row, reference.turning()); i < end; ++i)
        same = same && from[i] == to[i];
    }
    return same;
  }

  RotaryReference reference;
  bool norms;
  Array in, out, d_out, d_in, gains[2], rstd, d_gains[2];
};

}  // namespace

TEST_CASE("rotary equals its fp64 definition for every type, with and without the norm of heads") {
  device::Stream stream(2);
  for (const DType type : float_types) {
    for (const AttentionShape& shape : shapes) {
      for (const bool norms : {false, true}) {
        Problem p(shape, type, norms, shape.head_dim == 20 ? tight : plain, shape.length);
        p.forward(stream, p.out.view());
        double worst = 0, worst_rstd = 0;
        p.each([&](std::int64_t row, std::int64_t head) {
          const Head x = p.reference.head(p.in, row, head);
          const Head want = p.reference.turned(p.reference.normed(x, p.gain_of(head)), row);
          worst = std::max(worst, p.off(p.out, row, head, want, type));
          const double rstd = p.rstd[row * p.reference.turning() + head];
          if (norms) worst_rstd = std::max(worst_rstd, std::abs(rstd / p.reference.rstd(x) - 1));
        });
        CAPTURE(name_of(type));
        CAPTURE(shape.head_dim);
        CHECK(worst < 1);
        CHECK(worst_rstd < 4e-6);
        CHECK(p.carries(p.in, p.out));
        CHECK(p.out.guarded());
        p.forward(stream, p.in.view());
        CHECK(p.in == p.out);
      }
    }
  }
}

TEST_CASE("rotary backward equals the fp64 derivative and sums the gains' gradients") {
  device::Stream stream(2);
  for (const DType type : float_types) {
    for (const AttentionShape& shape : shapes) {
      for (const bool norms : {false, true}) {
        Problem p(shape, type, norms, tight, 7);
        p.forward(stream, p.out.view());
        p.backward(stream, p.d_in.view());
        double worst = 0;
        std::vector<Head> sums(2, Head(static_cast<std::size_t>(shape.head_dim)));
        p.each([&](std::int64_t row, std::int64_t head) {
          const Head x = p.reference.head(p.in, row, head);
          const Head slope = p.reference.turned(p.reference.head(p.d_out, row, head), row, -1);
          const Head want = p.reference.norm_back(x, p.gain_of(head), slope);
          worst = std::max(worst, p.off(p.d_in, row, head, want, type));
          Head& sum = sums[head < shape.heads ? 0 : 1];
          for (std::size_t i = 0; i < x.size(); ++i)
            sum[i] += slope[i] * x[i] * p.reference.rstd(x);
        });
        CAPTURE(name_of(type));
        CAPTURE(shape.head_dim);
        CHECK(worst < (norms ? 3 : 1));
        for (std::int64_t i = 0; norms && i < 2 * shape.head_dim; ++i) {
          const std::int64_t at = i % shape.head_dim, which = i / shape.head_dim;
          const double want = sums[static_cast<std::size_t>(which)][static_cast<std::size_t>(at)];
          REQUIRE(std::abs(p.d_gains[which][at] - want) < 1e-4);
        }
        CHECK(p.carries(p.d_out, p.d_in));
        CHECK(p.d_in.guarded());
        p.backward(stream, p.d_out.view());
        CHECK(p.d_out == p.d_in);
      }
    }
  }
}

TEST_CASE("rotary frequencies follow transformers' scaling by wavelength") {
  for (const Rotary& rotary : {plain, linear, llama3, tight}) {
    for (const std::int64_t head_dim : {2, 20, 64, 128}) {
      for (std::int64_t i = 0; i < head_dim / 2; ++i) {
        const double want = frequency_reference(rotary, head_dim, i);
        CHECK(std::abs(kernels::rotary_frequency(rotary, head_dim, i) / want - 1) < 1e-13);
      }
    }
  }
}

TEST_CASE("rotary turns are right to the last place of fp32 at distant positions") {
  double worst = 0;
  for (const double position : {0.0, 1.0, 4095.0, 131071.0, 10485759.0}) {
    for (std::int64_t i = 0; i < 64; ++i) {
      const double frequency = kernels::rotary_frequency(llama3, 128, i);
      const kernels::Turn turn = kernels::rotary_turn(position, frequency);
      worst = std::max({worst, std::abs(double(turn.cosine) - std::cos(position * frequency)),
                        std::abs(double(turn.sine) - std::sin(position * frequency))});
    }
  }
  CHECK(worst < 0x1p-24);
}

TEST_CASE("rotary scores depend on the distance of two positions alone") {
  device::Stream stream(1);
  Problem near({1, 9, 1, 16}, DType::f32, false), far({1, 9, 1, 16}, DType::f32, false, plain, 500);
  near.forward(stream, near.out.view());
  far.forward(stream, far.out.view());
  const auto score = [](Problem& p, std::int64_t query, std::int64_t key) {
    const Head q = p.reference.head(p.out, query, 0), k = p.reference.head(p.out, key, 1);
    double sum = 0;
    for (std::size_t i = 0; i < q.size(); ++i) sum += q[i] * k[i];
    return sum;
  };
  for (std::int64_t key = 0; key < 9; ++key)
    CHECK(std::abs(score(near, 8, key) - score(far, 8, key)) < 2e-5);
}

TEST_CASE("rotary refuses odd heads, one gain alone and rows that do not fit") {
  device::Stream stream(1);
  Problem p({2, 3, 2, 4}, DType::f32, true);
  Array space = scratch(kernels::rotary_scratch(p.reference.shape, {}));
  Array tiny({1, 1}, DType::f32);
  const kernels::RotaryArgs good{.shape = p.reference.shape,
                                 .in = p.in.view(),
                                 .out = p.out.view(),
                                 .q_gain = p.gains[0].view(),
                                 .k_gain = p.gains[1].view(),
                                 .rstd = p.rstd.view(),
                                 .scratch = space.view()};
  kernels::rotary(good, stream);
  kernels::RotaryArgs bad = good;
  bad.shape.head_dim = 3;
  CHECK_THROWS_AS(kernels::rotary(bad, stream), UsageError);
  bad = good;
  bad.k_gain = {};
  CHECK_THROWS_AS(kernels::rotary(bad, stream), UsageError);
  bad = good;
  bad.rstd = p.gains[0].view();
  CHECK_THROWS_AS(kernels::rotary(bad, stream), UsageError);
  bad = good;
  bad.out = p.rstd.view();
  CHECK_THROWS_AS(kernels::rotary(bad, stream), UsageError);
  bad = good;
  bad.scratch = tiny.view();
  CHECK_THROWS_AS(kernels::rotary(bad, stream), UsageError);
  bad = good;
  bad.first_position = -1;
  CHECK_THROWS_AS(kernels::rotary(bad, stream), UsageError);
}
