#include "comm/operands.hpp"

#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

bool apart(View a, View b) { return a.data + a.bytes() <= b.data || b.data + b.bytes() <= a.data; }

bool foldable(DType type) {
  return type == DType::f32 || type == DType::bf16 || type == DType::i64;
}

}  // namespace

View Operands::part(View full, Rank of) const {
  const std::int64_t numel = full.numel() / world;
  return full.reshaped({full.numel(), 1}).rows(of * numel, numel).reshaped({1, numel});
}

Bytes Operands::offset_of(View view, const char* call) const {
  if (world == 1 || view.bytes() == 0) return 0;
  const std::byte* begin = arena.data();
  const bool inside = view.data >= begin && view.data + view.bytes() <= begin + arena.size();
  expects(inside, std::string(call) + ": got an operand outside the arena, need one inside");
  return static_cast<Bytes>(view.data - begin);
}

Call Operands::all_gather(View shard, View full, const Label& label) const {
  expects(full.type == shard.type && full.numel() == shard.numel() * world,
          "all_gather: got " + std::to_string(full.numel()) + " elements for shards of " +
              std::to_string(shard.numel()) + ", need world times as many of the same type");
  const bool in_place = shard.data == part(full, rank).data && shard.bytes() > 0;
  expects(in_place || apart(shard, full), "all_gather: got a shard inside full, need its own part");
  const Bytes whole = offset_of(full, "all_gather");
  const Bytes base = in_place ? whole : offset_of(shard, "all_gather");
  return {Verb::all_gather, full.type, shard.bytes(), base, in_place, label};
}

Call Operands::reduce_scatter(const ReduceScatter& call, const Label& label) const {
  const View full = call.full, shard = call.shard;
  expects(full.type == shard.type && full.numel() == shard.numel() * world,
          "reduce_scatter: got " + std::to_string(full.numel()) + " elements for shards of " +
              std::to_string(shard.numel()) + ", need world times as many of the same type");
  expects(foldable(full.type),
          "reduce_scatter: got " + std::string(name_of(full.type)) + ", need fp32, bf16 or i64");
  expects(shard.data == part(full, rank).data || apart(shard, full),
          "reduce_scatter: got a shard inside full, need its own part");
  const Bytes whole = offset_of(full, "reduce_scatter");
  // The result's place is nobody else's business, so only its form is part of the fingerprint.
  const std::uint64_t form =
      static_cast<std::uint64_t>(call.mode) | static_cast<std::uint64_t>(call.order) << 1;
  return {Verb::reduce_scatter, full.type, full.bytes(), whole, form, label};
}

Call Operands::all_reduce(View in, View out, const Label& label) const {
  expects(in.type == out.type && in.numel() == out.numel(),
          "all_reduce: got " + std::to_string(in.numel()) + " elements into " +
              std::to_string(out.numel()) + ", need as many of the same type");
  expects(in.type == DType::f32 || in.type == DType::i64,
          "all_reduce: got " + std::string(name_of(in.type)) + ", need fp32 or i64");
  expects(apart(in, out), "all_reduce: got overlapping operands, need distinct ones");
  const Bytes from = offset_of(in, "all_reduce"), to = offset_of(out, "all_reduce");
  return {Verb::all_reduce, in.type, in.bytes(), from, to, label};
}

Call Operands::broadcast(View data, Rank root, const Label& label) const {
  expects(root >= 0 && root < world, "broadcast: got root " + std::to_string(root) +
                                         ", need a rank below " + std::to_string(world));
  const Bytes base = offset_of(data, "broadcast");
  return {Verb::broadcast, data.type, data.bytes(), base, static_cast<std::uint64_t>(root), label};
}

Bytes Operands::sent(const Call& call) const {
  const auto ranks = static_cast<Bytes>(world), peers = ranks - 1;
  switch (call.verb) {
    case Verb::all_gather:
      return peers * call.bytes;
    case Verb::reduce_scatter:
      return peers * (call.bytes / ranks);
    case Verb::all_reduce: {
      const bool shared = call.bytes / size_of(call.type) % ranks == 0;
      return shared ? 2 * peers * (call.bytes / ranks) : peers * call.bytes;
    }
    case Verb::broadcast:
      return call.detail == static_cast<std::uint64_t>(rank) ? peers * call.bytes : 0;
    case Verb::barrier:
      return 0;
  }
  return 0;
}

}  // namespace sherd::comm
