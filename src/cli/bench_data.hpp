#pragma once
// `sherd bench data`: which tokenizer and text.
#include <vector>

#include "sherd/bench/row.hpp"
#include "sherd/bench/rows.hpp"
#include "sherd/cli/commands.hpp"

namespace sherd::cli {

/// **Errors** ConfigError without `--tokenizer` and `--text`, DataError for what is in them.
[[nodiscard]] std::vector<sherd::bench::Row> data_rows(const BenchOutput& output,
                                                       const sherd::bench::BenchOptions& options);

}  // namespace sherd::cli
