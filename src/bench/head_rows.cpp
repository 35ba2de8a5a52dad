// Heads of Qwen2.5 0.5B in fp32: their rotation, and attention to cached rows.
#include "bench/kernel_case.hpp"
#include "sherd/kernels/attention_cached.hpp"
#include "sherd/kernels/rotary.hpp"

namespace sherd::bench {
namespace {

constexpr std::int64_t query_heads = 14, key_heads = 2, turning = query_heads + key_heads, dim = 64;

Shape floats(Bytes bytes) { return {1, static_cast<std::int64_t>(bytes / sizeof(float)) + 1}; }
double area(const View& view) { return 4 * static_cast<double>(view.numel()); }
double value(const View& view, std::int64_t i) { return wide(view.as<float>()[i]); }

struct Turned {
  kernels::AttentionShape shape;
  View in, out, d_in, q_gain, k_gain, d_q, d_k, rstd, scratch;

  [[nodiscard]] std::int64_t place(std::int64_t row, std::int64_t head) const {
    return row * shape.qkv_width() + head * dim;
  }
  // Su et al. 2021, equation 34: rotated by position · theta^(-2i/dim), or back by it.
  [[nodiscard]] bool turns(const View& from, const View& to, std::int64_t row, std::int64_t head,
                           double way) const {
    bool right = true;
    const double rstd_of = norm_of(row, head, way);
    const View& gain = head < query_heads ? q_gain : k_gain;
    for (std::int64_t i = 0; i < dim / 2; ++i) {
      const std::int64_t at = place(row, head) + i, far = at + dim / 2;
      const double angle = way * static_cast<double>(row % shape.length) *
                           std::pow(1e6, -2.0 * static_cast<double>(i) / dim);
      double x = value(from, at), y = value(from, far);
      if (rstd_of > 0) x *= rstd_of * value(gain, i);
      if (rstd_of > 0) y *= rstd_of * value(gain, i + dim / 2);
      const double c = std::cos(angle), s = std::sin(angle);
      right = right && near(to.as<float>()[at], x * c - y * s, 1e-5) &&
              near(to.as<float>()[far], y * c + x * s, 1e-5);
    }
    return right;
  }
  // 0: there is no norm in the way.
  [[nodiscard]] double norm_of(std::int64_t row, std::int64_t head, double way) const {
    if (!q_gain || way < 0) return 0;
    double mean = 0;
    for (std::int64_t i = 0; i < dim; ++i)
      mean += std::pow(value(in, place(row, head) + i), 2) / dim;
    return 1 / std::sqrt(mean + 1e-6);
  }
  // As turned back, then through the norm.
  [[nodiscard]] bool norm_turns_back(std::int64_t row, std::int64_t head, const View& slope) const {
    const double r = norm_of(row, head, 1);
    const View& gain = head < query_heads ? q_gain : k_gain;
    double along = 0;
    bool right = true;
    std::vector<double> back(dim);
    for (std::int64_t i = 0; i < dim / 2; ++i) {
      const std::int64_t at = place(row, head) + i;
      const double angle = static_cast<double>(row % shape.length) *
                           std::pow(1e6, -2.0 * static_cast<double>(i) / dim);
      const double x = value(slope, at), y = value(slope, at + dim / 2);
      back[static_cast<std::size_t>(i)] = x * std::cos(angle) + y * std::sin(angle);
      back[static_cast<std::size_t>(i + dim / 2)] = y * std::cos(angle) - x * std::sin(angle);
    }
    for (std::int64_t i = 0; i < dim; ++i) {
      double& weighted = back[static_cast<std::size_t>(i)];
      weighted *= value(gain, i);
      along += weighted * value(in, place(row, head) + i) * r / dim;
    }
    for (std::int64_t i = 0; i < dim; ++i) {
      const std::int64_t at = place(row, head) + i;
      const double want = r * (back[static_cast<std::size_t>(i)] - value(in, at) * r * along);
      right = right && near(d_in.as<float>()[at], want, 2e-5);
    }
    return right;
  }
};

kernels::RotaryArgs forward_of(const Turned& t) {
  return {.shape = t.shape,
          .in = t.in,
          .out = t.out,
          .q_gain = t.q_gain,
          .k_gain = t.k_gain,
          .rstd = t.rstd,
          .rotary = {.theta = 1e6},
          .scratch = t.scratch};
}
kernels::RotaryBackwardArgs backward_of(const Turned& t) {
  kernels::RotaryBackwardArgs args{.shape = t.shape, .d_out = t.out, .d_in = t.d_in};
  args.rotary = {.theta = 1e6};
  args.scratch = t.scratch;
  if (!t.q_gain) return args;
  args.in = t.in;
  args.q_gain = t.q_gain;
  args.k_gain = t.k_gain;
  args.rstd = t.rstd;
  args.d_q_gain = {.to = t.d_q, .round = {}};
  args.d_k_gain = {.to = t.d_k, .round = {}};
  return args;
}

void add_rotary(const BenchOptions& options, bool norms, StreamRef stream, std::vector<Row>& rows) {
  const kernels::AttentionShape shape{4, options.quick ? 33 : 2048, query_heads, dim, key_heads};
  const Shape packed{shape.rows(), shape.qkv_width()}, gain{1, dim}, column{shape.rows(), turning};
  const Shape scratch = floats(kernels::rotary_backward_scratch(shape, {}));
  Buffers buffers(3 * Buffers::cost(packed, DType::f32) + 4 * Buffers::cost(gain, DType::f32) +
                  Buffers::cost(column, DType::f32) + Buffers::cost(scratch, DType::f32));
  const auto take = [&](Shape of) { return buffers.take(of, DType::f32); };
  Turned t{shape, take(packed), take(packed), take(packed), {}, {}, {}, {}, {}, take(scratch)};
  fill(t.in, 1, 2, stream);
  if (norms) {
    for (View* view : {&t.q_gain, &t.k_gain, &t.d_q, &t.d_k}) *view = take(gain);
    t.rstd = take(column);
    fill(t.q_gain, 2, 1, stream);
    fill(t.k_gain, 3, 1, stream);
  }
  const std::string name = norms ? "rotary with norm" : "rotary";
  const std::vector<Extra> extra = {{"rows", shape.rows()}, {"cols", shape.qkv_width()}};
  Case one{.name = name,
           .pass = [&] { kernels::rotary(forward_of(t), stream); },
           .work = 2 * area(t.in),
           .extra = extra};
  one.pass();
  one.wrong = count_wrong(shape.rows() * turning, stream, [&](std::int64_t i) {
    return t.turns(t.in, t.out, i / turning, i % turning, 1);
  });
  rows.push_back(against_copy(one, options.effective_rounds(), stream));
  Case two{.name = name + " backward",
           .pass = [&] { kernels::rotary_backward(backward_of(t), stream); },
           .work = (norms ? 3 : 2) * area(t.in),
           .extra = extra};
  two.pass();
  two.wrong = count_wrong(shape.rows() * turning, stream, [&](std::int64_t i) {
    return norms ? t.norm_turns_back(i / turning, i % turning, t.out)
                 : t.turns(t.out, t.d_in, i / turning, i % turning, -1);
  });
  rows.push_back(against_copy(two, options.effective_rounds(), stream));
}

// One new row against a long cache: keys and values are read once.
void add_cached(const BenchOptions& options, StreamRef stream, std::vector<Row>& rows) {
  const std::int64_t positions = options.quick ? 300 : 32768;
  const kernels::AttentionShape shape{2, 1, query_heads, dim, key_heads};
  const Shape packed{2, shape.qkv_width()}, cached{2 * positions, shape.kv_width()};
  const Shape scratch = floats(kernels::attention_cached_scratch(shape, positions, {}));
  Buffers buffers(2 * Buffers::cost(packed, DType::f32) + 2 * Buffers::cost(cached, DType::f32) +
                  Buffers::cost(scratch, DType::f32));
  const auto take = [&](Shape of) { return buffers.take(of, DType::f32); };
  const View qkv = take(packed), out = take({2, shape.width()}), keys = take(cached),
             values = take(cached);
  fill(qkv, 1, 2, stream);
  fill(keys, 2, 1, stream);
  fill(values, 3, 1, stream);
  const kernels::AttentionCachedArgs args{shape,     qkv, {positions, keys, values},
                                          positions, out, take(scratch)};
  Case one{.name = "cached attention",
           .pass = [&] { kernels::attention_cached(args, stream); },
           .work = 2 * area(keys),
           .extra = {{"positions", positions}, {"heads", query_heads}, {"key_heads", key_heads}}};
  one.pass();
  one.wrong = count_wrong(2 * query_heads, stream, [&](std::int64_t i) {
    const std::int64_t row = i / query_heads, head = i % query_heads;
    const std::int64_t shared = head / (query_heads / key_heads) * dim;
    std::vector<double> sum(dim);
    double total = 0;
    for (std::int64_t t = 0; t < positions; ++t) {
      const std::int64_t at = (row * positions + t) * shape.kv_width() + shared;
      double score = 0;
      for (std::int64_t c = 0; c < dim; ++c)
        score += value(qkv, row * shape.qkv_width() + head * dim + c) * value(keys, at + c) / 8;
      total += std::exp(score);
      for (std::int64_t c = 0; c < dim; ++c)
        sum[static_cast<std::size_t>(c)] += std::exp(score) * value(values, at + c);
    }
    bool right = true;
    for (std::int64_t c = 0; c < dim; ++c) {
      const float got = out.as<float>()[row * shape.width() + head * dim + c];
      right = right && near(got, sum[static_cast<std::size_t>(c)] / total, 1e-5);
    }
    return right;
  });
  rows.push_back(against_copy(one, options.effective_rounds(), stream));
}

}  // namespace

std::vector<Row> head_rows(const BenchOptions& options, StreamRef stream) {
  std::vector<Row> rows;
  for (const bool norms : {false, true}) add_rotary(options, norms, stream, rows);
  add_cached(options, stream, rows);
  return rows;
}

}  // namespace sherd::bench
