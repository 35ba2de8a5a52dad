#include <array>
#include <string>

#include "bench/optim_state.hpp"
#include "sherd/bench/bounds.hpp"
#include "sherd/bench/rows.hpp"
#include "sherd/kernels/update.hpp"
#include "sherd/launch/machine.hpp"

namespace sherd::bench {
namespace {

struct Kind {
  Rule rule;
  const char* name;
  void (*update)(const kernels::UpdateArgs&, StreamRef);
  OptimFormat format;
};
constexpr std::array<Kind, 8> kinds = {{
    {Rule::adamw, "adamw", kernels::adamw, {}},
    {Rule::adamw, "adamw", kernels::adamw, {DType::bf16, false}},
    {Rule::adamw, "adamw", kernels::adamw, {DType::q8, false}},
    {Rule::adamw, "adamw", kernels::adamw, {DType::f32, true}},
    {Rule::adamw, "adamw", kernels::adamw, {DType::bf16, true}},
    {Rule::adamw, "adamw", kernels::adamw, {DType::q8, true}},
    {Rule::lion, "lion", kernels::lion, {}},
    {Rule::sgd, "sgd", kernels::sgd, {}},
}};

std::string moments_of(const OptimFormat& format) {
  return format.moments == DType::q8 ? "int8" : std::string(name_of(format.moments));
}

Row measure(const Kind& kind, OptimState& state, int rounds, StreamRef stream) {
  kernels::UpdateScalars scalars{.factor = 1.0f / 65536, .lr = 1e-3f, .bias1 = 0.1, .bias2 = 1e-3};
  kernels::UpdateArgs args = state.fill(kind.rule, kind.format, stream);
  args.weight_decay = 0.1f;
  args.scalars = &scalars;
  if (kind.rule == Rule::lion) args.beta2 = 0.99f;
  kind.update(args, stream);
  const std::int64_t wrong = state.count_wrong(kind.rule, args, stream);

  // What the bound touches must be numbers: moments in other formats are none as fp32.
  const std::array update = {Pass([&] { kind.update(args, stream); }),
                             Pass([&] { state.touch(stream); })};
  const std::vector<Timing> times = alternate(rounds, update);
  const double n = static_cast<double>(args.grad.numel());
  const double bytes = bytes_moved(kind.rule, kind.format);
  return {.name = kind.name,
          .time = times[0],
          .work = bytes * n,
          .bound_name = "read-modify-write of three arrays",
          .bound = 24 * n / times[1].median,
          .wrong = wrong,
          .extra = {{"where", std::string("device")},
                    {"n", args.grad.numel()},
                    {"threads", std::int64_t{stream.workers().threads()}},
                    {"master", std::string(kind.format.split ? "split" : "fp32")},
                    {"moments", moments_of(kind.format)},
                    {"bytes_per_element", bytes},
                    {"ns_per_element", times[0].median * 1e9 / n}}};
}

void measure_at(std::int64_t n, std::span<const Kind> what, int rounds, StreamRef stream,
                std::vector<Row>& rows) {
  Buffers buffers(OptimState::cost(n));
  OptimState state(buffers, n);
  for (const Kind& kind : what) rows.push_back(measure(kind, state, rounds, stream));
}

}  // namespace

std::vector<Row> optim(const BenchOptions& options) {
  device::Stream stream(options.threads);
  std::vector<Row> rows;
  measure_at(options.effective_n(), kinds, options.effective_rounds(), stream, rows);
  constexpr std::int64_t large = 1 << 30;  // far beyond caches and translation buffers
  const bool fits = launch::free_memory() / 5 * 4 > OptimState::cost(large);
  if (!options.quick && options.n == 0 && fits) {
    measure_at(large, std::span(kinds).first(1), 3, stream, rows);
  }
  return rows;
}

}  // namespace sherd::bench
