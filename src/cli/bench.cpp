#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include "cli/bench_data.hpp"
#include "cli/bench_device.hpp"
#include "cli/bench_io.hpp"
#include "cli/bench_memory.hpp"
#include "cli/own_arguments.hpp"
#include "cli/own_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/bench/comm.hpp"
#include "sherd/bench/held.hpp"
#include "sherd/bench/training.hpp"
#include "sherd/cli/commands.hpp"
#include "sherd/comm/local.hpp"
#include "sherd/launch/machine.hpp"
#include "sherd/launch/supervisor.hpp"
#include "sherd/memory/arena.hpp"

namespace sherd::cli {
namespace {

using Rows = std::vector<sherd::bench::Row>;

double load() {
  double average = 0;
  getloadavg(&average, 1);
  return average;
}

void write_plot(const std::string& path, const std::string& drawing) {
  std::ofstream file(path);
  if (!(file << drawing) || !file.flush()) throw ConfigError({"--plot: cannot write " + path});
}

void report(Rows rows, const BenchOutput& output, double load_before) {
  for (sherd::bench::Row& row : rows) {
    row.extra.emplace_back("load", load_before);
    if (output.json) std::cout << sherd::bench::to_json(row) << '\n';
  }
  if (!output.json) std::cout << sherd::bench::table(rows);
  std::cout << std::flush;
}

Rows comm_rows(const launch::RankEnvironment& seat, const sherd::bench::BenchOptions& options) {
  const comm::ControlMapping control = comm::ControlBlock::attach(seat.control_fd);
  try {
    const memory::Arena arena = memory::Arena::shared(
        seat.arena_fds[static_cast<std::size_t>(seat.rank)], sherd::bench::comm_arena());
    const auto comm = comm::local({&*control, seat.rank, arena.bytes(),
                                   comm::mapped_arenas(seat.arena_fds), std::chrono::seconds(60)});
    return sherd::bench::comm_rank(*comm, arena.bytes(), options);
  } catch (const std::exception& error) {
    control->fail(seat.rank, exit_code(error), error.what());
    throw;
  }
}

// Two processes that come here again, each with a seat; the first one reports.
int comm_bench(const BenchOutput& output, const sherd::bench::BenchOptions& options,
               const std::optional<BenchDevices>& devices) {
  if (const char* text = std::getenv(launch::rank_variable)) {
    const auto seat = launch::parse_rank(text);
    if (!seat)
      throw ConfigError({std::string(launch::rank_variable) + ": got '" + text +
                         "', which no supervisor of this version wrote; unset it"});
    const double before = load();
    const Rows rows =
        devices ? device_comm_rows(*seat, *devices, options) : comm_rows(*seat, options);
    if (seat->rank > 0) return 0;
    if (!output.plot.empty())
      write_plot(output.plot, draw(rows, "sherd bench comm: two processes, 16 MiB"));
    report(rows, output, before);
    return 0;
  }
  launch::SupervisorConfig config;
  config.world = 2;
  config.program.arguments = {"sherd", "bench", "comm", "--device",
                              devices ? output.device : "cpu"};
  if (output.quick) config.program.arguments.emplace_back("--quick");
  if (output.json) config.program.arguments.emplace_back("--json");
  if (!output.plot.empty()) {
    config.program.arguments.emplace_back("--plot");
    config.program.arguments.push_back(output.plot);
  }
  config.program.environment = own_environment();
  const launch::RunEnd end = launch::Supervisor(std::move(config)).run();
  if (!end.cause.empty()) log::error(end.cause);
  return end.exit_code;
}

}  // namespace

int bench(Bench what, const BenchOutput& output) {
  sherd::bench::BenchOptions options;
  options.threads = launch::usable_cores();
  options.quick = output.quick;
  const std::optional<BenchDevices> devices = bench_devices(what, output.device);
  if (what == Bench::comm) return comm_bench(output, options, devices);
  const double before = load();
  const sherd::bench::Say say = [](std::string_view words) { log::info(words); };
  Rows rows;
  std::string drawing;
  if (what == Bench::optim) {
    rows = devices ? device_optim(devices->open(), options) : sherd::bench::optim(options);
    drawing = draw(rows, "sherd bench optim: part of memory bandwidth");
  } else if (what == Bench::data) {
    rows = data_rows(output, options);
    drawing = draw(rows, "sherd bench data: part of what is possible with all words known");
  } else if (what == Bench::io) {
    rows = io_rows(output, options);
    drawing = draw(rows, "sherd bench io: part of the disk's own direct rate");
  } else {
    const OwnFolder scratch(std::filesystem::temp_directory_path());
    const sherd::bench::Children children{"/proc/self/exe", own_environment(), scratch.path()};
    if (what == Bench::step) {
      rows = devices ? device_step(devices->open(), options, children, devices->name(), say)
                     : sherd::bench::step(options, children, say);
      drawing = draw(rows, "sherd bench step: part of the library's own products");
    } else {
      rows = memory_rows(output, options, children, say);
      drawing = draw(sherd::bench::held_by_stage("gpt2-124m", optim::Precision::bf16, 4));
    }
  }
  if (!output.plot.empty()) write_plot(output.plot, drawing);
  report(std::move(rows), output, before);
  return 0;
}

}  // namespace sherd::cli
