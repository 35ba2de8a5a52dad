#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "bench/memory_runs.hpp"
#include "bench/rig.hpp"
#include "sherd/bench/held.hpp"
#include "sherd/bench/memory.hpp"
#include "sherd/bench/training.hpp"

namespace sherd::bench {
namespace {

using memory::Use;

Bytes of(const plan::ByUse& bytes, Use use) { return bytes[static_cast<std::size_t>(use)]; }

Bytes sum(const ByTier& bytes) { return bytes.device + bytes.host + bytes.file; }

/// One configuration, and whether it is run as well.
struct Case {
  RunShape shape;
  PlacedStates placed;
  bool runs = false;

  [[nodiscard]] launch::RunConfig config() const {
    launch::RunConfig config = config_of(shape);
    placed.apply(config);
    // Small networks get several tiles too.
    const bool moves = config.memory.offload_optimizer != plan::Offload::none;
    if (moves && shape.model == "gpt2-tiny") config.memory.offload_tile = 1 << 16;
    return config;
  }
};

void add_bytes(Row& row, const std::string& name, const ByTier& bytes) {
  const auto add = [&](const char* tier, Bytes count) {
    row.extra.emplace_back(name + tier, static_cast<std::int64_t>(count));
  };
  add("", bytes.device);
  add("_host", bytes.host);
  add("_file", bytes.file);
}

Row row_of(const Case& one, const MemoryFacts& facts, double seconds) {
  const RunShape& shape = one.shape;
  Row row{.name = fmt::format("memory {} {}", shape.model, name_of(shape.precision)),
          .time = summarize({seconds}),
          .unit = Work::held,
          .work = static_cast<double>(sum(facts.states)),
          .bound_name = "closed form of the states",
          .bound = static_cast<double>(sum(facts.formula)) / seconds,
          .wrong = facts.wrong(),
          .extra = {{"placement", one.placed.name},
                    {"ranks", std::int64_t{shape.ranks}},
                    {"zero_stage", std::int64_t{shape.zero_stage}}}};
  add_bytes(row, "planned", facts.planned);
  add_bytes(row, "states", facts.states);
  add_bytes(row, "formula", facts.formula);
  row.extra.emplace_back("runtime", static_cast<std::int64_t>(facts.runtime));
  if (facts.measured) {
    add_bytes(row, "measured", *facts.measured);
    row.extra.emplace_back("rss_peak", static_cast<std::int64_t>(facts.rss_peak));
  }
  return row;
}

Row row_of(const Case& one, const Children& children) {
  launch::RunConfig config = one.config();
  const auto start = std::chrono::steady_clock::now();
  const plan::Plan plan = plan_of(config);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  MemoryFacts facts = facts_of(plan, one.shape.zero_stage);
  if (one.runs) {
    config.data.data = {sample_text(children, 1 << 16)};
    config.batch.steps = 2;
    const ChildRun run = train_in_child(children, flags_of(config));
    facts.measured = run.measured;
    facts.rss_peak = run.rss_peak;
  }
  return row_of(one, facts, seconds);
}

std::vector<int> stages_of(int ranks) {
  return ranks == 1 ? std::vector<int>{0} : std::vector<int>{0, 1, 2, 3};
}

// Every placement on one rank and split over all, every stage where all is resident or two share.
bool runs(const RunShape& shape, bool resident, bool quick) {
  if (shape.model != "gpt2-tiny")
    return !quick && shape.ranks == 1 && shape.precision == optim::Precision::bf16;
  if (shape.ranks == 1 || (shape.ranks == 2 && !quick)) return true;
  return shape.ranks <= (quick ? 2 : 4) && (resident || shape.zero_stage == 3);
}

std::vector<Case> cases(bool quick, const std::string& folder) {
  std::vector<Case> all;
  for (const std::string model : {"gpt2-tiny", "gpt2-124m"}) {
    for (const optim::Precision precision : {optim::Precision::fp32, optim::Precision::bf16}) {
      for (const PlacedStates& placed : placements(precision, folder)) {
        for (const int ranks : {1, 2, 4, 8}) {
          for (const int stage : stages_of(ranks)) {
            const RunShape shape{.model = model,
                                 .precision = precision,
                                 .zero_stage = stage,
                                 .ranks = ranks,
                                 .threads = 1};
            all.push_back({shape, placed, runs(shape, placed.name == "resident", quick)});
          }
        }
      }
    }
  }
  return all;
}

}  // namespace

std::vector<Row> memory(const BenchOptions& options, const Children& children, const Say& say) {
  std::vector<Row> rows;
  std::string said;
  const std::filesystem::path folder = children.folder / "file tier";
  std::filesystem::create_directories(folder);
  for (const Case& one : cases(options.quick, folder.string())) {
    const std::string words =
        fmt::format("{} {}, {}", one.shape.model, name_of(one.shape.precision), one.placed.name);
    if (one.runs && words != said) say(said = words);
    rows.push_back(row_of(one, children));
  }
  return rows;
}

HeldBytes held_by_stage(const std::string& model, optim::Precision precision, int ranks) {
  HeldBytes held{fmt::format("{}, {}, {} ranks", model, name_of(precision), ranks), {}};
  for (const int stage : {0, 1, 2, 3}) {
    const plan::Plan plan = plan_of(config_of({.model = model,
                                               .precision = precision,
                                               .zero_stage = stage,
                                               .ranks = ranks,
                                               .threads = 1}));
    const plan::ByUse kept = plan::persistent_bytes(plan.train.program);
    HeldBytes::Stage bytes{of(kept, Use::params), of(kept, Use::grads), of(kept, Use::optimizer),
                           0};
    bytes.transient = plan.memory.arena[0] - facts_of(plan, stage).states.device;
    held.stages.push_back(bytes);
  }
  return held;
}

}  // namespace sherd::bench
