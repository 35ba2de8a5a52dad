#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "bench/buffers.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/bench/comm.hpp"

namespace sherd::bench {
namespace {

constexpr Bytes payload = 16 * mib;  // of a collective's larger side
constexpr Bytes slot = payload + 4096 + 64;

// Small whole numbers: sums over ranks are exact.
float value(std::int64_t i) { return static_cast<float>(i % 1021); }

struct Operands {
  View in, out;
  std::span<std::byte> from, to;  // of the copy
};

Operands lay_out(std::span<std::byte> arena) {
  const Shape shape{1, static_cast<std::int64_t>(payload / 4)};
  return {{arena.data(), shape, DType::f32},
          {arena.data() + slot, shape, DType::f32},
          arena.subspan(2 * slot, payload * 2),
          arena.subspan(4 * slot, payload * 2)};
}

View part(View whole, std::int64_t index, std::int64_t parts) {
  const std::int64_t k = whole.numel() / parts;
  return {whole.data + static_cast<Bytes>(index * k) * 4, {1, k}, DType::f32};
}

// What a collective does, what it must at least read and write on each rank, and its closed form.
struct Kind {
  const char* name;
  Bytes moved;
  Bytes wire;
  std::function<void()> prepare;
  Pass pass;
  View result;
  std::function<float(std::int64_t)> right;
};

std::vector<Kind> kinds(comm::Communicator& comm, const Operands& at) {
  const std::int64_t world = comm.world(), rank = comm.rank();
  const auto w = static_cast<Bytes>(world);
  const Bytes k = payload / w;
  const float all = 0.5f * static_cast<float>(world * (world + 1));
  const std::int64_t count = at.in.numel() / world;
  const auto fill_in = [at, rank] {
    for (std::int64_t i = 0; i < at.in.numel(); ++i)
      at.in.as<float>()[i] = static_cast<float>(rank + 1) * value(i);
  };
  const auto fill_own = [at, rank, world] {
    std::memset(at.out.data, 0, at.out.bytes());
    const View own = part(at.out, rank, world);
    for (std::int64_t i = 0; i < own.numel(); ++i)
      own.as<float>()[i] = static_cast<float>(rank + 1) * value(i);
  };
  const View shard = part(at.out, 0, world);
  return {
      {"reduce-scatter", payload + k, payload - k, fill_in,
       [&comm, at, shard] {
         comm::ReduceScatter call;
         call.full = at.in;
         call.shard = shard;
         comm.reduce_scatter(call, {"bench"});
       },
       shard, [=](std::int64_t i) { return all * value(rank * count + i); }},
      {"all-gather", 2 * (payload - k), payload - k, fill_own,
       [&comm, at, rank, world] { comm.all_gather(part(at.out, rank, world), at.out, {"bench"}); },
       at.out,
       [=](std::int64_t i) {
         const std::int64_t owner = i / count;
         return static_cast<float>(owner + 1) * value(i % count);
       }},
      {"all-reduce", payload + k + 2 * (payload - k), 2 * (payload - k), fill_in,
       [&comm, at] { comm.all_reduce(at.in, at.out, {"bench"}); }, at.out,
       [=](std::int64_t i) { return all * value(i); }},
  };
}

double timed(comm::Communicator& comm, const Pass& pass) {
  comm.barrier({"bench begins"});
  const auto start = std::chrono::steady_clock::now();
  pass();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Row measure(const Kind& kind, const Operands& at, comm::Communicator& comm, int rounds) {
  kind.prepare();
  kind.pass();
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < kind.result.numel(); ++i)
    wrong += kind.result.as<float>()[i] == kind.right(i) ? 0 : 1;
  const Pass copy = [&] {
    std::memcpy(at.to.data(), at.from.data(), kind.moved / 2);
    comm.barrier({"bench copied"});
  };
  std::vector<double> seconds, bound;
  timed(comm, copy);
  for (int round = 0; round < rounds; ++round) {
    seconds.push_back(timed(comm, kind.pass));
    bound.push_back(timed(comm, copy));
  }
  const Timing time = summarize(std::move(seconds)), copied = summarize(std::move(bound));
  return {.name = kind.name,
          .time = time,
          .work = static_cast<double>(kind.moved),
          .bound_name = "copies that move as many bytes, made by the same ranks at once",
          .bound = static_cast<double>(kind.moved) / copied.median,
          .wrong = wrong,
          .extra = {{"ranks", std::int64_t{comm.world()}},
                    {"bytes", static_cast<std::int64_t>(payload)},
                    {"sent_bytes", static_cast<std::int64_t>(kind.wire)}}};
}

}  // namespace

Bytes comm_arena() { return 6 * slot; }

std::vector<Row> comm_rank(comm::Communicator& comm, std::span<std::byte> arena,
                           const BenchOptions& options) {
  expects(arena.size() >= comm_arena(), "comm_rank: got a small arena, need comm_arena() bytes");
  const Operands at = lay_out(arena);
  std::vector<Row> rows;
  for (const Kind& kind : kinds(comm, at))
    rows.push_back(measure(kind, at, comm, 4 * options.effective_rounds()));
  return rows;
}

}  // namespace sherd::bench
