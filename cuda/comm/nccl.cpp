#include "comm/nccl.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "comm/nccl_handle.hpp"
#include "comm/nccl_id.hpp"
#include "comm/operands.hpp"
#include "comm/patience.hpp"
#include "comm/rendezvous.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::comm {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds parting = std::chrono::seconds(5);             // at most, for a group's end
constexpr nanoseconds explanation = std::chrono::milliseconds(250);  // for a lost peer's own words

ncclDataType_t native(DType type) {
  if (type == DType::bf16) return ncclBfloat16;
  return type == DType::i64 ? ncclInt64 : ncclFloat32;
}

std::size_t numel(View view) { return static_cast<std::size_t>(view.numel()); }

// What the groups of a rank share.
struct Common {
  NcclHandle::Library library;
  std::span<std::byte> arena;
  device::Stream* stream = nullptr;
  void* native_stream = nullptr;
};

class NcclComm final : public Communicator {
 public:
  using Join = std::function<void(NcclHandle&)>;
  NcclComm(Common common, Group group, const Join& join)
      : Communicator(group.self, group.size()),
        common_(std::move(common)),
        operands_{common_.arena, group.self, group.size()},
        meet_(std::move(group)),
        handle_(common_.library, [this] { idle(); }) {
    guarded([&] {
      enter("connect the ranks", timeout());
      join(handle_);
      handle_.enroll(common_.arena);
    });
  }
  ~NcclComm() override;

  void all_gather(View shard, View full, const Label& label) override;
  void reduce_scatter(const ReduceScatter& call, const Label& label) override;
  void all_reduce(View in, View out, const Label& label) override;
  void broadcast(View data, Rank root, const Label& label) override;
  void barrier(const Label& label) override;
  void watch() override;
  std::unique_ptr<Communicator> split(int color) override;

 private:
  // A collective that is on the stream but has not been seen complete.
  struct Pending {
    device::Ready ready;
    std::uint32_t sequence;
    std::string call;
  };

  [[nodiscard]] ControlBlock& control() const { return *meet_.group().control; }
  [[nodiscard]] nanoseconds timeout() const { return meet_.group().timeout; }
  [[nodiscard]] cudaStream_t stream() const {
    return static_cast<cudaStream_t>(common_.native_stream);
  }
  [[nodiscard]] bool queued() const { return common_.stream->kind() != DeviceKind::cpu; }

  // What NCCL is doing, which may take so long, and how waiting for it ends.
  void enter(const char* stage, nanoseconds limit) {
    stage_ = stage;
    patience_ = Patience(limit);
  }
  void idle();
  [[nodiscard]] std::string unconnected() const;

  using Where = std::string (NcclComm::*)() const;  // for the cause, if it comes to one
  [[nodiscard]] std::string in_call() const {
    return issued_ > 0 ? ", in " + meet_.own_call() : "";
  }
  [[nodiscard]] std::string in_oldest() const {
    return pending_.empty() ? in_call() : ", in " + pending_.front().call;
  }
  template <class Body>
  void guarded(const Body& body, Where where = &NcclComm::in_call);
  [[noreturn]] void fail(const std::exception& error, Where where);
  template <class Issue>
  void run(const Call& call, const Issue& issue);
  void note(std::uint32_t sequence);
  void retire();
  void part_in_order();

  Common common_;
  Operands operands_;
  Rendezvous meet_;
  NcclHandle handle_;
  std::mutex mutex_;             // a watch may come from another thread than the calls
  const char* stage_ = nullptr;  // nullptr: a collective
  std::uint32_t issued_ = 0;     // its sequence number
  Patience patience_{nanoseconds::zero()};
  Patience oldest_{nanoseconds::zero()};  // of the first that is pending
  std::deque<Pending> pending_;
  std::vector<device::Ready> spare_;
  int exceptions_ = std::uncaught_exceptions();
};

void NcclComm::idle() {
  control().abort.poll();
  if (stage_ == nullptr) meet_.compare();
  if (!patience_.exhausted()) return;
  if (stage_ == nullptr) meet_.fail(meet_.overdue(meet_.own_call(), issued_));
  throw CommError(unconnected());
}

std::string NcclComm::unconnected() const {
  std::string text = std::string("NCCL did not ") + stage_ + " within " + seconds_text(timeout());
  for (const Rank rank : meet_.group().ranks) {
    if (control().ranks[static_cast<std::size_t>(rank)].pid.load() != 0) continue;
    return text + ": rank " + std::to_string(rank) + " has not come";
  }
  return text;
}

// Whatever goes wrong ends NCCL's work on this rank and the run.
template <class Body>
void NcclComm::guarded(const Body& body, Where where) {
  try {
    body();
  } catch (const PeerLost& error) {
    const Patience::Clock::time_point until = Patience::Clock::now() + explanation;
    while (!control().abort.is_set() && Patience::Clock::now() < until) {
      futex_wait(control().abort.state, 0, std::chrono::milliseconds(5));
    }
    fail(error, where);
  } catch (const std::exception& error) {
    fail(error, where);
  }
}

