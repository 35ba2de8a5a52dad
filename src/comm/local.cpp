#include "sherd/comm/local.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "comm/rendezvous.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

constexpr Bytes window_bytes = mib;  // what stays resident of each peer while it is read

bool apart(View a, View b) { return a.data + a.bytes() <= b.data || b.data + b.bytes() <= a.data; }

bool foldable(DType type) {
  return type == DType::f32 || type == DType::bf16 || type == DType::i64;
}

View flat(View view) { return view.reshaped({1, view.numel()}); }

class LocalComm final : public Communicator {
 public:
  LocalComm(LocalRank seat, Group group)
      : Communicator(group.self, group.size()),
        seat_(std::move(seat)),
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
  }

  // On a device, data has moved only when the stream has come this far.
  void settle() { device::block(stream_, meet_.group().control->abort); }
  [[nodiscard]] Bytes offset_of(View view, const char* call) const;
  void copy_from(Rank peer, Bytes offset, View to);
  void fold(const Fold& fold);
  void count(Verb verb, Bytes bytes) { traffic_[static_cast<std::size_t>(verb)] += bytes; }
  [[nodiscard]] Bytes peers() const { return static_cast<Bytes>(world() - 1); }
  [[nodiscard]] View part(View full, Rank rank) const {
    const std::int64_t numel = full.numel() / world();
    return flat(full).reshaped({full.numel(), 1}).rows(rank * numel, numel).reshaped({1, numel});
  }

  LocalRank seat_;
  device::Stream host_{1};
  StreamRef stream_;
  Rendezvous meet_;
};

Bytes LocalComm::offset_of(View view, const char* call) const {
  if (world() == 1 || view.bytes() == 0) return 0;
  const std::byte* begin = seat_.arena.data();
  const bool inside = view.data >= begin && view.data + view.bytes() <= begin + seat_.arena.size();
  expects(inside, std::string(call) + ": got an operand outside the arena, need one inside");
  return static_cast<Bytes>(view.data - begin);
}

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
    kernels::fold(
        {sources, out, call.mode, call.order, call.round, call.first + done / element}, stream_);
    for (Rank peer = 0; peer < world(); ++peer) {
      if (peer != rank()) seat_.peers->drop(sources[static_cast<std::size_t>(peer)], size);
    }
  }
}

void LocalComm::all_gather(View shard, View full, const Label& label) {
  expects(full.type == shard.type && full.numel() == shard.numel() * world(),
          "all_gather: got " + std::to_string(full.numel()) + " elements for shards of " +
              std::to_string(shard.numel()) + ", need world times as many of the same type");
  const View own = part(full, rank());
  const bool in_place = shard.data == own.data && shard.bytes() > 0;
  expects(in_place || apart(shard, full), "all_gather: got a shard inside full, need its own part");
  const Bytes whole = offset_of(full, "all_gather");
  const Bytes base = in_place ? whole : offset_of(shard, "all_gather");
  run({Verb::all_gather, full.type, shard.bytes(), base, in_place, label}, [&] {
    if (!in_place && shard.bytes() > 0) device::copy(own.raw(), shard.raw(), stream_);
    for (int step = 1; step < world(); ++step) {
      const Rank peer = (rank() + step) % world();
      const Bytes skip = in_place ? static_cast<Bytes>(peer) * shard.bytes() : 0;
      copy_from(peer, base + skip, part(full, peer));
    }
  });
  count(Verb::all_gather, peers() * shard.bytes());
}

void LocalComm::reduce_scatter(const ReduceScatter& call, const Label& label) {
  const auto& [full, shard, mode, order, round, first] = call;
  expects(full.type == shard.type && full.numel() == shard.numel() * world(),
          "reduce_scatter: got " + std::to_string(full.numel()) + " elements for shards of " +
              std::to_string(shard.numel()) + ", need world times as many of the same type");
  expects(foldable(full.type),
          "reduce_scatter: got " + std::string(name_of(full.type)) + ", need fp32, bf16 or i64");
  const View own = part(full, rank());
  expects(shard.data == own.data || apart(shard, full),
          "reduce_scatter: got a shard inside full, need its own part");
  const Bytes whole = offset_of(full, "reduce_scatter");
  // The result's place is nobody else's business, so only its form is part of the fingerprint.
  const std::uint64_t form = static_cast<std::uint64_t>(mode) | static_cast<std::uint64_t>(order)
                                                                    << 1;
  run({Verb::reduce_scatter, full.type, full.bytes(), whole, form, label}, [&] {
    const Bytes skip = static_cast<Bytes>(rank()) * shard.bytes();
    fold({own, whole + skip, shard, mode, order, round, first});
  });
  count(Verb::reduce_scatter, peers() * shard.bytes());
}

