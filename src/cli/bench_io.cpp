#include "cli/bench_io.hpp"

#include <filesystem>

#include "cli/own_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/bench/io.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::cli {
namespace {

using Rows = std::vector<sherd::bench::Row>;

Rows measure(const io::FileTierConfig& config, const sherd::bench::BenchOptions& options) {
  const io::OffloadFolder held(config);
  const Bytes need = sherd::bench::io_room(options), free = held.free();
  if (need > free) {
    throw CapacityError("--offload-dir: bench io needs " + format_bytes(need) + ", but " +
                        format_bytes(free) + " are free in " + config.offload_dir);
  }
  log::info("files in " + config.offload_dir);
  return sherd::bench::io(options, config.offload_dir);
}

}  // namespace

Rows io_rows(const BenchOutput& output, const sherd::bench::BenchOptions& options) {
  if (!output.offload_dir.empty())
    return measure({.offload_dir = output.offload_dir, .offload_dir_any = output.offload_dir_any},
                   options);
  std::vector<std::string> problems;
  for (const std::filesystem::path& parent :
       {std::filesystem::current_path(), std::filesystem::temp_directory_path()}) {
    try {
      const OwnFolder folder(parent);
      return measure({.offload_dir = folder.path(), .offload_dir_any = output.offload_dir_any},
                     options);
    } catch (const ConfigError& error) {
      problems.insert(problems.end(), error.problems.begin(), error.problems.end());
    }
  }
  problems.emplace_back("--offload-dir: bench io found no disk; give it a folder on one");
  throw ConfigError(std::move(problems));
}

}  // namespace sherd::cli
