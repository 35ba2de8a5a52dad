#pragma once
// `sherd bench memory`: its flags, its rows, and pictures of one run.
#include <vector>

#include "sherd/bench/training.hpp"
#include "sherd/cli/commands.hpp"

namespace CLI {
class App;
}

namespace sherd::cli {

/// The subcommand of `bench`, with the flags of a plan beside those of a bench.
///
/// **Memory** `output` and `config` outlive the app.
CLI::App* add_bench_memory(CLI::App& bench, BenchOutput& output, launch::RunConfig& config);

/// Rows; or with `--html` or `--timeline` those alone, of the run that the flags say.
///
/// **Errors** ConfigError for flags of a run with neither.
int bench_memory(BenchOutput output, const launch::RunConfig& config);

/// Those of sherd::bench::memory, then the largest models.
[[nodiscard]] std::vector<sherd::bench::Row> memory_rows(const BenchOutput& output,
                                                         const sherd::bench::BenchOptions& options,
                                                         const sherd::bench::Children& children,
                                                         const sherd::bench::Say& say);

}  // namespace sherd::cli
