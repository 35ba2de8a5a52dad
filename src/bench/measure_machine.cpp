#include <array>
#include <chrono>
#include <exception>
#include <thread>

#include "bench/buffers.hpp"
#include "sherd/bench/bounds.hpp"
#include "sherd/bench/comm.hpp"
#include "sherd/comm/local.hpp"

namespace sherd::bench {
namespace {

double memory_bandwidth(const BenchOptions& options) {
  const Shape shape{1, options.quick ? 4 << 20 : 16 << 20};
  Buffers buffers(3 * Buffers::cost(shape, DType::f32));
  const View a = buffers.take(shape, DType::f32), b = buffers.take(shape, DType::f32),
             c = buffers.take(shape, DType::f32);
  device::Stream stream(options.threads);
  const std::array passes = {Pass([&] { touch_three(a, b, c, stream); })};
  return 24 * static_cast<double>(shape.numel()) /
         alternate(options.effective_rounds(), passes)[0].median;
}

struct Net {
  double bandwidth = 0, latency = 0;
};

// One all-gather of 16 MiB and one barrier, each the median of its rounds.
Net net_of(comm::Communicator& comm, std::span<std::byte> arena, int rounds) {
  const std::int64_t count = 16 * static_cast<std::int64_t>(mib) / 4;
  const View full{arena.data(), {1, count}, DType::f32};
  const std::int64_t k = count / comm.world();
  const View shard{full.data + static_cast<Bytes>(k * comm.rank()) * 4, {1, k}, DType::f32};
  const auto seconds = [](const Pass& pass) {
    const auto start = std::chrono::steady_clock::now();
    pass();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<double> gathers, barriers;
  for (int round = 0; round < 4 * rounds; ++round) {
    comm.barrier({"bench begins"});
    gathers.push_back(seconds([&] { comm.all_gather(shard, full, {"bench"}); }));
    barriers.push_back(seconds([&] { comm.barrier({"bench"}); }));
  }
  const double sent = static_cast<double>(shard.bytes()) * (comm.world() - 1);
  return {sent / summarize(std::move(gathers)).median, summarize(std::move(barriers)).median};
}

Net net_rates(int rounds) {
  const comm::ControlMapping control = comm::ControlBlock::create(2);
  const auto peers = comm::thread_arenas(2);
  const std::array arenas = {memory::Arena::anonymous(16 * mib),
                             memory::Arena::anonymous(16 * mib)};
  std::array<std::exception_ptr, 2> failures;
  Net net;
  const auto play = [&](Rank rank) {
    const auto at = static_cast<std::size_t>(rank);
    try {
      const auto comm =
          comm::local({&*control, rank, arenas[at].bytes(), peers, std::chrono::seconds(60)});
      const Net own = net_of(*comm, arenas[at].bytes(), rounds);
      if (rank == 0) net = own;
    } catch (const std::exception& error) {
      failures[at] = std::current_exception();
      control->fail(rank, 5, error.what());
    }
  };
  std::thread other([&] { play(1); });
  play(0);
  other.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  return net;
}

}  // namespace

plan::Machine measure_machine(const BenchOptions& options) {
  const GemmShape shape{.m = 256, .n = 3072, .k = 768, .transpose_b = true};
  const int rounds = options.effective_rounds();
  const Net net = net_rates(rounds);
  return {.flops = shape.flops() / time_gemm(shape, options.threads, rounds).median,
          .memory_bandwidth = memory_bandwidth(options),
          .net_bandwidth = net.bandwidth,
          .net_latency = net.latency};
}

Row machine_row(const plan::Machine& rates, const BenchOptions& options) {
  const GemmShape shape{.m = 256, .n = 3072, .k = 768};
  const double seconds = shape.flops() / rates.flops;
  return {.name = "machine",
          .time = {.median = seconds, .fastest = seconds, .slowest = seconds, .rounds = 1},
          .unit = Work::flops,
          .work = shape.flops(),
          .bound_name = "itself: the library's product of 256x3072x768",
          .bound = rates.flops,
          .extra = {{"threads", std::int64_t{options.threads}},
                    {"flops", rates.flops},
                    {"memory_bandwidth", rates.memory_bandwidth},
                    {"net_bandwidth", rates.net_bandwidth},
                    {"net_latency", rates.net_latency}}};
}

}  // namespace sherd::bench