void NcclComm::fail(const std::exception& error, Where where) {
  const std::string text = "rank " + std::to_string(meet_.group().run_rank(rank())) + ": " +
                           error.what() + (this->*where)();
  control().fail(exit_code(error), text);  // before peers notice what follows
  handle_.cut();
  pending_.clear();
  meet_.fail(text);
}

template <class Issue>
void NcclComm::run(const Call& call, const Issue& issue) {
  const std::lock_guard lock(mutex_);
  guarded([&] {
    issued_ = meet_.announce(call);
    enter(nullptr, timeout());
    if (call.bytes > 0) issue();
    note(issued_);
  });
  traffic_[static_cast<std::size_t>(call.verb)] += operands_.sent(call);
}

void NcclComm::note(std::uint32_t sequence) {
  if (!queued()) {
    meet_.compare();
    return meet_.complete(sequence);
  }
  retire();
  if (pending_.empty()) oldest_ = Patience(timeout());
  if (spare_.empty()) spare_.emplace_back(*common_.stream->device());
  pending_.push_back({std::move(spare_.back()), sequence, meet_.own_call()});
  spare_.pop_back();
  pending_.back().ready.record(*common_.stream, device::Watcher::host);
}

void NcclComm::retire() {
  while (!pending_.empty() && pending_.front().ready.reached()) {
    meet_.complete(pending_.front().sequence);
    spare_.push_back(std::move(pending_.front().ready));
    pending_.pop_front();
    oldest_ = Patience(timeout());
  }
}

void NcclComm::watch() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return control().abort.poll();  // the call in progress watches
  const auto look = [&] {
    control().abort.poll();
    retire();
    handle_.check();
    meet_.compare();
    if (pending_.empty()) return;
    const Pending& oldest = pending_.front();
    if (oldest_.exhausted()) meet_.fail(meet_.overdue(oldest.call, oldest.sequence));
  };
  guarded(look, &NcclComm::in_oldest);
}

NcclComm::~NcclComm() {
  if (std::uncaught_exceptions() > exceptions_) return;  // this rank has failed: handle_ cuts
  try {
    part_in_order();
  } catch (const std::exception&) {
    handle_.cut();
  }
}

void NcclComm::part_in_order() {
  enter("close the group", std::min(timeout(), parting));
  while (!pending_.empty()) {
    idle();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    retire();
  }
  control().abort.poll();
  handle_.finish();
}

void NcclComm::all_gather(View shard, View full, const Label& label) {
  const Call call = operands_.all_gather(shard, full, label);
  run(call, [&] {
    handle_.call("ncclAllGather", [&](const NcclLibrary& nccl, ncclComm_t comm) {
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
    handle_.call("ncclReduceScatter", [&](const NcclLibrary& nccl, ncclComm_t comm) {
      return nccl.reduce_scatter(sum.full.data, to.data, numel(to), native(to.type), ncclSum, comm,
                                 stream());
    });
    if (!add) return;
    const std::array<const std::byte*, 1> source{own.data};
    kernels::fold({.sources = source, .out = sum.shard, .mode = Write::add}, *common_.stream);
  });
}

void NcclComm::all_reduce(View in, View out, const Label& label) {
  const Call call = operands_.all_reduce(in, out, label);
  run(call, [&] {
    handle_.call("ncclAllReduce", [&](const NcclLibrary& nccl, ncclComm_t comm) {
      return nccl.all_reduce(in.data, out.data, numel(in), native(in.type), ncclSum, comm,
                             stream());
    });
  });
}

void NcclComm::broadcast(View data, Rank root, const Label& label) {
  const Call call = operands_.broadcast(data, root, label);
  run(call, [&] {
    handle_.call("ncclBroadcast", [&](const NcclLibrary& nccl, ncclComm_t comm) {
      return nccl.broadcast(data.data, data.data, data.bytes(), ncclUint8, root, comm, stream());
    });
  });
}

void NcclComm::barrier(const Label& label) {
  const std::lock_guard lock(mutex_);
  guarded([&] {
    meet_.arrive({.label = label});
    meet_.leave();
  });
}

std::unique_ptr<Communicator> NcclComm::split(int color) {
  expects(color >= 0, "split: got color " + std::to_string(color) + ", need one from 0 up");
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Communicator> child;
  std::string refusal;
  guarded([&] {
    Group group;
    try {
      group = meet_.split(color);
    } catch (const UsageError& error) {
      refusal = error.what();
      return;
    }
    enter("split the group", timeout());
    child = std::make_unique<NcclComm>(
        common_, std::move(group), [&](NcclHandle& part) { part.join(handle_, color, rank()); });
  });
  if (!refusal.empty()) throw_usage(refusal);
  return child;
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
  const Common common{std::move(library), seat.arena, seat.stream, native_stream};
  return std::make_unique<NcclComm>(common, std::move(group), [&](NcclHandle& handle) {
    ncclUniqueId id{};
    if (seat.rank == 0) id = handle.make_id();
    share_id(seat, std::as_writable_bytes(std::span(id.internal)));
    handle.join(id, world, seat.rank);
  });
}

}  // namespace sherd::comm
