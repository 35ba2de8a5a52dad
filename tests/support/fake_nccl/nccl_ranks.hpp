#pragma once
// Ranks as threads that talk through the fake NCCL. SHERD_FAKE_NCCL is the path of that library.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comm/nccl.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/memory/arena.hpp"
#include "support/fake_nccl/fake_device.hpp"

namespace sherd::fake_nccl {

/// On `host` a collective is complete when the call returns; on `device` when its stream says so.
enum class Place { host, device };

struct NcclTrial {
  int world = 2;
  Place place = Place::host;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
  Bytes arena = mib;
};
struct NcclRank {
  comm::Communicator& comm;
  std::span<std::byte> arena;
  comm::ControlBlock& control;
  device::Stream& stream;

  [[nodiscard]] bool idle() const {
    return stream.kind() == DeviceKind::cpu || fake_nccl::idle(stream.queue());
  }
  [[nodiscard]] View view(Bytes offset, std::int64_t numel, DType type = DType::f32) const {
    return {arena.data() + offset, {1, numel}, type};
  }
};
/// What ranks do before there is a communicator, and with it.
struct NcclBody {
  std::function<void(NcclRank&)> with;
  std::function<void(Rank, comm::NcclSeat&)> before{};
};

class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_.data(), O_CLOEXEC) != 0) throw Error("no pipe");
  }
  ~Pipe() {
    for (const int fd : ends_) close(fd);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  [[nodiscard]] int from() const { return ends_[0]; }
  [[nodiscard]] int to() const { return ends_[1]; }

 private:
  std::array<int, 2> ends_{};
};

inline void play(const NcclTrial& trial, const NcclBody& body, comm::NcclSeat seat,
                 const device::OpenDevice& device, std::atomic<int>& connected) {
  const bool host = trial.place == Place::host;
  const auto stream =
      host ? std::make_unique<device::Stream>(1) : std::make_unique<device::Stream>(device);
  seat.stream = stream.get();
  if (body.before) body.before(seat.rank, seat);
  void* native = host ? nullptr : static_cast<void*>(&stream->queue());
  const auto comm = comm::nccl(seat, comm::open_nccl(SHERD_FAKE_NCCL), native);
  NcclRank rank{*comm, seat.arena, *seat.control, *stream};
  // Nobody is to hear of a failure of the body while it still connects.
  ++connected;
  while (connected < trial.world && !seat.control->abort.is_set()) std::this_thread::yield();
  body.with(rank);
}

/// What each rank threw, by rank, empty for nothing.
inline std::vector<std::string> run(const NcclTrial& trial, const NcclBody& body) {
  const comm::ControlMapping control = comm::ControlBlock::create(trial.world);
  const device::OpenDevice device = open_fake_device();
  const Pipe id;
  std::atomic<int> connected = 0;
  std::vector<std::string> thrown(static_cast<std::size_t>(trial.world));
  std::vector<memory::Arena> arenas;
  for (Rank rank = 0; rank < trial.world; ++rank)
    arenas.push_back(memory::Arena::anonymous(trial.arena));
  const auto guarded = [&](Rank rank) {
    const auto at = static_cast<std::size_t>(rank);
    try {
      play(trial, body,
           {.control = &*control,
            .rank = rank,
            .arena = arenas[at].bytes(),
            .timeout = trial.timeout,
            .id_from = id.from(),
            .id_to = id.to()},
           device, connected);
    } catch (const std::exception& error) {
      control->fail(rank, exit_code(error), error.what());
      thrown[at] = error.what();
    }
  };
  std::vector<std::thread> ranks;
  for (Rank rank = 0; rank < trial.world; ++rank) ranks.emplace_back(guarded, rank);
  for (std::thread& rank : ranks) rank.join();
  return thrown;
}

}  // namespace sherd::fake_nccl
