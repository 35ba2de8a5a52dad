#include "comm/nccl.hpp"

#include <unistd.h>

#include <array>
#include <utility>

#include "comm/nccl_group.hpp"
#include "comm/nccl_id.hpp"
#include "comm/operands.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

ncclDataType_t native(DType type) {
  if (type == DType::bf16) return ncclBfloat16;
  return type == DType::i64 ? ncclInt64 : ncclFloat32;
}

std::size_t numel(View view) { return static_cast<std::size_t>(view.numel()); }

class NcclComm final : public Communicator {
 public:
  explicit NcclComm(std::unique_ptr<NcclGroup> group)
      : Communicator(group->group().self, group->group().size()),
        group_(std::move(group)),
        operands_{group_->rank().arena, rank(), world()} {}

  void all_gather(View shard, View full, const Label& label) override;
  void reduce_scatter(const ReduceScatter& call, const Label& label) override;
  void all_reduce(View in, View out, const Label& label) override;
  void broadcast(View data, Rank root, const Label& label) override;
  void barrier(const Label& label) override { group_->barrier(label); }
  void watch() override { group_->watch(); }
  std::unique_ptr<Communicator> split(int color) override {
    return std::make_unique<NcclComm>(group_->split(color));
  }

 private:
  void run(const Call& call, const NcclGroup::Body& issue) {
    group_->run(call, issue);
    traffic_[static_cast<std::size_t>(call.verb)] += operands_.sent(call);
  }
  [[nodiscard]] cudaStream_t stream() const { return group_->rank().native_stream; }

  std::unique_ptr<NcclGroup> group_;
  Operands operands_;
};

void NcclComm::all_gather(View shard, View full, const Label& label) {
  const Call call = operands_.all_gather(shard, full, label);
  run(call, [&] {
    group_->handle().call("ncclAllGather", [&](const NcclLibrary& nccl, ncclComm_t comm) {
      return nccl.all_gather(shard.data, full.data, shard.bytes(), ncclUint8, comm, stream());
    });
  });
}

void NcclComm::reduce_scatter(const ReduceScatter& sum, const Label& label) {
  const Call call = operands_.reduce_scatter(sum, label);
  expects(sum.order == kernels::FoldOrder::fast && sum.round == nullptr,
          "reduce_scatter: got an order or a rounding that NCCL does not have, need fast and none");
  const View own = operands_.part(sum.full, rank());
  const bool add = sum.mode == Write::add;
  expects(!add || sum.shard.data != own.data || call.bytes == 0,
          "reduce_scatter: got an addition in place, need a shard outside full");
  run(call, [&] {
    const View to = add ? own : sum.shard;
    group_->handle().call("ncclReduceScatter", [&](const NcclLibrary& nccl, ncclComm_t comm) {
      return nccl.reduce_scatter(sum.full.data, to.data, numel(to), native(to.type), ncclSum, comm,
                                 stream());
    });
    if (!add) return;
    const std::array<const std::byte*, 1> source{own.data};
    kernels::fold({.sources = source, .out = sum.shard, .mode = Write::add},
                  *group_->rank().stream);
  });
}

void NcclComm::all_reduce(View in, View out, const Label& label) {
  const Call call = operands_.all_reduce(in, out, label);
  run(call, [&] {
    group_->handle().call("ncclAllReduce", [&](const NcclLibrary& nccl, ncclComm_t comm) {
      return nccl.all_reduce(in.data, out.data, numel(in), native(in.type), ncclSum, comm,
                             stream());
    });
  });
}

void NcclComm::broadcast(View data, Rank root, const Label& label) {
  const Call call = operands_.broadcast(data, root, label);
  run(call, [&] {
    group_->handle().call("ncclBroadcast", [&](const NcclLibrary& nccl, ncclComm_t comm) {
      return nccl.broadcast(data.data, data.data, data.bytes(), ncclUint8, root, comm, stream());
    });
  });
}

}  // namespace

std::unique_ptr<Communicator> nccl(const NcclSeat& seat, std::shared_ptr<const NcclLibrary> library,
                                   void* native_stream) {
  expects(seat.control != nullptr, "nccl: got no control block, need one");
  const int world = seat.control->world;
  expects(seat.rank >= 0 && seat.rank < world, "nccl: got rank " + std::to_string(seat.rank) +
                                                   ", need one below " + std::to_string(world));
  expects(seat.timeout.count() > 0, "nccl: got no time-out, need a positive one");
  expects(seat.stream != nullptr, "nccl: got no stream, need one");
  seat.control->ranks[static_cast<std::size_t>(seat.rank)].pid.store(getpid(),
                                                                     std::memory_order_relaxed);
  Group group{.control = seat.control, .self = seat.rank, .timeout = seat.timeout};
  for (Rank rank = 0; rank < world; ++rank) {
    group.ranks.push_back(rank);
    group.records.push_back(static_cast<std::uint32_t>(rank));
  }
  NcclRank own{std::move(library), seat.arena, seat.stream,
               static_cast<cudaStream_t>(native_stream)};
  const auto join = [&](NcclHandle& handle) {
    ncclUniqueId id{};
    if (seat.rank == 0) id = handle.make_id();
    share_id(seat, std::as_writable_bytes(std::span(id.internal)));
    handle.join(id, world, seat.rank);
  };
  return std::make_unique<NcclComm>(
      std::make_unique<NcclGroup>(std::move(own), std::move(group), join));
}

}  // namespace sherd::comm
