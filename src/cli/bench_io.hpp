#pragma once
// `sherd bench io`: where its files lie.
#include <vector>

#include "sherd/bench/rows.hpp"
#include "sherd/cli/commands.hpp"

namespace sherd::cli {

/// **Errors** ConfigError when the folder cannot be used, or none on a disk was found.
[[nodiscard]] std::vector<sherd::bench::Row> io_rows(const BenchOutput& output,
                                                     const sherd::bench::BenchOptions& options);

}  // namespace sherd::cli
