#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "bench/rig.hpp"
#include "sherd/bench/held.hpp"
#include "sherd/bench/training.hpp"

namespace sherd::bench {
namespace {

using memory::Use;

Bytes of(const plan::ByUse& bytes, Use use) { return bytes[static_cast<std::size_t>(use)]; }

// The table of docs/architecture.md without accumulation: what a stage keeps between steps.
double closed_form(const plan::Setup& setup, int stage) {
  const auto psi = static_cast<double>(setup.layout.padded());
  const auto n = static_cast<double>(setup.world());
  const auto p = static_cast<double>(setup.formats.param_bytes()),
             g = static_cast<double>(setup.formats.grad_bytes()),
             o = setup.formats.optimizer_bytes();
  return psi * ((stage >= 3 ? p / n : p) + (stage >= 2 ? g / n : g) + (stage >= 1 ? o / n : o));
}

Bytes states(const plan::Plan& plan) {
  const plan::ByUse kept = plan::persistent_bytes(plan.train.program);
  return of(kept, Use::params) + of(kept, Use::grads) + of(kept, Use::optimizer);
}

plan::Plan plan_of(const RunShape& shape) {
  const launch::Validated run = launch::resolve(config_of(shape), launch::Purpose::plan);
  return launch::prepare(run, launch::zoo_job(run), 0).plan;
}

Row planned(const RunShape& shape) {
  const auto start = std::chrono::steady_clock::now();
  const plan::Plan plan = plan_of(shape);
  const Timing time =
      summarize({std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()});
  const double formula = closed_form(plan.setup, shape.zero_stage);
  const auto kept = static_cast<double>(states(plan));
  const auto bytes = [](Bytes count) { return static_cast<std::int64_t>(count); };
  Row row{.name = fmt::format("memory {} {}", shape.model, name_of(shape.precision)),
          .time = time,
          .unit = Work::held,
          .work = kept,
          .bound_name = "closed form of the states",
          .bound = formula / time.median,
          .wrong = kept > formula ? 1 : 0,
          .extra = {{"ranks", std::int64_t{shape.ranks}},
                    {"zero_stage", std::int64_t{shape.zero_stage}},
                    {"planned", bytes(plan.memory.arena[0])},
                    {"states", bytes(states(plan))},
                    {"formula", static_cast<std::int64_t>(formula)},
                    {"runtime", bytes(plan.runtime)}}};
  return row;
}

// Untracked bytes are allowed 16 MiB and 1 %: docs/architecture.md, "what exact promises".
void add_measured(const RunShape& shape, const Children& children, Row& row) {
  const ChildRun run = train_in_child(children, flags_of(shape, sample_text(children, 1 << 16), 2));
  const Bytes need = run.planned + run.runtime;
  row.wrong += run.measured == run.planned ? 0 : 1;
  row.wrong += run.rss_peak > need + 16 * mib + need / 100 ? 1 : 0;
  row.extra.emplace_back("measured", static_cast<std::int64_t>(run.measured));
  row.extra.emplace_back("rss_peak", static_cast<std::int64_t>(run.rss_peak));
}

std::vector<int> stages_of(int ranks) {
  return ranks == 1 ? std::vector<int>{0} : std::vector<int>{0, 1, 2, 3};
}

}  // namespace

std::vector<Row> memory(const BenchOptions& options, const Children& children, const Say& say) {
  constexpr optim::Precision precisions[] = {optim::Precision::fp32, optim::Precision::bf16};
  std::vector<Row> rows;
  for (const std::string model : {"gpt2-tiny", "gpt2-124m"}) {
    for (const optim::Precision precision : precisions) {
      for (const int ranks : {1, 2, 4, 8}) {
        const bool runs = model == "gpt2-tiny" && ranks <= (options.quick ? 2 : 4);
        if (runs)
          say(fmt::format("{} {} on {} rank{}", model, name_of(precision), ranks,
                          ranks == 1 ? "" : "s"));
        for (const int stage : stages_of(ranks)) {
          const RunShape shape{.model = model,
                               .precision = precision,
                               .zero_stage = stage,
                               .ranks = ranks,
                               .threads = 1};
          rows.push_back(planned(shape));
          if (runs) add_measured(shape, children, rows.back());
        }
      }
    }
  }
  return rows;
}

HeldBytes held_by_stage(const std::string& model, optim::Precision precision, int ranks) {
  HeldBytes held{fmt::format("{}, {}, {} ranks", model, name_of(precision), ranks), {}};
  for (const int stage : {0, 1, 2, 3}) {
    const plan::Plan plan = plan_of({.model = model,
                                     .precision = precision,
                                     .zero_stage = stage,
                                     .ranks = ranks,
                                     .threads = 1});
    const plan::ByUse kept = plan::persistent_bytes(plan.train.program);
    HeldBytes::Stage bytes{of(kept, Use::params), of(kept, Use::grads), of(kept, Use::optimizer),
                           0};
    bytes.transient = plan.memory.arena[0] - states(plan);
    held.stages.push_back(bytes);
  }
  return held;
}

}  // namespace sherd::bench
