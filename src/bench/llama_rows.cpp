// The memory-bound kernels of the llama family at the sizes of Qwen2.5 0.5B, in fp32.
#include <functional>

#include "bench/kernel_case.hpp"
#include "sherd/kernels/norm_rms.hpp"
#include "sherd/kernels/swiglu.hpp"

namespace sherd::bench {
namespace {

constexpr std::int64_t width = 896, ffn = 4864;

struct Bench {
  int rounds;
  StreamRef stream;
  std::vector<Row> rows;

  void add(Case what, const std::function<bool(std::int64_t)>& right, std::int64_t count) {
    what.pass();
    what.wrong = count_wrong(count, stream, right);
    rows.push_back(against_copy(what, rounds, stream));
  }
};

View take(Buffers& buffers, Shape shape) { return buffers.take(shape, DType::f32); }
Bytes cost(Shape shape) { return Buffers::cost(shape, DType::f32); }
Shape floats(Bytes bytes) { return {1, static_cast<std::int64_t>(bytes / sizeof(float)) + 1}; }
double area(const View& view) { return 4 * static_cast<double>(view.numel()); }

// Shazeer 2020, equation 5, with the sigmoid of the gate, and its derivatives.
void add_swiglu(Bench& bench, std::int64_t tokens) {
  const Shape one{tokens, ffn}, two{tokens, 2 * ffn};
  Buffers buffers(2 * cost(one) + 2 * cost(two));
  const View in = take(buffers, two), d_in = take(buffers, two), out = take(buffers, one),
             d_out = take(buffers, one);
  fill(in, 1, 4, bench.stream);
  fill(d_out, 2, 1, bench.stream);
  const auto at = [](const View& view, std::int64_t i, std::int64_t half) {
    return wide(view.as<float>()[i / ffn * 2 * ffn + half * ffn + i % ffn]);
  };
  const auto sigmoid = [=](std::int64_t i) { return 1 / (1 + std::exp(-at(in, i, 0))); };
  const std::vector<Extra> extra = {{"rows", tokens}, {"ffn", std::int64_t{ffn}}};
  bench.add(
      {.name = "swiglu",
       .pass = [&] { kernels::swiglu(in, out, bench.stream); },
       .work = area(in) + area(out),
       .extra = extra},
      [&](std::int64_t i) {
        const double want = at(in, i, 0) * sigmoid(i) * at(in, i, 1);
        return near(out.as<float>()[i], want, 2e-6 + 1e-5 * std::abs(want));
      },
      one.numel());
  bench.add(
      {.name = "swiglu backward",
       .pass = [&] { kernels::swiglu_backward(in, d_out, d_in, bench.stream); },
       .work = 2 * area(in) + area(out),
       .extra = extra},
      [&](std::int64_t i) {
        const double s = sigmoid(i), x = at(in, i, 0), d = wide(d_out.as<float>()[i]);
        const double gate = d * at(in, i, 1) * s * (1 + x * (1 - s)), up = d * x * s;
        return std::abs(at(d_in, i, 0) - gate) < 2e-5 && std::abs(at(d_in, i, 1) - up) < 2e-5;
      },
      one.numel());
}

double value(const View& view, std::int64_t i) { return wide(view.as<float>()[i]); }

struct Norm {
  View in, out, d_out, d_in, gain, d_gain, rstd;

  [[nodiscard]] double scale(std::int64_t row) const {
    double mean = 0;
    for (std::int64_t i = row * width; i < (row + 1) * width; ++i)
      mean += value(in, i) * value(in, i) / width;
    return 1 / std::sqrt(mean + 1e-6);
  }
  // Zhang & Sennrich 2019, equation 4.
  [[nodiscard]] bool is_right(std::int64_t row) const {
    bool right = true;
    const double r = scale(row);
    for (std::int64_t i = row * width; i < (row + 1) * width; ++i)
      right = right && near(out.as<float>()[i], value(in, i) * r * value(gain, i % width), 1e-5);
    return right;
  }
  // And its derivative.
  [[nodiscard]] bool is_right_back(std::int64_t row) const {
    bool right = true;
    const double r = scale(row);
    double along = 0;
    for (std::int64_t i = row * width; i < (row + 1) * width; ++i)
      along += value(d_out, i) * value(gain, i % width) * value(in, i) / width;
    for (std::int64_t i = row * width; i < (row + 1) * width; ++i) {
      const double slope = value(d_out, i) * value(gain, i % width);
      right =
          right && near(d_in.as<float>()[i], r * slope - r * r * r * value(in, i) * along, 1e-5);
    }
    return right;
  }
};

void add_norm(Bench& bench, std::int64_t tokens) {
  const Shape shape{tokens, width};
  const Shape room = floats(kernels::rms_norm_backward_scratch(tokens, width, {}));
  Buffers buffers(4 * cost(shape) + 2 * cost({1, width}) + cost({tokens, 1}) + cost(room));
  Norm n;
  for (View* view : {&n.in, &n.out, &n.d_out, &n.d_in}) *view = take(buffers, shape);
  for (View* view : {&n.gain, &n.d_gain}) *view = take(buffers, {1, width});
  n.rstd = take(buffers, {tokens, 1});
  fill(n.in, 1, 2, bench.stream);
  fill(n.d_out, 2, 1, bench.stream);
  fill(n.gain, 3, 1, bench.stream);
  const kernels::RmsNormArgs forward{n.in, n.gain, n.out, n.rstd, 1e-6f};
  const kernels::RmsNormBackwardArgs backward{.in = n.in,
                                              .d_out = n.d_out,
                                              .gain = n.gain,
                                              .rstd = n.rstd,
                                              .residual = {},
                                              .d_in = n.d_in,
                                              .d_gain = {.to = n.d_gain, .round = {}},
                                              .scratch = take(buffers, room)};
  const std::vector<Extra> extra = {{"rows", tokens}, {"cols", std::int64_t{width}}};
  bench.add(
      {.name = "rms norm",
       .pass = [&] { kernels::rms_norm(forward, bench.stream); },
       .work = 2 * area(n.in),
       .extra = extra},
      [&](std::int64_t row) { return n.is_right(row); }, tokens);
  bench.add(
      {.name = "rms norm backward",
       .pass = [&] { kernels::rms_norm_backward(backward, bench.stream); },
       .work = 3 * area(n.in),
       .extra = extra},
      [&](std::int64_t row) { return n.is_right_back(row); }, tokens);
}

}  // namespace

std::vector<Row> llama_rows(const BenchOptions& options, StreamRef stream) {
  Bench bench{options.effective_rounds(), stream, {}};
  add_swiglu(bench, options.quick ? 64 : 2048);
  add_norm(bench, options.quick ? 128 : 8192);
  return bench.rows;
}

}  // namespace sherd::bench