void LocalComm::all_reduce(View in, View out, const Label& label) {
  expects(in.type == out.type && in.numel() == out.numel(),
          "all_reduce: got " + std::to_string(in.numel()) + " elements into " +
              std::to_string(out.numel()) + ", need as many of the same type");
  expects(in.type == DType::f32 || in.type == DType::i64,
          "all_reduce: got " + std::string(name_of(in.type)) + ", need fp32 or i64");
  expects(apart(in, out), "all_reduce: got overlapping operands, need distinct ones");
  const Bytes from = offset_of(in, "all_reduce"), to = offset_of(out, "all_reduce");
  const bool shared = in.numel() % world() == 0;
  run({Verb::all_reduce, in.type, in.bytes(), from, to, label}, [&] {
    if (!shared) return fold({.own = in, .offset = from, .out = out});
    const Bytes slice = in.bytes() / static_cast<Bytes>(world());
    const View mine = part(out, rank());
    fold({.own = part(in, rank()),
          .offset = from + static_cast<Bytes>(rank()) * slice,
          .out = mine});
    settle();
    meet_.pass();
    for (int step = 1; step < world(); ++step) {
      const Rank peer = (rank() + step) % world();
      copy_from(peer, to + static_cast<Bytes>(peer) * slice, part(out, peer));
    }
  });
  count(Verb::all_reduce,
        shared ? 2 * peers() * (in.bytes() / static_cast<Bytes>(world())) : peers() * in.bytes());
}

void LocalComm::broadcast(View data, Rank root, const Label& label) {
  expects(root >= 0 && root < world(), "broadcast: got root " + std::to_string(root) +
                                           ", need a rank below " + std::to_string(world()));
  const Bytes base = offset_of(data, "broadcast");
  const auto origin = static_cast<std::uint64_t>(root);
  run({Verb::broadcast, data.type, data.bytes(), base, origin, label}, [&] {
    if (rank() != root) copy_from(root, base, data);
  });
  if (rank() == root) count(Verb::broadcast, peers() * data.bytes());
}

void LocalComm::barrier(const Label& label) {
  run({.label = label}, [] {});
}

std::unique_ptr<Communicator> LocalComm::split(int color) {
  const Group& group = meet_.group();
  const Call call{.label = {"split", 0}};
  const auto colors = meet_.exchange(call, static_cast<std::uint32_t>(color));
  constexpr std::uint32_t none = 0xffffffff;
  const auto size = static_cast<std::uint32_t>(world());
  const std::uint32_t mine = rank() == 0 ? group.control->take_members(size).value_or(none) : 0;
  const std::uint32_t base = meet_.exchange(call, mine).front();
  expects(base != none, "split: got one group more than the control block holds, need fewer");
  Group child{.control = group.control, .timeout = group.timeout};
  for (Rank peer = 0; peer < world(); ++peer) {
    if (colors[static_cast<std::size_t>(peer)] != static_cast<std::uint32_t>(color)) continue;
    if (peer == rank()) child.self = child.size();
    child.ranks.push_back(group.run_rank(peer));
    child.records.push_back(base + static_cast<std::uint32_t>(peer));
  }
  return std::make_unique<LocalComm>(seat_, std::move(child));
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
  if (seat.peers) seat.peers->publish(seat.rank, seat.arena);
  Group group{.control = seat.control, .self = seat.rank, .timeout = seat.timeout};
  for (Rank rank = 0; rank < world; ++rank) {
    group.ranks.push_back(rank);
    group.records.push_back(static_cast<std::uint32_t>(rank));
  }
  return std::make_unique<LocalComm>(seat, std::move(group));
}

}  // namespace sherd::comm
