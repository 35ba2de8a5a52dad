#include "cli/bench_device.hpp"

#include <chrono>
#include <cstdlib>
#include <iterator>

#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/bench/comm.hpp"
#include "sherd/comm/interface.hpp"
#include "sherd/comm/local.hpp"
#include "sherd/launch/devices.hpp"
#include "sherd/memory/arena.hpp"

namespace sherd::cli {
namespace {

using Rows = std::vector<sherd::bench::Row>;
constexpr auto patience = std::chrono::seconds(60);

Rows measure(comm::ControlBlock& control, const launch::RankEnvironment& seat,
             const BenchDevices& devices, const sherd::bench::BenchOptions& options) {
  const device::OpenDevice opened = devices.open(seat.rank);
  const memory::Arena arena =
      memory::Arena::on(*opened.driver, device::Memory::device, sherd::bench::comm_arena());
  device::Stream stream(opened);
  Rows rows;
  {
    const auto comm = comm::local({&control, seat.rank, arena.bytes(),
                                   comm::device_arenas(opened, seat.arena_fds), patience, &stream});
    rows = device_comm_rank(*comm, {arena.bytes(), stream, "local"}, options);
  }
  const bool own_devices = !devices.index && devices.found.count >= seat.world;
  if (!own_devices || !devices.found.why_no_nccl.empty()) return rows;
  const auto& library = *static_cast<const comm::Interface*>(opened.library.comm);
  const auto comm = library.nccl(
      {&control, seat.rank, arena.bytes(), &stream, patience, seat.id_from, seat.id_to});
  Rows more = device_comm_rank(*comm, {arena.bytes(), stream, "nccl"}, options);
  rows.insert(rows.end(), std::make_move_iterator(more.begin()),
              std::make_move_iterator(more.end()));
  return rows;
}

}  // namespace

std::optional<BenchDevices> bench_devices(Bench what, const std::string& device) {
  const char* library = std::getenv("SHERD_DEVICE_LIBRARY");
  launch::Devices found = launch::find_devices(device, library == nullptr ? "" : library);
  const std::string problem = launch::device_problem(device, found);
  if (!problem.empty()) throw ConfigError({problem});
  const launch::DeviceChoice choice = *launch::parse_device(device);
  if (choice.kind == DeviceKind::cpu) return std::nullopt;
  if (what == Bench::memory || what == Bench::io || what == Bench::data) {
    if (!choice.kind) return std::nullopt;
    throw ConfigError({std::string("--device: bench ") +
                       (what == Bench::io     ? "io"
                        : what == Bench::data ? "data"
                                              : "memory") +
                       " has no rows of a device; step, optim and comm have"});
  }
  if (found.count == 0) {
    log::info("measuring the CPU: " + found.why_none);
    return std::nullopt;
  }
  return BenchDevices{std::move(found), choice.index};
}

Rows device_comm_rows(const launch::RankEnvironment& seat, const BenchDevices& devices,
                      const sherd::bench::BenchOptions& options) {
  const comm::ControlMapping control = comm::ControlBlock::attach(seat.control_fd);
  try {
    return measure(*control, seat, devices, options);
  } catch (const std::exception& error) {
    control->fail(seat.rank, exit_code(error), error.what());
    throw;
  }
}

}  // namespace sherd::cli
