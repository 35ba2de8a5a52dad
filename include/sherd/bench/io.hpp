#pragma once
// Records of the file tier beside what the disk does without them.
#include <string>
#include <vector>

#include "sherd/base/units.hpp"
#include "sherd/bench/rows.hpp"

namespace sherd::bench {

/// Bytes that io() takes in its folder.
[[nodiscard]] Bytes io_room(const BenchOptions& options);

/// Writes, reads, and reads each followed by a write, of records of 4 and 16 MiB, by each engine
/// the machine grants, beside plain direct calls of 4 MiB that do the same, by one thread or two,
/// whichever is faster.
///
/// `wrong` counts records that were not read as they were written.
/// **Errors** those of io::make_record_file().
[[nodiscard]] std::vector<Row> io(const BenchOptions& options, const std::string& folder);

}  // namespace sherd::bench
