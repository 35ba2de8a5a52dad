// Collectives between ranks whose arenas are memory of a device.
#include <chrono>
#include <functional>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/bench/comm.hpp"
#include "sherd/bench/device.hpp"

namespace sherd::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr Bytes payload = 16 * mib;  // of a collective's larger side
constexpr std::int64_t elements = payload / 4;

// Small whole numbers: sums over ranks are exact.
float value(std::int64_t i) { return static_cast<float>(i % 1021); }

struct Kind {
  const char* name;
  Bytes moved, sent;  // by each rank: read and written at least, and over to others
  Pass pass;
  View result;
  std::function<float(std::int64_t)> right;
};

class Bench {
 public:
  Bench(comm::Communicator& comm, const DeviceSeat& seat, int rounds)
      : comm_(comm),
        seat_(seat),
        rounds_(rounds),
        in_{seat.arena.data(), {1, elements}, DType::f32},
        out_{seat.arena.data() + payload, {1, elements}, DType::f32} {}

  [[nodiscard]] std::vector<Row> rows() {
    std::vector<Row> all;
    for (const Kind& kind : kinds()) all.push_back(measure(kind));
    return all;
  }

 private:
  [[nodiscard]] View part(const View& whole, std::int64_t index) const {
    const std::int64_t count = elements / comm_.world();
    return {whole.data + static_cast<Bytes>(index * count) * 4, {1, count}, DType::f32};
  }
  [[nodiscard]] std::vector<Kind> kinds();
  void settle() { device::block(seat_.stream, AbortWord{}); }
  // Every rank starts with all of `in`, and its own part of `out`, times rank + 1.
  void fill() {
    std::vector<float> host(static_cast<std::size_t>(elements));
    const auto mine = static_cast<float>(comm_.rank() + 1);
    for (std::int64_t i = 0; i < elements; ++i) host[static_cast<std::size_t>(i)] = mine * value(i);
    const auto raw = std::as_bytes(std::span(host));
    device::copy(in_.raw(), raw, seat_.stream);
    device::copy(out_.raw(), raw, seat_.stream);
    settle();
    comm_.barrier({"bench filled"});
  }
  [[nodiscard]] std::int64_t wrong_of(const Kind& kind) {
    std::vector<float> host(static_cast<std::size_t>(kind.result.numel()));
    device::copy(std::as_writable_bytes(std::span(host)), kind.result.raw(), seat_.stream);
    settle();
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < kind.result.numel(); ++i)
      wrong += host[static_cast<std::size_t>(i)] == kind.right(i) ? 0 : 1;
    comm_.barrier({"bench compared"});
    return wrong;
  }
  [[nodiscard]] double timed(const Pass& pass) {
    comm_.barrier({"bench begins"});
    const Clock::time_point start = Clock::now();
    pass();
    settle();
    return std::chrono::duration<double>(Clock::now() - start).count();
  }
  [[nodiscard]] Row measure(const Kind& kind);

  comm::Communicator& comm_;
  const DeviceSeat& seat_;
  int rounds_;
  View in_, out_;
};

std::vector<Kind> Bench::kinds() {
  const std::int64_t world = comm_.world(), rank = comm_.rank(), count = elements / world;
  const Bytes own = payload / static_cast<Bytes>(world), others = payload - own;
  const float all = 0.5f * static_cast<float>(world * (world + 1));
  const View shard = part(out_, rank);
  return {{"device.reduce_scatter", payload + own, others,
           [this, shard] {
             comm::ReduceScatter call;
             call.full = in_;
             call.shard = shard;
             comm_.reduce_scatter(call, {"bench"});
           },
           shard, [=](std::int64_t i) { return all * value(rank * count + i); }},
          {"device.all_gather", 2 * others, others,
           [this, shard] { comm_.all_gather(shard, out_, {"bench"}); }, out_,
           [=](std::int64_t i) { return static_cast<float>(i / count + 1) * value(i); }},
          {"device.all_reduce", payload + own + 2 * others, 2 * others,
           [this] { comm_.all_reduce(in_, out_, {"bench"}); }, out_,
           [=](std::int64_t i) { return all * value(i); }}};
}

Row Bench::measure(const Kind& kind) {
  fill();
  kind.pass();
  settle();
  const std::int64_t wrong = wrong_of(kind);
  // Its two sides lie behind the operands.
  const std::span<std::byte> from = seat_.arena.subspan(2 * payload, kind.moved / 2),
                             to = seat_.arena.subspan(4 * payload, kind.moved / 2);
  const Pass copy = [&] {
    device::copy(to, from, seat_.stream);
    settle();
    comm_.barrier({"bench copied"});
  };
  std::vector<double> seconds, bound;
  (void)timed(copy);
  for (int round = 0; round < rounds_; ++round) {
    seconds.push_back(timed(kind.pass));
    bound.push_back(timed(copy));
  }
  const double moved = static_cast<double>(kind.moved);
  return {.name = kind.name,
          .time = summarize(std::move(seconds)),
          .work = moved,
          .bound_name = "copies on the device that move as many bytes, by the same ranks at once",
          .bound = moved / summarize(std::move(bound)).median,
          .wrong = wrong,
          .extra = {{"where", std::string("device")},
                    {"device", seat_.stream.driver().info().name},
                    {"backend", seat_.backend},
                    {"ranks", std::int64_t{comm_.world()}},
                    {"bytes", static_cast<std::int64_t>(payload)},
                    {"sent_bytes", static_cast<std::int64_t>(kind.sent)}}};
}

}  // namespace

std::vector<Row> device_comm_rank(comm::Communicator& comm, const DeviceSeat& seat,
                                  const BenchOptions& options) {
  expects(seat.arena.size() >= comm_arena(),
          "device_comm_rank: got a small arena, need comm_arena() bytes");
  return Bench(comm, seat, 4 * options.effective_rounds()).rows();
}

}  // namespace sherd::bench
