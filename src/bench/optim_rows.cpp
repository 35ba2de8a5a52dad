#include <array>
#include <atomic>
#include <string>

#include "bench/buffers.hpp"
#include "bench/optim_reference.hpp"
#include "sherd/bench/bounds.hpp"
#include "sherd/bench/rows.hpp"
#include "sherd/kernels/update.hpp"

namespace sherd::bench {
namespace {

enum Stream : std::uint64_t { of_grad = 1, of_master, of_m, of_v };
constexpr float grad_scale = 1024, moment_scale = 0.01f;

struct State {
  View grad, master, m, v, param;
};

struct Kind {
  Rule rule;
  const char* name;
  void (*update)(const kernels::UpdateArgs&, StreamRef);
  double bytes;  // read and written per element: g 2, param 2, and 8 for each fp32 array
};
constexpr std::array<Kind, 3> kinds = {{{Rule::adamw, "adamw", kernels::adamw, 28},
                                        {Rule::lion, "lion", kernels::lion, 20},
                                        {Rule::sgd, "sgd", kernels::sgd, 20}}};

float initial_v(std::int64_t i) { return 1e-4f * (sample(of_v, i) + 1.0f); }

void reset(const State& state, StreamRef stream) {
  fill(state.grad, of_grad, grad_scale, stream);
  fill(state.master, of_master, 1, stream);
  fill(state.m, of_m, moment_scale, stream);
  for_parts(state.v.numel(), stream, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) state.v.as<float>()[i] = initial_v(i);
  });
}

Element before(std::int64_t i, bool has_v) {
  const auto wide = [](float x) { return static_cast<double>(x); };
  return {.grad = wide(to_float(to_bfloat16(grad_scale * sample(of_grad, i)))),
          .master = wide(sample(of_master, i)),
          .m = wide(moment_scale * sample(of_m, i)),
          .v = has_v ? wide(initial_v(i)) : 0};
}

std::int64_t count_wrong(Rule rule, const kernels::UpdateArgs& args, StreamRef stream) {
  std::atomic<std::int64_t> wrong{0};
  const bool has_v = static_cast<bool>(args.v);
  for_parts(args.master.numel(), stream, [&](std::int64_t first, std::int64_t last) {
    std::int64_t here = 0;
    for (std::int64_t i = first; i < last; ++i) {
      const Updated expected = reference_update(rule, before(i, has_v), args);
      const Element after{.master = static_cast<double>(args.master.as<float>()[i]),
                          .m = static_cast<double>(args.m.as<float>()[i]),
                          .v = has_v ? static_cast<double>(args.v.as<float>()[i]) : 0};
      if (!is_right(expected, after, args.param.as<bfloat16>()[i])) ++here;
    }
    wrong += here;
  });
  return wrong;
}

Row measure(const Kind& kind, const State& state, int rounds, StreamRef stream) {
  kernels::UpdateScalars scalars{.factor = 1.0f / 65536, .lr = 1e-3f, .bias1 = 0.1, .bias2 = 1e-3};
  kernels::UpdateArgs args{.grad = state.grad,
                           .master = state.master,
                           .m = state.m,
                           .v = kind.rule == Rule::adamw ? state.v : View{},
                           .param = state.param,
                           .weight_decay = 0.1f,
                           .scalars = &scalars};
  if (kind.rule == Rule::lion) args.beta2 = 0.99f;
  reset(state, stream);
  kind.update(args, stream);
  const std::int64_t wrong = count_wrong(kind.rule, args, stream);

  const std::array passes = {Pass([&] { kind.update(args, stream); }),
                             Pass([&] { touch_three(state.master, state.m, state.v, stream); })};
  const std::vector<Timing> times = alternate(rounds, passes);
  const double n = static_cast<double>(state.master.numel());
  return {.name = kind.name,
          .time = times[0],
          .work = kind.bytes * n,
          .bound_name = "read-modify-write of three arrays",
          .bound = 24 * n / times[1].median,
          .wrong = wrong,
          .extra = {{"where", std::string("device")},
                    {"n", state.master.numel()},
                    {"threads", std::int64_t{stream.workers().threads()}},
                    {"ns_per_element", times[0].median * 1e9 / n}}};
}

}  // namespace

std::vector<Row> optim(const BenchOptions& options) {
  const Shape shape{1, options.effective_n()};
  Buffers buffers(3 * Buffers::cost(shape, DType::f32) + 2 * Buffers::cost(shape, DType::bf16));
  const State state{.grad = buffers.take(shape, DType::bf16),
                    .master = buffers.take(shape, DType::f32),
                    .m = buffers.take(shape, DType::f32),
                    .v = buffers.take(shape, DType::f32),
                    .param = buffers.take(shape, DType::bf16)};
  device::Stream stream(options.threads);
  std::vector<Row> rows;
  for (const Kind& kind : kinds) {
    rows.push_back(measure(kind, state, options.effective_rounds(), stream));
  }
  return rows;
}

}  // namespace sherd::bench
