#include "sherd/comm/local.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "comm/operands.hpp"
#include "comm/rendezvous.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

constexpr Bytes window_bytes = mib;  // what stays resident of each peer while it is read

class LocalComm final : public Communicator {
 public:
  LocalComm(LocalRank seat, Group group)
      : Communicator(group.self, group.size()),
        seat_(std::move(seat)),
        operands_{seat_.arena, group.self, group.size()},
        stream_(seat_.stream == nullptr ? host_ : *seat_.stream),
        meet_(std::move(group)) {}

  void all_gather(View shard, View full, const Label& label) override;
  void reduce_scatter(const ReduceScatter& call, const Label& label) override;
  void all_reduce(View in, View out, const Label& label) override;
  void broadcast(View data, Rank root, const Label& label) override;
  void barrier(const Label& label) override;
  std::unique_ptr<Communicator> split(int color) override;

 private:
  // What all ranks fold: the same elements of each one's contribution.
  struct Fold {
    View own;      // this rank's elements
    Bytes offset;  // of the same elements in every arena
    View out;
    Write mode = Write::set;
    kernels::FoldOrder order = kernels::FoldOrder::fast;
    const Philox* round = nullptr;
    std::uint64_t first = 0;
  };

  // A call: meet, move data, part. Whatever goes wrong while moving ends the run.
  template <class Move>
  void run(const Call& call, Move&& move) {
    meet_.arrive(call);
    try {
      move();
      settle();
    } catch (const std::exception& error) {
      const Group& group = meet_.group();
      meet_.fail("rank " + std::to_string(group.run_rank(rank())) + ": " + error.what() + ", in " +
                 group.control->call_text(group.record_of(rank())));
    }
    meet_.leave();
    traffic_[static_cast<std::size_t>(call.verb)] += operands_.sent(call);
  }

  // On a device, data has moved only when the stream has come this far.
  void settle() { device::block(stream_, meet_.group().control->abort); }
  void copy_from(Rank peer, Bytes offset, View to);
  void fold(const Fold& fold);
  [[nodiscard]] View part(View full, Rank of) const { return operands_.part(full, of); }

  LocalRank seat_;
  Operands operands_;
  device::Stream host_{1};
  StreamRef stream_;
  Rendezvous meet_;
};

void LocalComm::copy_from(Rank peer, Bytes offset, View to) {
  if (to.bytes() == 0) return;
  const Rank from = meet_.group().run_rank(peer);
  if (stream_.kind() == DeviceKind::cpu) return seat_.peers->read(from, offset, to.raw());
  device::copy(to.raw(), {seat_.peers->window(from, offset, to.bytes()), to.bytes()}, stream_);
}

void LocalComm::fold(const Fold& call) {
  const Bytes element = size_of(call.out.type), total = call.out.bytes();
  std::vector<const std::byte*> sources(static_cast<std::size_t>(world()));
  const Bytes window = stream_.kind() == DeviceKind::cpu ? window_bytes : total;
  for (Bytes done = 0; done < total; done += window) {
    const Bytes size = std::min(window, total - done);
    for (Rank peer = 0; peer < world(); ++peer) {
      sources[static_cast<std::size_t>(peer)] =
          peer == rank()
              ? call.own.data + done
              : seat_.peers->window(meet_.group().run_rank(peer), call.offset + done, size);
    }
    const View out{
        call.out.data + done, {1, static_cast<std::int64_t>(size / element)}, call.out.type};
    kernels::fold({sources, out, call.mode, call.order, call.round, call.first + done / element},
                  stream_);
    for (Rank peer = 0; peer < world(); ++peer) {
      if (peer != rank()) seat_.peers->drop(sources[static_cast<std::size_t>(peer)], size);
    }
  }
}

void LocalComm::all_gather(View shard, View full, const Label& label) {
  const Call call = operands_.all_gather(shard, full, label);
  const bool in_place = call.detail != 0;
  run(call, [&] {
    if (!in_place && shard.bytes() > 0) {
      device::copy(part(full, rank()).raw(), shard.raw(), stream_);
    }
    for (int step = 1; step < world(); ++step) {
      const Rank peer = (rank() + step) % world();
      const Bytes skip = in_place ? static_cast<Bytes>(peer) * shard.bytes() : 0;
      copy_from(peer, call.offset + skip, part(full, peer));
    }
  });
}

void LocalComm::reduce_scatter(const ReduceScatter& sum, const Label& label) {
  const Call call = operands_.reduce_scatter(sum, label);
  run(call, [&] {
    const Bytes skip = static_cast<Bytes>(rank()) * sum.shard.bytes();
    fold({part(sum.full, rank()), call.offset + skip, sum.shard, sum.mode, sum.order, sum.round,
          sum.first});
  });
}

void LocalComm::all_reduce(View in, View out, const Label& label) {
  const Call call = operands_.all_reduce(in, out, label);
  run(call, [&] {
    if (in.numel() % world() != 0) return fold({.own = in, .offset = call.offset, .out = out});
    const Bytes slice = in.bytes() / static_cast<Bytes>(world());
    fold({.own = part(in, rank()),
          .offset = call.offset + static_cast<Bytes>(rank()) * slice,
          .out = part(out, rank())});
    settle();
    meet_.pass();
    for (int step = 1; step < world(); ++step) {
      const Rank peer = (rank() + step) % world();
      copy_from(peer, call.detail + static_cast<Bytes>(peer) * slice, part(out, peer));
    }
  });
}

void LocalComm::broadcast(View data, Rank root, const Label& label) {
  const Call call = operands_.broadcast(data, root, label);
  run(call, [&] {
    if (rank() != root) copy_from(root, call.offset, data);
  });
}

void LocalComm::barrier(const Label& label) {
  run({.label = label}, [] {});
}

std::unique_ptr<Communicator> LocalComm::split(int color) {
  return std::make_unique<LocalComm>(seat_, meet_.split(color));
}

}  // namespace

std::unique_ptr<Communicator> local(const LocalRank& seat) {
  expects(seat.control != nullptr, "local: got no control block, need one");
  const int world = seat.control->world;
  expects(seat.rank >= 0 && seat.rank < world, "local: got rank " + std::to_string(seat.rank) +
                                                   ", need one below " + std::to_string(world));
  expects(seat.timeout.count() > 0, "local: got no time-out, need a positive one");
  expects(world == 1 || seat.peers != nullptr, "local: got no peer arenas, need them");
  seat.control->ranks[static_cast<std::size_t>(seat.rank)].pid.store(getpid(),
                                                                     std::memory_order_relaxed);
  if (world > 1) seat.peers->publish(seat.rank, seat.arena);
  Group group{.control = seat.control, .self = seat.rank, .timeout = seat.timeout};
  for (Rank rank = 0; rank < world; ++rank) {
    group.ranks.push_back(rank);
    group.records.push_back(static_cast<std::uint32_t>(rank));
  }
  return std::make_unique<LocalComm>(seat, std::move(group));
}

}  // namespace sherd::comm
