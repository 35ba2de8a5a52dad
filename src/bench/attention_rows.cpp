#include <algorithm>

#include "bench/kernel_case.hpp"
#include "sherd/kernels/attention.hpp"

namespace sherd::bench {
namespace {

using Matrix = std::vector<double>;

// One head of one sequence in fp64, with the score matrix: Vaswani et al. 2017, equation 1, causal,
// and its gradient.
struct Head {
  std::int64_t length = 0, dim = 0;
  Matrix q = {}, k = {}, v = {}, d_out = {}, out = {}, d_q = {}, d_k = {}, d_v = {};

  double& of(Matrix& m, std::int64_t t, std::int64_t c) const {
    return m[static_cast<std::size_t>(t * dim + c)];
  }
  void solve();
};

double dot(const double* a, const double* b, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

void Head::solve() {
  const double scale = 1 / std::sqrt(static_cast<double>(dim));
  for (std::int64_t t = 0; t < length; ++t) {
    const std::size_t keys = static_cast<std::size_t>(t) + 1;
    Matrix p(keys), d_p(keys);
    double sum = 0, mean = 0;
    for (std::int64_t s = 0; s <= t; ++s) {
      const auto i = static_cast<std::size_t>(s);
      p[i] = std::exp(scale * dot(&of(q, t, 0), &of(k, s, 0), dim));
      sum += p[i];
    }
    for (std::int64_t s = 0; s <= t; ++s) {
      const auto i = static_cast<std::size_t>(s);
      p[i] /= sum;
      d_p[i] = dot(&of(d_out, t, 0), &of(v, s, 0), dim);
      mean += p[i] * d_p[i];
    }
    for (std::int64_t s = 0; s <= t; ++s) {
      const auto i = static_cast<std::size_t>(s);
      const double d_score = scale * p[i] * (d_p[i] - mean);
      for (std::int64_t c = 0; c < dim; ++c) {
        of(out, t, c) += p[i] * of(v, s, c);
        of(d_v, s, c) += p[i] * of(d_out, t, c);
        of(d_q, t, c) += d_score * of(k, s, c);
        of(d_k, s, c) += d_score * of(q, t, c);
      }
    }
  }
}

struct Operands {
  kernels::AttentionShape shape;
  View qkv, out, lse, d_out, d_qkv;
};

// The last head of the last sequence: where an index error would show.
Head last_head(const Operands& o) {
  const std::int64_t sequences = o.shape.sequences, length = o.shape.length, heads = o.shape.heads,
                     dim = o.shape.head_dim;
  const auto size = static_cast<std::size_t>(length * dim);
  Head head{.length = length, .dim = dim};
  for (Matrix* m :
       {&head.q, &head.k, &head.v, &head.d_out, &head.out, &head.d_q, &head.d_k, &head.d_v}) {
    m->assign(size, 0);
  }
  const std::int64_t width = o.shape.width(), first = (sequences - 1) * length,
                     lane = (heads - 1) * dim;
  for (std::int64_t t = 0; t < length; ++t) {
    const float* row = o.qkv.as<float>() + (first + t) * 3 * width + lane;
    const float* grad = o.d_out.as<float>() + (first + t) * width + lane;
    for (std::int64_t c = 0; c < dim; ++c) {
      head.of(head.q, t, c) = wide(row[c]);
      head.of(head.k, t, c) = wide(row[width + c]);
      head.of(head.v, t, c) = wide(row[2 * width + c]);
      head.of(head.d_out, t, c) = wide(grad[c]);
    }
  }
  head.solve();
  return head;
}

std::int64_t differing(const Head& head, const Matrix& expected, const float* got,
                       std::int64_t stride) {
  std::int64_t wrong = 0;
  for (std::int64_t t = 0; t < head.length; ++t) {
    for (std::int64_t c = 0; c < head.dim; ++c) {
      const double want = expected[static_cast<std::size_t>(t * head.dim + c)];
      wrong += near(got[t * stride + c], want, 2e-5 + 2e-5 * std::abs(want)) ? 0 : 1;
    }
  }
  return wrong;
}

Shape scratch_of(const kernels::AttentionShape& shape, const Target& target) {
  return {1,
          static_cast<std::int64_t>(std::max(kernels::attention_scratch(shape, target),
                                             kernels::attention_backward_scratch(shape, target)))};
}

// The last head of the last sequence stands for all.
void count_differences(const Operands& o, Case& forward, Case& backward) {
  const Head head = last_head(o);
  const std::int64_t width = o.shape.width();
  const std::int64_t first = (o.shape.sequences - 1) * o.shape.length,
                     lane = (o.shape.heads - 1) * o.shape.head_dim;
  forward.wrong = differing(head, head.out, o.out.as<float>() + first * width + lane, width);
  const float* d_qkv = o.d_qkv.as<float>() + first * 3 * width + lane;
  backward.wrong = differing(head, head.d_q, d_qkv, 3 * width) +
                   differing(head, head.d_k, d_qkv + width, 3 * width) +
                   differing(head, head.d_v, d_qkv + 2 * width, 3 * width);
}

}  // namespace

std::vector<Row> attention_rows(const BenchOptions& options, StreamRef stream) {
  const kernels::AttentionShape shape{
      .sequences = 4, .length = options.quick ? 64 : 1024, .heads = 12, .head_dim = 64};
  const std::int64_t sequences = shape.sequences, length = shape.length, heads = shape.heads;
  const std::int64_t dim = shape.head_dim, tokens = sequences * length, width = shape.width();
  const Shape scratch = scratch_of(shape, {.threads = options.threads});
  Buffers buffers(2 * Buffers::cost({tokens, 3 * width}, DType::f32) +
                  2 * Buffers::cost({tokens, width}, DType::f32) +
                  Buffers::cost({sequences * heads, length}, DType::f32) +
                  Buffers::cost(scratch, DType::u8));
  const Operands o{.shape = shape,
                   .qkv = buffers.take({tokens, 3 * width}, DType::f32),
                   .out = buffers.take({tokens, width}, DType::f32),
                   .lse = buffers.take({sequences * heads, length}, DType::f32),
                   .d_out = buffers.take({tokens, width}, DType::f32),
                   .d_qkv = buffers.take({tokens, 3 * width}, DType::f32)};
  const View space = buffers.take(scratch, DType::u8);
  fill(o.qkv, 1, 1, stream);
  fill(o.d_out, 2, 1, stream);
  const kernels::AttentionArgs forward{
      .shape = shape, .qkv = o.qkv, .out = o.out, .lse = o.lse, .scratch = space};
  const kernels::AttentionBackwardArgs backward{.shape = shape,
                                                .qkv = o.qkv,
                                                .out = o.out,
                                                .lse = o.lse,
                                                .d_out = o.d_out,
                                                .d_qkv = o.d_qkv,
                                                .scratch = space};

  // A causal product over half the score matrix is length² · dim multiply-adds a head.
  const double product = static_cast<double>(sequences * heads * length * length * dim);
  const GemmShape bound{.m = 256, .n = 768, .k = 768};
  const std::vector<Extra> extra = {
      {"sequences", sequences}, {"length", length}, {"heads", heads}, {"head_dim", dim}};
  Case one{.name = "attention",
           .pass = [&] { kernels::attention(forward, stream); },
           .unit = Work::flops,
           .work = 2 * product,
           .extra = extra};
  Case two{.name = "attention backward",
           .pass = [&] { kernels::attention_backward(backward, stream); },
           .unit = Work::flops,
           .work = 5 * product,
           .extra = extra};
  one.pass();
  two.pass();
  count_differences(o, one, two);
  const int rounds = options.effective_rounds();
  return {against_gemm(one, bound, rounds, stream), against_gemm(two, bound, rounds, stream)};
}

}  // namespace sherd::bench
